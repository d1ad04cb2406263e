//! How a probe ended, in words an operator understands.

use std::io;
use std::time::Duration;
use thiserror::Error;

/// What became of one probe.
#[derive(Debug)]
pub struct Answer {
    /// What was found, or what went wrong.
    pub outcome: Result<Found, ProbeError>,
    /// From the first system call to the verdict.
    pub took: Duration,
}

impl Answer {
    /// `"http 200 in 1.2 ms"`, `"connection refused"`.
    pub fn reason(&self) -> String {
        match &self.outcome {
            Ok(found) => format!("{} in {}", found.words, spoken(self.took)),
            Err(error) => error.to_string(),
        }
    }
}

/// What a probe that passed has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In words that the time completes: `"http 200"`.
    pub words: String,
    /// The weight the real gives itself, where it says so: 0-256.
    pub weight: Option<u16>,
    /// When the certificate it has shown ends, in seconds since 1970.
    pub expires: Option<i64>,
}

impl From<&str> for Found {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl From<String> for Found {
    fn from(words: String) -> Self {
        Found {
            words,
            weight: None,
            expires: None,
        }
    }
}

/// Why a probe did not pass.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The check's timeout passed.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The socket could not be made or bound: nobody was asked.
    #[error("{}", in_words(.0))]
    Socket(io::Error),
    /// Connecting, sending or receiving failed.
    #[error("{}", in_words(.0))]
    Io(io::Error),
    /// The real closed the connection before it had answered.
    #[error("connection closed without an answer")]
    Closed,
    /// A status that is not expected.
    #[error("http {0}")]
    Status(u16),
    /// The status is right, the text is not there.
    #[error("http {status}, but its body lacks {wanted:?}")]
    BodyLacks {
        /// The status.
        status: u16,
        /// What the check looks for.
        wanted: String,
    },
    /// The real answers, and wants no new flows.
    #[error("{0}")]
    Drains(String),
    /// The real answers, and the answer is no. Why, in words.
    #[error("{0}")]
    SaysNo(String),
    /// This host lacks what the check needs.
    #[error("{0}")]
    Own(String),
    /// An answer that no real which works gives.
    #[error("{0}")]
    Wrong(String),
    /// More than a probe reads.
    #[error("answer longer than {} KiB", .0 / 1024)]
    TooLong(usize),
    /// The real answers at its own address, and not the way its traffic takes.
    #[error("{leg} ({error})")]
    Leg {
        /// What is broken, in words.
        leg: String,
        /// What the probe ended with.
        error: Box<ProbeError>,
    },
    /// Not HTTP.
    #[error("not a valid http answer: {0}")]
    Malformed(String),
    /// The check's own method, path or headers make no request.
    #[error("the check makes no valid http request: {0}")]
    Request(String),
}

impl ProbeError {
    /// Whether the real itself has answered, and said no: it did not fail.
    pub fn declines(&self) -> bool {
        matches!(
            self,
            ProbeError::Status(_) | ProbeError::BodyLacks { .. } | ProbeError::SaysNo(_)
        )
    }

    /// Whether nobody was heard to serve, which something on the way may have caused.
    pub(super) fn is_unheard(&self) -> bool {
        match self {
            ProbeError::NoAnswer(_) | ProbeError::Closed => true,
            ProbeError::Io(_) => !self.is_own_trouble(),
            _ => false,
        }
    }

    /// Whether this says something of this host or its configuration, and nothing of the real.
    pub fn is_own_trouble(&self) -> bool {
        match self {
            ProbeError::Io(error) => error.raw_os_error().is_some_and(|errno| {
                matches!(
                    errno,
                    libc::EMFILE
                        | libc::ENFILE
                        | libc::ENOBUFS
                        | libc::ENOMEM
                        | libc::ENETDOWN
                        | libc::EADDRNOTAVAIL
                )
            }),
            ProbeError::Socket(_) | ProbeError::Request(_) | ProbeError::Own(_) => true,
            _ => false,
        }
    }
}

fn in_words(error: &io::Error) -> String {
    let words = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused",
        Some(libc::ECONNRESET) => "connection reset",
        Some(libc::EHOSTUNREACH) => "no route to host",
        Some(libc::ENETUNREACH) => "network is unreachable",
        Some(libc::ETIMEDOUT) => "connection timed out",
        Some(libc::EMFILE) => "lbd has no file descriptor left for the probe",
        Some(libc::ENFILE) => "this host has no file descriptor left for the probe",
        Some(libc::ENOBUFS | libc::ENOMEM) => "this host has no memory left for the probe",
        Some(libc::ENETDOWN) => "this host's interface is down",
        Some(libc::EADDRNOTAVAIL) => "this host has no such source address, or no free port",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// `0.4 ms`, `12 ms`, `1.2 s`.
fn spoken(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1_000.0;
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_well() {
        let answer = |outcome, micros| Answer {
            outcome,
            took: Duration::from_micros(micros),
        };
        let errno = |errno| Err(ProbeError::Io(io::Error::from_raw_os_error(errno)));
        let cases = [
            (answer(Ok("connected".into()), 412), "connected in 0.4 ms"),
            (answer(Ok("http 200".into()), 12_400), "http 200 in 12 ms"),
            (
                answer(Ok("http 200".into()), 1_249_000),
                "http 200 in 1.2 s",
            ),
            (answer(Err(ProbeError::Status(503)), 1), "http 503"),
            (
                answer(Err(ProbeError::NoAnswer(Duration::from_secs(1))), 1),
                "no answer within 1s",
            ),
            (answer(errno(libc::ECONNREFUSED), 1), "connection refused"),
            (answer(errno(libc::EHOSTUNREACH), 1), "no route to host"),
            (
                answer(Err(ProbeError::TooLong(65_536)), 1),
                "answer longer than 64 KiB",
            ),
        ];
        for (answer, expected) in cases {
            assert_eq!(answer.reason(), expected);
        }
    }

    #[test]
    fn t29_an_answer_that_says_no_is_no_failure() {
        assert!(ProbeError::Status(503).declines());
        for failure in [
            ProbeError::NoAnswer(Duration::from_secs(1)),
            ProbeError::Closed,
            ProbeError::Io(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
        ] {
            assert!(!failure.declines(), "{failure}");
        }
    }

    /// T35: what this host lacks is not the real's fault; what the real or the way to it does is.
    #[test]
    fn t35_own_trouble_is_told_apart() {
        let ours = |errno| ProbeError::Io(io::Error::from_raw_os_error(errno)).is_own_trouble();
        for errno in [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENETDOWN,
            libc::EADDRNOTAVAIL,
        ] {
            assert!(ours(errno), "{errno}");
        }
        for errno in [libc::ECONNREFUSED, libc::ECONNRESET, libc::EHOSTUNREACH] {
            assert!(!ours(errno), "{errno}");
        }
        let unbindable = io::Error::from_raw_os_error(libc::EINVAL);
        assert!(ProbeError::Socket(unbindable).is_own_trouble());
        assert!(!ProbeError::NoAnswer(Duration::from_secs(1)).is_own_trouble());
    }
}
