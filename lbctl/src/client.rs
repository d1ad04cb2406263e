//! One request to lbd over its control socket.

use crate::failure::Failure;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use lbcore::api::{self, ErrorBody, route::Call};
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// Longer than lbd itself waits for its daemon: its words are better than ours.
const PATIENCE: Duration = Duration::from_secs(45);

/// The largest answer read: a status with 65,536 reals is some 40 MiB.
const MAX_ANSWER: usize = 128 << 20;

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

    async fn exchange(&self, call: Call) -> Result<(bool, Bytes), Failure> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| self.unreachable(e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.bad_answer(e.to_string()))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(call.method)
            .uri(call.target)
            .header(header::HOST, "lbd")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(call.body)))
            .map_err(|e| self.bad_answer(e.to_string()))?;
        let answer = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|e| e.to_string())?;
            let ok = response.status().is_success();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            Ok((ok, body.map_err(|e| e.to_string())?.to_bytes()))
        };
        let answer = answer
            .await
            .map_err(|reason: String| self.bad_answer(reason));
        connection.abort();
        answer
    }

    fn unreachable(&self, source: io::Error) -> Failure {
        Failure::Unreachable {
            socket: self.socket.clone(),
            source,
        }
    }

    fn bad_answer(&self, reason: String) -> Failure {
        Failure::BadAnswer {
            socket: self.socket.clone(),
            reason,
        }
    }
}
