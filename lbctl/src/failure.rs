//! How a command fails: words on stderr, and an exit code scripts can rely on.

use lbcore::api::{ApiError, printable};
use lbcore::capture::CaptureError;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// lbd refused.
    #[error("{0}")]
    Refused(#[from] ApiError),
    /// Nobody answers on the control socket.
    #[error("lbd does not answer on {}: {source}", socket.display())]
    Unreachable {
        /// Where it should.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke, or what came is no answer of lbd.
    #[error("no usable answer on {}: {reason}", socket.display())]
    BadAnswer {
        /// From where.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Events no longer come.
    #[error("lbd has ended the stream of events: it stopped, or they were not read fast enough")]
    StreamEnded,
    /// Flows were still there when the time was up.
    #[error("{flows} flows of {whose} still run after {}", humantime::format_duration(*waited))]
    StillRunning {
        /// How many.
        flows: u64,
        /// Whose.
        whose: String,
        /// How long we waited.
        waited: Duration,
    },
    /// Somebody ended maintenance while we waited.
    #[error("this lbd is no longer in maintenance: somebody ended it meanwhile")]
    MaintenanceEnded,
    /// A file that holds no hash key.
    #[error("{} is no hash key: it has not 16 bytes", file.display())]
    NoKey {
        /// Which file.
        file: PathBuf,
    },
    /// Somebody enabled or disabled the real while we waited.
    #[error("{real} is no longer draining: somebody made it {admin} meanwhile")]
    DrainEnded {
        /// Which.
        real: String,
        /// What it is now.
        admin: &'static str,
    },
    /// A change that names no key.
    #[error("nothing to change: name a key, such as --weight 2, or --unset KEY")]
    NothingToChange,
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not overwritten.
    #[error("{} is there already; nothing was written", file.display())]
    Exists {
        /// Which file.
        file: PathBuf,
    },
    /// A file that cannot be written.
    #[error("cannot write {}: {source}; nothing is left of it", file.display())]
    Unwritable {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A capture that cannot be read, or not further.
    #[error("{}: {source}", file.display())]
    Capture {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: CaptureError,
    },
    /// Nothing can be replayed.
    #[error("{0}")]
    Replay(String),
    /// Nothing was imported.
    #[error("{reason}; nothing was imported")]
    NotImported {
        /// Why.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// No service could be imported.
    #[error("no service could be imported")]
    NoService,
    /// `top` without a terminal.
    #[cfg(feature = "top")]
    #[error("top needs a terminal, to draw on and to read keys from")]
    NoTerminal,
    /// Output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// This process cannot have what it needs to run at all.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
}

impl Failure {
    /// One of the documented exit codes.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused(error) => error.code.exit_code(),
            Failure::Unreachable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                6
            }
            Failure::Unreachable { .. } | Failure::BadAnswer { .. } | Failure::StreamEnded => 5,
            Failure::NothingToChange => 2,
            Failure::StillRunning { .. } => 7,
            Failure::DrainEnded { .. } | Failure::MaintenanceEnded | Failure::Exists { .. } => 4,
            Failure::Unreadable { .. }
            | Failure::Unwritable { .. }
            | Failure::Capture { .. }
            | Failure::Replay(_)
            | Failure::NotImported { .. }
            | Failure::NoService
            | Failure::NoKey { .. }
            | Failure::Output(_)
            | Failure::Start(_) => 1,
            #[cfg(feature = "top")]
            Failure::NoTerminal => 2,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Failure::Refused(error) => error.hint.clone(),
            Failure::Unreachable { source, .. } => Some(match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "ask as root, or as a member of admin_group (see lbd.toml)".into()
                }
                _ => "is lbd running? see: systemctl status lbd; \
                      an lbd with another run_dir: --socket PATH or LBCTL_SOCKET"
                    .into(),
            }),
            Failure::Capture {
                source: CaptureError::Link(_),
                ..
            } => Some("capture on lbd's own interface: tcpdump -i eth0 -w FILE".into()),
            Failure::Capture {
                source: CaptureError::Unknown,
                ..
            } => Some("make one by: tcpdump -i eth0 -w FILE".into()),
            Failure::Capture {
                source: CaptureError::Damaged { .. },
                ..
            } => Some("what stands before that was replayed; copy or capture it again".into()),
            Failure::NotImported { hint, .. } => Some((*hint).into()),
            Failure::NothingToChange => Some("--help lists the keys".into()),
            Failure::Exists { .. } => Some("give it another name: --file FILE".into()),
            Failure::NoService => Some("what stands above says why; see also: --help".into()),
            Failure::BadAnswer { .. } => {
                Some("is it lbd that listens there, in the version of this lbctl?".into())
            }
            Failure::StreamEnded => Some("lbctl status says whether lbd runs".into()),
            Failure::StillRunning { .. } => Some(
                "what was asked for stands, and no new ones come; see those: lbctl flows; \
                 end them: lbctl flows clear"
                    .into(),
            ),
            Failure::MaintenanceEnded => Some("lbctl events says who; lbctl maintenance on".into()),
            Failure::NoKey { .. } => {
                Some("lbd makes one at its first start: hash.key in state_dir".into())
            }
            #[cfg(feature = "top")]
            Failure::NoTerminal => {
                Some("for files and pipes: lbctl status -w, with -o json for programs".into())
            }
            _ => None,
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Failure::Refused(error) => error.detail.as_deref(),
            _ => None,
        }
    }

    /// The failure in words, one line each, nothing in them that could move a cursor.
    pub fn words(&self) -> String {
        let detail = self.detail().unwrap_or_default().trim_end();
        let hint = self.hint().map(|hint| format!("hint:  {hint}"));
        detail
            .lines()
            .map(str::to_string)
            .chain([format!("error: {}", printable(&self.to_string()))])
            .chain(hint)
            .map(|line| printable(&line).into_owned() + "\n")
            .collect()
    }

    /// Says it on stderr.
    pub fn report(&self) -> ExitCode {
        // Like `head` does: who reads our output may stop reading.
        let pipe_closed =
            matches!(self, Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe);
        if !pipe_closed {
            // If nobody can read it, the exit code still tells.
            let _ = io::stderr().write_all(self.words().as_bytes());
        }
        ExitCode::from(self.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbcore::api::ErrorCode;

    #[test]
    fn t60c_nothing_in_an_error_moves_the_cursor() {
        let error = ApiError::new(ErrorCode::BadConfig, "bad \x1b[2J name\nsecond")
            .hint("see \u{202e}")
            .detail("line one\n  ^ \x07 two\n");
        let failure = Failure::Refused(error);
        assert_eq!(
            failure.words(),
            "line one\n  ^ \\u{7} two\nerror: bad \\u{1b}[2J name\\nsecond\nhint:  see \\u{202e}\n"
        );
        assert_eq!(failure.exit_code(), 78);
    }

    #[test]
    fn a_closed_door_is_not_an_absent_lbd() {
        let failure = |kind: io::ErrorKind| Failure::Unreachable {
            socket: "/run/lbd/lbd.sock".into(),
            source: kind.into(),
        };
        assert_eq!(failure(io::ErrorKind::PermissionDenied).exit_code(), 6);
        assert_eq!(failure(io::ErrorKind::NotFound).exit_code(), 5);
        assert_eq!(failure(io::ErrorKind::ConnectionRefused).exit_code(), 5);
        assert!(
            failure(io::ErrorKind::NotFound)
                .words()
                .contains("systemctl status lbd")
        );
    }
}
