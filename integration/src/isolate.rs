//! Namespaces of its own for every test, which the kernel takes back.
//!
//! A test runs again as the first process of new network, mount and process-id namespaces (and of
//! a user namespace when it is not root), with a fresh `/run`. Named network namespaces it makes
//! are seen by nobody else, need no prefix, and end with it: also after a panic, after SIGINT and
//! after SIGKILL, because the kernel ends every process of a process-id namespace with its first.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Set in a process that runs in namespaces of its own.
const INSIDE: &str = "LBD_LAB_INSIDE";

/// Where [`figure`] appends its lines, when set.
const FIGURES: &str = "LBD_FIGURES";

/// How long a test may take unless it asks for more with [`isolated_within`].
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// Runs `test` in namespaces of its own; to be the whole body of a `#[test]` function.
///
/// # Panics
/// When the test fails or takes longer than a minute; its output is in the message's neighbourhood.
pub fn isolated(test: impl FnOnce()) {
    isolated_within(DEFAULT_LIMIT, test);
}

/// As [`isolated`], with a time limit of its own.
///
/// # Panics
/// When the test fails or takes longer than `limit`.
pub fn isolated_within<F: FnOnce()>(limit: Duration, test: F) {
    if is_inside() {
        raise_descriptor_limit();
        return test();
    }
    // A closure's type name is `binary::path::to::test::{{closure}}`; libtest knows the test
    // without the binary's name. (The thread's name would do, but not with --test-threads=1.)
    let type_name = std::any::type_name::<F>();
    let name = type_name.trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, path)| path);

    let output = tempfile::NamedTempFile::new().expect("a file for the test's output");
    let log = output.reopen().expect("the output file");
    // It dies with this thread, and all it started dies with it.
    let inside = command_inside(std::env::current_exe().expect("this binary"));
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(inside.get_program())
        .args(inside.get_args())
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .envs(
            inside
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the output file"))
        .stderr(log)
        .spawn()
        .expect("`unshare` and `setpriv` of util-linux are needed");

    let start = Instant::now();
    let status: Option<ExitStatus> = loop {
        if let Some(status) = child.try_wait().expect("waiting for the test") {
            break Some(status);
        }
        if start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = std::fs::read_to_string(output.path()).unwrap_or_default();
    print!("{text}");
    match status {
        None => panic!("{name} did not end within {limit:?}"),
        Some(status) => {
            assert!(
                status.success(),
                "{name} failed in its namespaces ({status})"
            );
            assert!(
                text.contains("1 passed"),
                "{name} was not found by its name: nothing ran"
            );
        }
    }
}

/// Whether this process runs in namespaces of its own.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Replaces this process by itself in namespaces of its own, with the same arguments; returns when
/// it already runs there. SIGINT and SIGTERM then end it, and all it started. For programs; tests
/// use [`isolated`].
///
/// # Errors
/// When `unshare` cannot be run.
pub fn enter() -> std::io::Result<()> {
    if is_inside() {
        raise_descriptor_limit();
        return end_on_signals();
    }
    Err(command_inside(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .exec())
}

/// The first process of a process-id namespace is spared signals it has no handler for.
fn end_on_signals() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let code = runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                }
            });
            std::process::exit(code)
        })?;
    Ok(())
}

/// `program` in new namespaces.
fn command_inside(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .args([
            "sh",
            "-c",
            "mount -t tmpfs lab /run && ip link set lo up && exec \"$0\" \"$@\"",
        ])
        .arg(program.as_ref())
        .env("PATH", path_with_sbin())
        .env(INSIDE, "1");
    command
}

/// Debian keeps ip, nft and ethtool where a plain user's PATH does not look.
fn path_with_sbin() -> String {
    format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Thousands of flows need thousands of descriptors; a shell's soft limit is often 1,024.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Prints a measured figure, and keeps it in the file `$LBD_FIGURES` where that is set.
pub fn figure(what: &str, value: impl std::fmt::Display) {
    println!("figure: {what}: {value}");
    if let Some(path) = std::env::var_os(FIGURES) {
        let kept = File::options()
            .create(true)
            .append(true)
            .open(Path::new(&path));
        if let Ok(mut file) = kept {
            // In one piece: others may be at it.
            let _ = file.write_all(format!("{what}: {value}\n").as_bytes());
        }
    }
}
