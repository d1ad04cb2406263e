//! Where the parts come from. Each is bounded in time and size, and says why it cannot be had.

use crate::client::Client;
use crate::failure::Failure;
use lbcore::api::Request;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

/// A program, or lbd's metrics, may take this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// No more is read of anything; what is kept is less.
const MOST_READ: u64 = 16 << 20;

/// What a program says.
pub async fn program(words: &[&str]) -> Result<String, String> {
    let name = words[0];
    // A plain user's PATH leaves these out.
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let mut child = Command::new(name)
        .args(&words[1..])
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(format!("{name}: no output"));
    };
    let said = async {
        // Both at once: a full pipe would stop it.
        let (mut stdout, mut stderr) = (stdout.take(MOST_READ), stderr.take(MOST_READ));
        let read = tokio::try_join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        read?;
        drop((stdout, stderr));
        child.wait().await
    };
    let status = tokio::time::timeout(PATIENCE, said)
        .await
        .map_err(|_| format!("{name}: no end within {PATIENCE:?}"))?
        .map_err(|error| format!("{name}: {error}"))?;
    let words = String::from_utf8_lossy(&err);
    match (status.success(), out.is_empty()) {
        (true, false) => Ok(String::from_utf8_lossy(&out).into_owned()),
        (true, true) => Err(format!("{name} says nothing {}", words.trim())),
        (false, _) => Err(format!("{name}: {status}: {}", words.trim())),
    }
}

/// What is in a file.
pub fn file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_READ).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What happened since lbd started.
pub async fn events(client: &Client) -> Result<String, String> {
    let mut text = String::new();
    let hear = |line: &str| -> Result<(), Failure> {
        text.push_str(line);
        text.push('\n');
        Ok(())
    };
    let heard = client.lines(&Request::Events { follow: false }, hear).await;
    heard.map_err(|failure| failure.to_string())?;
    Ok(text)
}

/// lbd's `/metrics`.
pub async fn metrics(mut address: SocketAddr) -> Result<String, String> {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scrape = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST_READ).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, scrape)
        .await
        .map_err(|_| format!("{address} did not answer within {PATIENCE:?}"))?
        .map_err(|error| format!("{address}: {error}"))?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => Err(format!("{address} answers something else")),
    }
}

/// This lbctl; lbd's own version is in its status.
pub fn versions() -> String {
    format!("lbctl {}\n", env!("CARGO_PKG_VERSION"))
}
