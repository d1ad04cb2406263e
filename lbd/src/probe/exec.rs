//! The `exec` check: a program ends with 0.
//!
//! It gets its arguments as they stand in the file, never a shell; of the environment only PATH and
//! what it has to know; no capability; and as much time as any other probe, after which its whole
//! process group is killed.

use super::{Found, ProbeError, Question};
use crate::sys::program;
use lbcore::config::ExecCheck;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Bytes of its output that are kept. What follows is read and thrown away, so that a talkative
/// program ends as it would anyway.
const MOST_KEPT: usize = 4 * 1024;

/// Characters of it that a reason shows.
const MOST_SHOWN: usize = 128;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs it once.
pub(super) async fn probe(question: &Question, check: &ExecCheck) -> Result<Found, ProbeError> {
    let Some((program, arguments)) = check.command.split_first() else {
        return Err(ProbeError::Own("the check has no program".to_owned()));
    };
    let (service, real) = question.names.clone().unwrap_or_default();
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LBD_SERVICE", service)
        .env("LBD_REAL", real)
        .env("LBD_ADDRESS", question.to.ip().to_string())
        .env("LBD_PORT", question.to.port().to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    program::unprivileged(&mut command);
    let child = Command::from(command)
        .spawn()
        .map_err(|error| ProbeError::Own(format!("{program} cannot be run: {error}")))?;
    let mut running = Running(child);
    let output = running.0.stdout.take();

    let mut kept = Vec::new();
    let reading = async {
        if let Some(output) = output {
            read(output, &mut kept).await;
        }
        // A pipe that is closed says nothing: the exit does.
        std::future::pending::<()>().await
    };
    let status = tokio::select! {
        biased;
        () = reading => return Err(ProbeError::Closed),
        status = running.0.wait() => status.map_err(|error| ProbeError::Own(error.to_string()))?,
    };
    let shown = shown(&kept);
    if status.success() {
        return Ok(format!("exec{shown}").into());
    }
    Err(ProbeError::Wrong(format!("{}{shown}", ended(status))))
}

/// A program under way: it and all it has started die with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // No id: it has been waited for, and its number may be somebody else's.
        if let Some(leader) = self.0.id() {
            program::kill_group(leader);
        }
    }
}

async fn read(mut output: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        let room = MOST_KEPT - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}

/// The first line of what it has printed, escaped, so that no terminal obeys it.
fn shown(kept: &[u8]) -> String {
    let text = String::from_utf8_lossy(kept);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return String::new();
    }
    let shown: String = line
        .chars()
        .take(MOST_SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    format!(": {shown}")
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended without an exit code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Answer, Way};
    use lbcore::config::CheckKind;
    use std::time::{Duration, Instant};

    async fn run(timeout: Duration, command: &[&str]) -> Answer {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let question = Question {
            to: "192.0.2.21:8080".parse().expect("an address"),
            way: Way::Real,
            source: None,
            timeout,
            kind: CheckKind::Exec(ExecCheck { command }),
            names: Some(("web".to_owned(), "rs1".to_owned())),
        };
        question.ask_in_time().await
    }

    const LONG: Duration = Duration::from_secs(20);

    async fn shell(script: &str) -> Answer {
        run(LONG, &["/bin/sh", "-c", script]).await
    }

    #[tokio::test]
    async fn the_exit_code_decides() {
        let passed = shell("echo fine; echo more").await.reason();
        assert!(passed.starts_with("exec: fine in "), "{passed}");
        let failed = shell("echo 'disk \u{1b}[2Jfull'; exit 3").await;
        assert_eq!(failed.reason(), "exit code 3: disk \\u{1b}[2Jfull");
        assert!(
            failed
                .outcome
                .is_err_and(|e| !e.declines() && !e.is_own_trouble())
        );
        assert_eq!(shell("kill -9 $$").await.reason(), "killed by signal 9");
    }

    #[tokio::test]
    async fn it_knows_whom_to_ask_and_nothing_else() {
        let answer = shell("env | grep -v '^PWD=\\|^SHLVL=\\|^_=' | sort | tr '\\n' ' '").await;
        let found = answer.outcome.expect("passed").words;
        let path = format!("PATH={PATH}");
        let expected = "exec: LBD_ADDRESS=192.0.2.21 LBD_PORT=8080 LBD_REAL=rs1 LBD_SERVICE=web";
        let expected = format!("{expected} {path}");
        assert!(expected.starts_with(&found), "{found}");
    }

    #[tokio::test]
    async fn arguments_are_arguments() {
        let answer = run(LONG, &["/bin/echo", "$HOME; exit 1", "`id`"]).await;
        let found = answer.outcome.expect("passed").words;
        assert_eq!(found, "exec: $HOME; exit 1 `id`");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_own_trouble() {
        let answer = run(LONG, &["/nonexistent/check"]).await;
        let error = answer.outcome.expect_err("no program");
        assert!(error.is_own_trouble(), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/check cannot be run: ")
        );
    }

    /// T34: without end, in output and in time.
    #[tokio::test]
    async fn t34_output_without_end_is_thrown_away_and_time_ends_it() {
        let script = "sleep 1000 & while :; do echo $$; done";
        let timeout = Duration::from_millis(300);
        let answer = run(timeout, &["/bin/sh", "-c", script]).await;
        assert_eq!(answer.reason(), "no answer within 300ms");
    }

    #[tokio::test]
    async fn the_whole_group_dies_at_the_timeout() {
        let dir = tempfile::tempdir().expect("a directory");
        let pids = dir.path().join("pids");
        let script = format!("sleep 1000 & echo $$ $! > {}; wait", pids.display());
        run(Duration::from_millis(500), &["/bin/sh", "-c", &script]).await;
        let text = std::fs::read_to_string(&pids).expect("it ran");
        let alive = |pid: &str| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            // What is dead and not waited for by its new parent yet counts as dead.
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => false,
        };
        let deadline = Instant::now() + LONG;
        while text.split_whitespace().any(alive) {
            assert!(Instant::now() < deadline, "still alive: {text}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn much_output_is_cut_and_the_program_ends_as_it_would() {
        let answer = shell("head -c 1000000 /dev/zero | tr '\\0' x; exit 7").await;
        let reason = answer.reason();
        assert!(
            reason.starts_with("exit code 7: xxx") && reason.len() < 200,
            "{reason}"
        );
    }
}
