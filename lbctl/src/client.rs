//! One request to lbd over its control socket.

use crate::failure::Failure;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use lbcore::api::{self, ErrorBody, route::Call};
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Longer than lbd itself waits for its daemon: its words are better than ours.
const PATIENCE: Duration = Duration::from_secs(45);

/// The largest answer read: a status with 65,536 reals is some 40 MiB.
const MAX_ANSWER: usize = 128 << 20;

/// The longest line of a stream; those of lbd are a few hundred bytes, and all that happened so
/// far may come as one piece.
const MAX_LINE: usize = 8 << 20;

/// Where lbd listens.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Of the lbd behind this socket; connects only when asked something.
    pub fn new(socket: PathBuf) -> Self {
        Client { socket }
    }

    /// Asks, and reads the answer as a `T`.
    ///
    /// # Errors
    /// lbd refuses, is not there, or what comes is not its answer.
    pub async fn ask<T: DeserializeOwned>(&self, request: &api::Request) -> Result<T, Failure> {
        let exchange = self.exchange(Call::of(request));
        let (ok, body) = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| self.bad_answer(format!("nothing came for {PATIENCE:?}")))??;
        if ok {
            serde_json::from_slice(&body).map_err(|e| self.bad_answer(e.to_string()))
        } else {
            let ErrorBody { error } =
                serde_json::from_slice(&body).map_err(|e| self.bad_answer(e.to_string()))?;
            Err(Failure::Refused(error))
        }
    }

    /// Asks, and hands each line of the answer to `hear` as it comes, until there are no more.
    ///
    /// # Errors
    /// lbd refuses, is not there, a line is longer than any of its own, or what `hear` says.
    pub async fn lines(
        &self,
        request: &api::Request,
        mut hear: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let opened = tokio::time::timeout(PATIENCE, self.open(Call::of(request)));
        let (response, connection) = opened
            .await
            .map_err(|_| self.bad_answer(format!("nothing came for {PATIENCE:?}")))??;
        let ok = response.status().is_success();
        let mut body = response.into_body();
        let mut unread = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| self.bad_answer(e.to_string()))?;
            unread.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let (true, Some(end)) = (ok, unread.iter().position(|b| *b == b'\n')) {
                let line: Vec<u8> = unread.drain(..=end).collect();
                hear(String::from_utf8_lossy(&line).trim_end())?;
            }
            if unread.len() > MAX_LINE {
                return Err(self.bad_answer(format!("a line of more than {MAX_LINE} bytes")));
            }
        }
        connection.abort();
        if ok {
            return Ok(());
        }
        let ErrorBody { error } =
            serde_json::from_slice(&unread).map_err(|e| self.bad_answer(e.to_string()))?;
        Err(Failure::Refused(error))
    }

    async fn exchange(&self, call: Call) -> Result<(bool, Bytes), Failure> {
        let (response, connection) = self.open(call).await?;
        let ok = response.status().is_success();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await;
        connection.abort();
        let body = body.map_err(|e| self.bad_answer(e.to_string()))?;
        Ok((ok, body.to_bytes()))
    }

    /// Connects and asks; the answer's body is still to be read, while the connection lives.
    async fn open(&self, call: Call) -> Result<(Response<Incoming>, JoinHandle<()>), Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| self.unreachable(e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.bad_answer(e.to_string()))?;
        let connection = tokio::spawn(async {
            // What breaks it is seen by whoever reads the answer.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(call.method)
            .uri(call.target)
            .header(header::HOST, "lbd")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(call.body)))
            .map_err(|e| self.bad_answer(e.to_string()))?;
        match sender.send_request(request).await {
            Ok(response) => Ok((response, connection)),
            Err(error) => {
                connection.abort();
                Err(self.bad_answer(error.to_string()))
            }
        }
    }

    fn unreachable(&self, source: io::Error) -> Failure {
        Failure::Unreachable {
            socket: self.socket.clone(),
            source,
        }
    }

    /// What came is no answer of lbd.
    pub fn bad_answer(&self, reason: String) -> Failure {
        Failure::BadAnswer {
            socket: self.socket.clone(),
            reason,
        }
    }
}
