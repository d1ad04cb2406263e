//! A health server that answers exactly as kube-proxy's (kubernetes `pkg/proxy/healthcheck`): no
//! mux, so that every path and method gets the same.

use crate::netns::NetnsHandle;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// How many ready pods a Service has on this node: its `healthCheckNodePort`.
    Service {
        /// Whose.
        namespace: String,
        /// Whose.
        name: String,
        /// 0 is a 503.
        endpoints: usize,
    },
    /// How kube-proxy itself is: port 10256.
    KubeProxy {
        /// False while the node is being removed: a 503.
        eligible: bool,
    },
    /// What Go answers when the handler writes nothing: the Service is just being removed.
    Nothing,
}

/// One server; it ends with this value.
#[derive(Debug)]
pub struct HealthServer {
    says: Arc<Mutex<Says>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HealthServer {
    /// Starts one in `netns`; it listens when this returns.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(netns: NetnsHandle, port: u16, says: Says) -> HealthServer {
        let says = Arc::new(Mutex::new(says));
        let (stop, stopped) = oneshot::channel();
        let (listening, is_listening) = std::sync::mpsc::channel();
        let said = Arc::clone(&says);
        let thread = netns.spawn("health", move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("tokio");
            runtime.block_on(async {
                let listener = TcpListener::bind(("::", port)).await.expect("its port");
                let _ = listening.send(());
                tokio::select! {
                    () = serve(listener, said) => {}
                    _ = stopped => {}
                }
            });
        });
        is_listening
            .recv_timeout(Duration::from_secs(5))
            .expect("the health server listens");
        HealthServer {
            says,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Says this from now on.
    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = says;
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, says: Arc<Mutex<Says>>) {
    loop {
        // An error here is one connection's: the next may do.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let said = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(async move { connection(stream, &said).await });
    }
}

async fn connection(stream: TcpStream, says: &Says) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // To the empty line that ends a request without a body.
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    stream.write_all(answer(says).as_bytes()).await?;
    stream.shutdown().await
}

/// The whole answer, in the order in which Go writes headers.
fn answer(says: &Says) -> String {
    // Go's, as of net/http: always there, and of no interest here.
    const DATE: &str = "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n";
    let (status, headers, body) = match says {
        Says::Service {
            namespace,
            name,
            endpoints,
        } => (
            *endpoints > 0,
            format!(
                "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\
                 X-Load-Balancing-Endpoint-Weight: {endpoints}\r\n"
            ),
            format!(
                "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \
                 \"{name}\"\n\t}},\n\t\"localEndpoints\": {endpoints},\n\t\
                 \"serviceProxyHealthy\": true\n}}"
            ),
        ),
        Says::KubeProxy { eligible } => (
            *eligible,
            "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n".to_owned(),
            format!(
                "{{\"lastUpdated\": \"2000-01-01 00:00:00 +0000 UTC\",\"currentTime\": \
                 \"2000-01-01 00:00:00 +0000 UTC\", \"nodeEligible\": {eligible}}}"
            ),
        ),
        Says::Nothing => (true, String::new(), String::new()),
    };
    let status = match status {
        true => "200 OK",
        false => "503 Service Unavailable",
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}{DATE}Content-Length: {length}\r\n\r\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_kube_proxys_byte_for_byte() {
        let says = Says::Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            endpoints: 2,
        };
        let answer = answer(&says);
        let body = "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\
                    \t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}";
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        assert!(answer.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(answer.contains("X-Load-Balancing-Endpoint-Weight: 2\r\n"));
    }
}
