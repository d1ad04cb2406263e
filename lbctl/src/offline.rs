//! What the doctor can say without lbd: why nobody answers, and what `lbd doctor` says of this host.

use crate::failure::Failure;
use lbcore::api::{CheckDone, Checked, Code, DoctorView, FindingView, Severity};
use lbcore::config::{self, Lbd, MAX_BYTES};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// lbd looks at this host within a second or two, and asks programs that may hang for 10 s each.
const PATIENCE: Duration = Duration::from_secs(40);

/// Looks without lbd: at this host by the file alone, and, where `failure` is why lbd was not
/// reached, at that.
pub async fn examine(failure: Option<&Failure>, socket: &Path, file: &Path) -> DoctorView {
    let mut view = DoctorView::default();
    if let Some(failure) = failure {
        let finding = not_reachable(failure, socket, file);
        view.checks.push(CheckDone {
            check: "control socket".to_owned(),
            result: Checked::Found,
            seen: finding.seen.clone(),
        });
        view.findings.push(finding);
    }
    match of_this_host(file).await {
        Ok(host) => {
            view.findings.extend(host.findings);
            view.checks.extend(host.checks);
        }
        Err(why) => view.checks.push(CheckDone {
            check: "this host".to_owned(),
            result: Checked::Skipped,
            seen: why,
        }),
    }
    view.findings.sort_by_key(|finding| finding.severity);
    view.clean = view.findings.iter().all(|f| !f.severity.is_wrong());
    view
}

/// Asks the lbd that is installed beside this lbctl, or on the PATH.
async fn of_this_host(file: &Path) -> Result<DoctorView, String> {
    let beside = std::env::current_exe();
    let beside = beside.ok().and_then(|exe| Some(exe.parent()?.join("lbd")));
    let program = beside.filter(|path| path.exists());
    let program = program.unwrap_or_else(|| PathBuf::from("lbd"));
    let output = Command::new(&program)
        .arg("--config")
        .arg(file)
        .arg("doctor")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .map_err(|_| format!("{} did not end within {PATIENCE:?}", program.display()))?
        .map_err(|error| format!("{}: {error}", program.display()))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("nothing").to_owned();
        format!("{} doctor said: {said}", program.display())
    })
}

fn not_reachable(failure: &Failure, socket: &Path, file: &Path) -> FindingView {
    let (seen, fix) = match failure {
        Failure::Unreachable { source, .. } => unreachable(source, socket, file),
        other => (
            format!("somebody listens on {} and does not answer as lbd does: {other}", socket.display()),
            "journalctl -u lbd -n 50; if it hangs: systemctl restart lbd, which moves no flow of direct routing"
                .to_owned(),
        ),
    };
    FindingView {
        code: Code::NotReachable.word().to_owned(),
        severity: Severity::Fault,
        about: String::new(),
        seen,
        why: "without lbd no client is served, unless this is another lbd's socket".to_owned(),
        fix,
    }
}

fn unreachable(error: &io::Error, socket: &Path, file: &Path) -> (String, String) {
    let at = socket.display();
    let elsewhere = other_socket(socket, file);
    if error.kind() == io::ErrorKind::PermissionDenied {
        let owner = fs::symlink_metadata(socket).map_or_else(
            |_| "a directory on the way is closed to you".to_owned(),
            |about| {
                let (uid, gid, mode) = (about.uid(), about.gid(), about.mode() & 0o777);
                format!("it belongs to user {uid} and group {gid}, mode {mode:04o}")
            },
        );
        return (
            format!("{at} may not be opened by you: {owner}"),
            "as root, or as a member of admin_group: sudo lbctl doctor".to_owned(),
        );
    }
    let is_socket = fs::symlink_metadata(socket).map(|about| about.file_type().is_socket());
    let seen = match is_socket {
        Ok(true) => {
            format!("{at} is there and nobody listens: lbd was killed, or is about to start")
        }
        Ok(false) => format!("{at} is no socket"),
        Err(_) if socket.parent().is_some_and(Path::exists) => {
            format!("there is no {at}: lbd does not run, or has another run_dir")
        }
        Err(_) => {
            format!("there is no directory of {at}: lbd has not run here since the last boot")
        }
    };
    let processes = processes();
    let (seen, fix) = match (processes.first(), elsewhere) {
        (_, Some(other)) => (
            format!("{seen}; the file's run_dir is another"),
            format!("lbctl --socket {} doctor", other.display()),
        ),
        (Some(pid), None) => (
            format!("{seen}; but a process called lbd runs (pid {pid})"),
            format!(
                "cat /proc/{pid}/cmdline tells its file, and the file its run_dir: --socket RUN_DIR/lbd.sock"
            ),
        ),
        (None, None) => (
            format!("{seen}; no process is called lbd"),
            "systemctl start lbd; if it ends at once: journalctl -u lbd -n 50 says why".to_owned(),
        ),
    };
    (seen, fix)
}

/// The socket of the file's own run_dir, where that is another.
fn other_socket(socket: &Path, file: &Path) -> Option<PathBuf> {
    let mut text = String::new();
    let file = fs::File::open(file).ok()?;
    file.take(MAX_BYTES as u64).read_to_string(&mut text).ok()?;
    let run_dir = match config::check(&text) {
        Ok(checked) => checked.config.lbd.run_dir,
        Err(_) => Lbd::default().run_dir,
    };
    let other = run_dir.join("lbd.sock");
    (other != socket && other.exists()).then_some(other)
}

/// Processes called lbd, by proc(5).
fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim_end() == "lbd").then_some(pid)
    };
    entries.flatten().filter_map(pid).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn told(kind: io::ErrorKind, socket: &Path, file: &Path) -> FindingView {
        let failure = Failure::Unreachable {
            socket: socket.into(),
            source: kind.into(),
        };
        not_reachable(&failure, socket, file)
    }

    #[test]
    fn each_way_of_being_absent_has_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lbd.toml");
        let socket = dir.path().join("lbd.sock");
        let none = told(io::ErrorKind::NotFound, &socket, &file);
        assert_eq!(none.code, "lbd-not-reachable");
        assert!(none.seen.contains("there is no"), "{}", none.seen);
        let nowhere = dir.path().join("run/lbd.sock");
        let none = told(io::ErrorKind::NotFound, &nowhere, &file);
        assert!(none.seen.contains("no directory"), "{}", none.seen);
        drop(UnixListener::bind(&socket).unwrap());
        let left = told(io::ErrorKind::ConnectionRefused, &socket, &file);
        assert!(left.seen.contains("nobody listens"), "{}", left.seen);
        let closed = told(io::ErrorKind::PermissionDenied, &socket, &file);
        assert!(closed.seen.contains("mode 0"), "{}", closed.seen);
        assert!(closed.fix.contains("sudo lbctl doctor"), "{}", closed.fix);
    }

    #[test]
    fn another_run_dir_in_the_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lbd.toml");
        let text = format!(
            "[lbd]\nrun_dir = \"{}\"\n[network]\ninterface = \"eth0\"\n",
            dir.path().display()
        );
        fs::write(&file, text).unwrap();
        let nowhere = Path::new("/nonexistent/lbd.sock");
        let own = dir.path().join("lbd.sock");
        assert_eq!(other_socket(nowhere, &file), None, "nothing is there");
        fs::write(&own, "").unwrap();
        assert_eq!(other_socket(nowhere, &file), Some(own.clone()));
        assert_eq!(other_socket(&own, &file), None, "it is the one asked");
        let told = told(io::ErrorKind::NotFound, nowhere, &file);
        assert_eq!(told.fix, format!("lbctl --socket {} doctor", own.display()));
    }
}
