//! A stand-in for lbd: answers on a socket of its own as a test tells it to.
#![allow(dead_code, clippy::unwrap_used)]

use assert_cmd::Command;
use lbcore::api::route::Call;
use lbcore::api::{ApiError, Envelope, ErrorBody, Request, Response, StatusView};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

pub struct FakeLbd {
    directory: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl FakeLbd {
    /// Answers every request with what `answer` says.
    pub fn new(
        mut answer: impl FnMut(&Request) -> Result<Response, ApiError> + Send + 'static,
    ) -> Self {
        Self::raw(move |request| {
            let (status, body) = match answer(request) {
                Ok(response) => (
                    200,
                    serde_json::to_string(&Envelope::new(response)).unwrap(),
                ),
                Err(error) => {
                    let status = error.code.http_status();
                    (
                        status,
                        serde_json::to_string(&Envelope::new(ErrorBody { error })).unwrap(),
                    )
                }
            };
            format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        })
    }

    /// Answers every request with these bytes.
    pub fn raw(mut answer: impl FnMut(&Request) -> String + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("lbd.sock")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        // Ends with the test's process; the socket goes away with its directory.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&stream);
                let answer = answer(&request);
                // Before answering: who has the answer may look at once.
                keep.lock().unwrap().push(request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        FakeLbd { directory, heard }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("lbd.sock")
    }

    /// What was asked so far.
    pub fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }

    /// `lbctl` with these words, against this lbd.
    pub fn lbctl(&self, line: &str) -> Command {
        let mut command = lbctl(line);
        command.env("LBCTL_SOCKET", self.socket());
        command
    }
}

fn read(stream: &UnixStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace().map(str::to_string);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Call::read(&method, &target, &body).unwrap()
}

/// `lbctl` with these words, as a script would run it.
pub fn lbctl(line: &str) -> Command {
    let mut command = Command::cargo_bin("lbctl").unwrap();
    command
        .args(line.split_whitespace())
        .env_remove("LBCTL_SOCKET");
    command
}

pub fn status() -> StatusView {
    let text = include_str!("../../../lbcore/src/api/fixtures/status.json");
    serde_json::from_str(text).unwrap()
}
