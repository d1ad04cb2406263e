//! What outlives the process: the hash key and the operator's wishes in `state_dir`, the set that
//! decides where flows go in `run_dir`. Every file is replaced whole (temporary file, fsync,
//! rename), so that a killed lbd leaves the old one or the new one, never half of one.

use lbcore::config::Overlay;
use lbcore::net::HashKey;
use lbcore::service::{Health, RealState, Registry, RememberedRing};
use lbcore::vip::Hold;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// No file of ours is larger; more is not read.
const MAX_STATE_BYTES: u64 = 64 << 20;

/// Length of [`sealed`].
const SEAL_BYTES: usize = 17;

/// What decides where flows go, beside the flow table: who has which id, and who was healthy.
/// Written before a change of it takes effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Set {
    /// The flow table this set speaks of is meaningless without these ids.
    pub registry: Registry,
    /// Last published generation.
    pub generation: u64,
    /// What was known of reals, by id.
    pub reals: BTreeMap<u16, RememberedReal>,
    /// Interface index and MAC by real address: until the neighbour room has looked for itself,
    /// frames go where they went.
    pub ways: BTreeMap<IpAddr, (u32, [u8; 6])>,
    /// The last good set by service id.
    pub last_good: BTreeMap<u16, Vec<u16>>,
    /// By service id, where the ring answers for flows that are not remembered (`track = "changes"`).
    #[serde(default)]
    pub rings: BTreeMap<u16, RememberedRing>,
    /// Reals, by service, that were removed with `--now`: their flows do not linger.
    #[serde(default)]
    pub at_once: BTreeSet<(String, SocketAddr)>,
}

impl Set {
    /// Whether both say the same of flows; the generation decides nothing.
    pub fn says_same(&self, other: &Set) -> bool {
        self.reals == other.reals
            && self.ways == other.ways
            && self.last_good == other.last_good
            && self.rings == other.rings
            && self.at_once == other.at_once
            && self.registry == other.registry
    }
}

/// What the last lbd knew of one real.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RememberedReal {
    /// What its checks said, and why; `None`: nothing yet.
    pub health: Option<(Health, String)>,
    /// The weight it gives itself that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Its state, and the tick since when: dead_grace and drain_timeout go on over a restart.
    pub state: Option<(RealState, u64)>,
}

/// What operators changed by command and the file does not say: kept over restarts, shown as drift.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// VIPs taken or released.
    pub vips: BTreeMap<IpAddr, Hold>,
    /// Changes of the configuration with `--runtime`.
    pub runtime: Overlay,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// `run_dir`.
    pub run_dir: PathBuf,
    /// `state_dir`.
    pub state_dir: PathBuf,
    /// `hash_key_file`, or its default.
    pub hash_key: PathBuf,
}

impl Places {
    /// The flow table's file.
    pub fn flows(&self) -> PathBuf {
        self.run_dir.join("flows")
    }

    /// Held by the lbd that runs here.
    pub fn lock(&self) -> PathBuf {
        self.run_dir.join("lock")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("lbd.sock")
    }

    fn set(&self) -> PathBuf {
        self.run_dir.join("set.json")
    }

    fn overrides(&self) -> PathBuf {
        self.state_dir.join("overrides.json")
    }

