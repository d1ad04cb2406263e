//! What a connection's first line asks for.

use super::Counts;
use crate::fnv::Fnv;
use crate::pattern::Pattern;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The longest first line we read.
const LINE_LIMIT: u64 = 4096;

/// Serves one connection until it ends.
pub(super) async fn connection(
    stream: TcpStream,
    identity: String,
    counts: &Counts,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut first_line = String::new();
    (&mut stream)
        .take(LINE_LIMIT)
        .read_line(&mut first_line)
        .await?;
    let line = first_line.trim_end();
    let (word, number) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "ECHO" => {
            stream.write_all(identity.as_bytes()).await?;
            let mut buffer = vec![0; 2048];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    count => stream.write_all(&buffer[..count]).await?,
                }
            }
        }
        "SINK" => {
            let mut hash = Fnv::new();
            let total = read_to_end(&mut stream, |bytes| hash.update(bytes)).await?;
            let line = format!("{total} {:016x}\n", hash.finish());
            stream.write_all(line.as_bytes()).await
        }
        "DISCARD" => {
            let total = read_to_end(&mut stream, |_| {}).await?;
            stream.write_all(format!("{total}\n").as_bytes()).await
        }
        "DUPLEX" => duplex(stream, bytes(number)?).await,
        "RESET" => {
            send(&mut stream, bytes(number)?).await?;
            // Data not read yet would turn an ordinary close into a reset as well.
            stream.get_ref().set_zero_linger()
        }
        "FIRST" => {
            stream.write_all(identity.as_bytes()).await?;
            stream.shutdown().await?;
            let count = |bytes: &[u8]| {
                counts.late_bytes.fetch_add(bytes.len() as u64, Relaxed);
            };
            read_to_end(&mut stream, count).await.map(|_| ())
        }
        "STALL" => {
            stream.write_all(identity.as_bytes()).await?;
            until_broken(stream.get_ref()).await
        }
        _ if line.contains(" HTTP/1.") => http(&mut stream, &identity).await,
        // A check's connection that only opens and closes, or something we do not speak.
        _ => Ok(()),
    }
}

async fn http(stream: &mut BufReader<TcpStream>, body: &str) -> io::Result<()> {
    let mut header = String::new();
    let mut forwarded = String::new();
    while (&mut *stream)
        .take(LINE_LIMIT)
        .read_line(&mut header)
        .await?
        > 2
    {
        if header.to_ascii_lowercase().starts_with("x-forwarded-for:") {
            forwarded.push_str(&header);
        }
        header.clear();
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
    let length = body.len();
    let answer = format!("{head}{forwarded}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn bytes(number: &str) -> io::Result<u64> {
    number.parse().map_err(io::Error::other)
}

/// Sends `total` bytes of the pattern.
async fn send(stream: &mut (impl AsyncWriteExt + Unpin), total: u64) -> io::Result<()> {
    let pattern = Pattern::new();
    let mut at = 0;
    while at < total {
        let piece = pattern.piece(at, total - at);
        stream.write_all(piece).await?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Both ways at once.
async fn duplex(stream: BufReader<TcpStream>, total: u64) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let pattern = Pattern::new();
    let (mut at, mut same) = (0, true);
    let reading = read_to_end(&mut reader, |bytes| {
        same &= pattern.is_at(at, bytes);
        at += bytes.len() as u64;
    });
    tokio::try_join!(send(&mut writer, total), reading)?;
    let verdict = if same { "same" } else { "other" };
    writer
        .write_all(format!("{at} {verdict}\n").as_bytes())
        .await
}

/// Returns when the other side reset the connection, without reading what it sends.
async fn until_broken(stream: &TcpStream) -> io::Result<()> {
    // Neither readable data nor the end of it is of interest here, only the socket's error, and
    // for that alone tokio cannot wait while data is there.
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        look.tick().await;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
}

/// Reads to the end, shows every piece, and returns how many bytes there were.
async fn read_to_end(
    stream: &mut (impl AsyncReadExt + Unpin),
    mut show: impl FnMut(&[u8]),
) -> io::Result<u64> {
    let mut total = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(total),
            count => {
                total += count as u64;
                show(&buffer[..count]);
            }
        }
    }
}
