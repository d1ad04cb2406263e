//! `watch = true`: a changed configuration file, or one that it includes, is a reload.

use super::config_files::{self, Files};
use super::reconciler::Trigger;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::warn;

/// What such a reload is called.
pub const FILE_CHANGED: &str = "the file has changed";

/// ConfigMap swaps and renames on odd file systems escape watches: the file is also looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Editors write in several steps; this long without another is the end of it.
const SETTLE: Duration = Duration::from_millis(200);

/// Asks for a reload whenever the files have other contents, until nobody hears `reloads`. `seen` is
/// what they had when lbd began to read them; `None`: one could not be read.
pub async fn run(file: PathBuf, mut seen: Option<Files>, reloads: mpsc::Sender<Trigger>) {
    let (hints, mut hinted) = mpsc::channel(1);
    let mut watched = Watched::new(hints);
    watched.follow(&file, seen.as_ref());
    loop {
        let now = contents(&file).await;
        if now.is_some() && now != seen {
            seen = now;
            watched.follow(&file, seen.as_ref());
            if reloads
                .send(Trigger::Unattended(FILE_CHANGED))
                .await
                .is_err()
            {
                return;
            }
        }
        tokio::select! {
            Some(()) = hinted.recv() => {
                tokio::time::sleep(SETTLE).await;
                while hinted.try_recv().is_ok() {}
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = reloads.closed() => return,
        }
    }
}

/// The directories that are watched, not the files: a rename puts another file in a place.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: Vec<PathBuf>,
}

impl Watched {
    fn new(hints: mpsc::Sender<()>) -> Self {
        let tell = move |_: notify::Result<notify::Event>| {
            // Full: a hint is waiting already.
            let _ = hints.try_send(());
        };
        let watcher = notify::recommended_watcher(tell);
        let watcher =
            watcher.inspect_err(|error| warn!(%error, "watching fails; looking every 5 s"));
        Watched {
            watcher: watcher.ok(),
            directories: Vec::new(),
        }
    }

    /// Watches the directories of these files, and no others.
    fn follow(&mut self, file: &Path, files: Option<&Files>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let none = Files::default();
        let wanted = config_files::directories(file, files.unwrap_or(&none));
        for directory in self.directories.iter().filter(|d| !wanted.contains(d)) {
            // It may be gone, and then is not watched either.
            let _ = watcher.unwatch(directory);
        }
        let mut watched = Vec::new();
        for directory in wanted {
            if self.directories.contains(&directory) {
                watched.push(directory);
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => watched.push(directory),
                Err(error) => {
                    let directory = directory.display();
                    warn!(%error, %directory, "watching fails; looking every 5 s");
                }
            }
        }
        self.directories = watched;
    }
}

/// All files; `None` while one cannot be read.
async fn contents(file: &Path) -> Option<Files> {
    let file = file.to_owned();
    let read = tokio::task::spawn_blocking(move || config_files::read(&file));
    read.await.ok()?.ok()
}
