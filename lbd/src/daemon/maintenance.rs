//! Maintenance: begun and ended by command. The directors and the proxy follow the snapshot, the
//! VIPs their plan; what an operator said of single VIPs is left alone, and holds again afterwards.

use super::persist::{self, Places};
use super::reconciler::Reconciler;
use crate::control::Peer;
use lbcore::api::{InMaintenance, MaintenanceView, Response, Timestamp, VipState};
use lbcore::config::Announce;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;
use tracing::warn;

impl Places {
    fn maintenance(&self) -> PathBuf {
        self.state_dir.join("maintenance.json")
    }

    /// Whether the last lbd was in maintenance. That the file is there decides, whatever is in it:
    /// an operator wanted no flows here. The second value says what is wrong with it.
    pub fn load_maintenance(&self) -> (Option<InMaintenance>, Option<String>) {
        let path = self.maintenance();
        let damaged = |what: String| {
            let unknown = InMaintenance {
                since: None,
                by_uid: None,
            };
            (Some(unknown), Some(format!("{}: {what}", path.display())))
        };
        match persist::read(&path) {
            Ok(None) => (None, None),
            Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(begun) => (Some(begun), None),
                Err(error) => damaged(error.to_string()),
            },
            Err(error) => damaged(error.to_string()),
        }
    }

    /// Keeps it for the next lbd.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn save_maintenance(&self, begun: Option<InMaintenance>) -> io::Result<()> {
        let path = self.maintenance();
        match begun {
            Some(begun) => persist::replace(&path, &serde_json::to_vec(&begun)?, 0o600, true),
            None => match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            },
        }
    }
}

impl Reconciler {
    /// Whether this lbd is in maintenance, and what is left on it.
    pub(super) fn maintenance(&self) -> MaintenanceView {
        let begun = self.world.maintenance;
        let services = self.service_views(&self.live.table());
        MaintenanceView {
            maintenance: begun.is_some(),
            begun,
            flows: services.iter().map(|service| service.flows).sum(),
            vips: self.vips(),
            changes: Vec::new(),
            warnings: Vec::new(),
            generation: self.generation,
            dry_run: false,
        }
    }

    pub(super) async fn set_maintenance(
        &mut self,
        on: bool,
        dry_run: bool,
        peer: &Peer,
    ) -> Response {
        let differs = on != self.world.maintenance.is_some();
        let mut changes = Vec::new();
        let mut warnings = Vec::new();
        if differs {
            let word = |on: bool| if on { "on" } else { "off" };
            changes.push(format!("maintenance: {} -> {}", word(!on), word(on)));
        }
        if on {
            warnings.extend(self.still_answered());
        }
        if differs && !dry_run {
            let begun = on.then(|| InMaintenance {
                since: Some(Timestamp(SystemTime::now())),
                by_uid: Some(peer.uid),
            });
            if let Err(error) = self.places.save_maintenance(begun) {
                warn!(%error, "maintenance could not be kept");
                let then = if on { "ends" } else { "begins again" };
                warnings.push(format!(
                    "it could not be written ({error}): it {then} when lbd restarts"
                ));
            }
            self.world.maintenance = begun;
            for change in &changes {
                self.note_change(peer, change.clone());
            }
            self.refresh().await;
        }
        Response::Maintenance(Box::new(MaintenanceView {
            changes,
            warnings,
            dry_run,
            ..self.maintenance()
        }))
    }

    /// VIPs whose traffic goes on coming here, because it is not lbd that brings it.
    fn still_answered(&self) -> Vec<String> {
        let mut said = Vec::new();
        for ((vip, _), news) in &self.world.vips {
            if news.state == VipState::Owned {
                said.push(format!(
                    "{vip} is an address of this host, whose kernel goes on answering for it: \
                     keepalived moves it when lbctl health fails, else remove it from this host"
                ));
            } else if self.announce_of(*vip) == Some(Announce::Never) {
                said.push(format!(
                    "{vip} is not announced by lbd (announce = \"never\"): whoever sends it here \
                     has to stop"
                ));
            }
        }
        said.dedup();
        said
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_kept_and_a_damaged_file_is_still_maintenance() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            run_dir: dir.path().into(),
            state_dir: dir.path().into(),
            hash_key: dir.path().join("hash.key"),
        };
        assert_eq!(places.load_maintenance(), (None, None));
        let begun = InMaintenance {
            since: Some(Timestamp(SystemTime::UNIX_EPOCH)),
            by_uid: Some(1000),
        };
        places.save_maintenance(Some(begun)).unwrap();
        assert_eq!(places.load_maintenance(), (Some(begun), None));
        std::fs::write(places.maintenance(), "{\"sin").unwrap();
        let (on, trouble) = places.load_maintenance();
        assert_eq!(on.unwrap().since, None);
        assert!(trouble.unwrap().contains("maintenance.json"));
        places.save_maintenance(None).unwrap();
        assert_eq!(places.load_maintenance(), (None, None));
        places.save_maintenance(None).unwrap();
    }
}
