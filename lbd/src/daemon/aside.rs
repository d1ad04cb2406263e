//! What lbd does beside running: look at a file, and clear away what a killed lbd left.

use super::reload::{self, Loaded, Refused};
use super::start::{places, salvaged};
use crate::doctor::{self, HostPlan};
use crate::{guard, intercept, link, neigh, xdp};
use lbcore::api::DoctorView;
use lbcore::config::{Config, Network};
use std::path::Path;

/// `lbd --check`: the findings of a file, and whether it is good. With `host`, also what this host
/// says.
///
/// # Errors
/// The file is refused.
pub async fn check_file(file: &Path, host: bool, force: bool) -> Result<Loaded, Refused> {
    let loaded = reload::load(file)?;
    if host {
        let facts = link::facts()
            .await
            .map_err(|e| Refused::because(format!("this host's addresses cannot be read: {e}")))?;
        reload::check_host(&loaded.config, &facts, force)?;
    }
    Ok(loaded)
}

/// `lbd doctor`: what is wrong with this host, by the file alone.
pub async fn examine_host(file: &Path) -> DoctorView {
    match reload::load(file) {
        Ok(loaded) => {
            let (config, running) = (loaded.config, None);
            doctor::examine_host(HostPlan { config, running }).await
        }
        Err(refused) => doctor::refused(refused.summary, file),
    }
}

/// What `lbd cleanup` is to clear away after: the file's configuration. Of a bad file only the
/// directories are known.
pub fn config_to_clean(file: &Path) -> Config {
    match reload::load(file) {
        Ok(loaded) => loaded.config,
        Err(_) => Config {
            lbd: salvaged(file),
            network: Network::default(),
            services: Vec::new(),
        },
    }
}

/// `lbd cleanup`: removes what any lbd has left, and says what in words; with `dry_run` it only
/// says.
///
/// # Errors
/// What could not be removed, beside what could.
pub async fn cleanup(config: &Config, dry_run: bool) -> (Vec<String>, Vec<String>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let places = places(config);
    if std::os::unix::net::UnixStream::connect(places.socket()).is_ok() {
        failed.push(format!(
            "anything: an lbd runs and answers on {}; stop it first (systemctl stop lbd), which \
             takes down all of it",
            places.socket().display()
        ));
        return (done, failed);
    }
    match guard::cleanup(dry_run).await {
        Ok(words) => done.extend(words),
        Err(error) => failed.push(error.to_string()),
    }
    match intercept::cleanup(dry_run).await {
        Ok(words) => done.extend(words),
        Err(error) => failed.push(error.to_string()),
    }
    match neigh::cleanup(dry_run).await {
        Ok(words) => done.extend(words),
        Err(error) => failed.push(format!("neighbour entries: {error}")),
    }
    let pins = xdp::leftovers(&config.lbd.bpf_dir);
    for file in pins.into_iter().chain(places.leftovers()) {
        let exists = std::fs::symlink_metadata(&file).is_ok();
        if !exists {
            continue;
        }
        match if dry_run {
            Ok(())
        } else {
            std::fs::remove_file(&file)
        } {
            Ok(()) => done.push(format!("file {}", file.display())),
            Err(error) => failed.push(format!("{}: {error}", file.display())),
        }
    }
    (done, failed)
}
