//! `watch = true`: a changed configuration file is a reload.

use super::reconciler::Trigger;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::warn;

/// ConfigMap swaps and renames on odd file systems escape watches: the file is also looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Editors write in several steps; this long without another is the end of it.
const SETTLE: Duration = Duration::from_millis(200);

/// Asks for a reload whenever the file has other contents, until nobody hears `reloads`.
pub async fn run(file: PathBuf, reloads: mpsc::Sender<Trigger>) {
    let (hints, mut hinted) = mpsc::channel(1);
    let _watcher = watch_directory(&file, hints);
    let mut seen = contents(&file).await;
    loop {
        tokio::select! {
            Some(()) = hinted.recv() => {
                tokio::time::sleep(SETTLE).await;
                while hinted.try_recv().is_ok() {}
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = reloads.closed() => return,
        }
        let now = contents(&file).await;
        if now.is_some() && now != seen {
            seen = now;
            if reloads
                .send(Trigger::Unattended("the file has changed"))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

/// The directory is watched, not the file: a rename puts another file in its place.
fn watch_directory(file: &Path, hints: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let tell = move |_: notify::Result<notify::Event>| {
        // Full: a hint is waiting already.
        let _ = hints.try_send(());
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            warn!(%error, directory = %directory.display(), "watching fails; looking every 5 s");
            None
        }
    }
}

async fn contents(file: &Path) -> Option<Vec<u8>> {
    tokio::fs::read(file).await.ok()
}