    /// Every file lbd leaves in `run_dir` when it dies.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        vec![self.flows(), self.socket(), self.set(), self.lock()]
    }

    /// Makes the directories that are missing.
    ///
    /// # Errors
    /// Which directory, and what the kernel says.
    pub fn make(&self) -> io::Result<()> {
        for dir in [&self.run_dir, &self.state_dir] {
            fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
        }
        Ok(())
    }

    /// The set the last lbd left; `None` if there is none that is whole and of this `key`, with
    /// the reason where there is one to tell.
    pub fn load_set(&self, key: &HashKey) -> (Option<Set>, Option<String>) {
        let path = self.set();
        let trouble = |what: String| (None, Some(format!("{}: {what}", path.display())));
        let bytes = match read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return (None, None),
            Err(error) => return (None, Some(error.to_string())),
        };
        // One wrong digit would give a real's flows to another one.
        let Some(json) = unsealed(key, &bytes) else {
            return trouble("damaged, or of another hash key".to_owned());
        };
        match serde_json::from_slice(json) {
            Ok(set) => (Some(set), None),
            Err(error) => trouble(error.to_string()),
        }
    }

    /// Replaces the set. `run_dir` is tmpfs: nothing is synced.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn save_set(&self, set: &Set, key: &HashKey) -> io::Result<()> {
        let json = serde_json::to_vec(set)?;
        let mut bytes = sealed(key, &json).into_bytes();
        bytes.extend(json);
        replace(&self.set(), &bytes, 0o600, false)
    }

    /// The operator's wishes; nothing if there are none.
    pub fn load_overrides(&self) -> (Overrides, Option<String>) {
        let path = self.overrides();
        match read(&path) {
            Ok(None) => (Overrides::default(), None),
            Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
                Ok(overrides) => (overrides, None),
                Err(e) => (
                    Overrides::default(),
                    Some(format!("{}: {e}", path.display())),
                ),
            },
            Err(error) => (Overrides::default(), Some(error.to_string())),
        }
    }

    /// Keeps the operator's wishes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn save_overrides(&self, overrides: &Overrides) -> io::Result<()> {
        replace(
            &self.overrides(),
            &serde_json::to_vec_pretty(overrides)?,
            0o600,
            true,
        )
    }

    /// The key of every hash: read, or made on first start.
    ///
    /// # Errors
    /// Which file, what is wrong with it, what to do.
    pub fn hash_key(&self) -> io::Result<HashKey> {
        let path = &self.hash_key;
        let mut file = match OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 16];
                File::open("/dev/urandom")?.read_exact(&mut bytes)?;
                replace(path, &bytes, 0o600, true)?;
                return Ok(HashKey::new(bytes));
            }
            Err(e) => return Err(at(path, e)),
        };
        let about = file.metadata()?;
        let wrong = |what: &str| {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{}: {what}; put the key back (16 bytes, mode 0600), or remove the file: a new \
                     key is then made, and flows are remembered afresh",
                    path.display()
                ),
            ))
        };
        if !about.is_file() || about.len() != 16 {
            return wrong("not a hash key");
        }
        if about.mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
                .map_err(|e| at(path, e))?;
            tracing::warn!(path = %path.display(), "the hash key was readable by others; mode is 0600 now");
        }
        let mut bytes = [0; 16];
        file.read_exact(&mut bytes).map_err(|e| at(path, e))?;
        Ok(HashKey::new(bytes))
    }
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The line before a text of ours: sixteen hex digits that only this text has under this key.
pub(super) fn sealed(key: &HashKey, text: &[u8]) -> String {
    format!("{:016x}\n", key.bytes(text))
}

/// The text behind such a line, if it is the one that was sealed.
pub(super) fn unsealed<'a>(key: &HashKey, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (seal, text) = bytes.split_at_checked(SEAL_BYTES)?;
    (seal == sealed(key, text).as_bytes()).then_some(text)
}

/// What is in one of our files; `None`: there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = || -> io::Result<Vec<u8>> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let mut bytes = Vec::new();
        file.take(MAX_STATE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at(path, e)),
        Ok(bytes) => Ok(Some(bytes)),
    }
}

/// Replaces the file at `path` whole.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&temporary)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    };
    write().map_err(|e| {
        // On a full disk it would take what becomes free.
        let _ = fs::remove_file(&temporary);
        at(path, e)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn places() -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            run_dir: dir.path().join("run"),
            state_dir: dir.path().join("state"),
            hash_key: dir.path().join("state/hash.key"),
        };
        places.make().unwrap();
        (dir, places)
    }

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let (_dir, places) = places();
        let key = places.hash_key().unwrap();
        assert_eq!(places.hash_key().unwrap(), key);
        fs::set_permissions(&places.hash_key, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(places.hash_key().unwrap(), key);
        assert_eq!(
            fs::metadata(&places.hash_key).unwrap().mode() & 0o777,
            0o600
        );
        fs::write(&places.hash_key, "short").unwrap();
        let said = places.hash_key().unwrap_err().to_string();
        assert!(
            said.contains("not a hash key") && said.contains("remove the file"),
            "{said}"
        );
    }

    #[test]
    fn t21_a_damaged_set_is_refused_in_words_and_nothing_panics() {
        let (_dir, places) = places();
        let key = HashKey::new([7; 16]);
        let load = || places.load_set(&key);
        assert_eq!(load(), (None, None));
        let set = Set {
            generation: 7,
            ..Set::default()
        };
        places.save_set(&set, &key).unwrap();
        assert_eq!(load(), (Some(set), None));
        let other = HashKey::new([8; 16]);
        assert!(places.load_set(&other).0.is_none(), "another key");
        let whole = fs::read(places.set()).unwrap();
        for at in 0..whole.len() {
            fs::write(places.set(), &whole[..at]).unwrap();
            let (found, trouble) = load();
            assert!(found.is_none() && trouble.is_some(), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(places.set(), &flipped).unwrap();
            assert!(load().0.is_none(), "a bit flipped at {at}");
        }
        fs::remove_file(places.set()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", places.set()).unwrap();
        assert!(load().0.is_none());
    }

    #[test]
    fn overrides_come_back_as_they_were() {
        let (_dir, places) = places();
        let mut overrides = Overrides::default();
        let vip = "192.0.2.10".parse().unwrap();
        overrides.vips.insert(vip, Hold::Release);
        places.save_overrides(&overrides).unwrap();
        assert_eq!(places.load_overrides(), (overrides, None));
    }
}
