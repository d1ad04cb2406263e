//! What `/metrics` says.

use crate::netns::NetnsHandle;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Time for one scrape, far above what one takes.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

/// One scrape: series, written as Prometheus writes them, and values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The page as it came.
    pub text: String,
    series: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads the text format; comments and lines that are no sample are left out.
    pub fn parse(text: &str) -> Metrics {
        let series = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect();
        Metrics {
            text: text.to_owned(),
            series,
        }
    }

    /// Value of one series, as in `value("lbd_real_up", &[("real", "rs1")])`: the sum of all
    /// series of that name with these labels. Zero where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }

    /// Whether there is such a series.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = f64> + 'a {
        self.series.iter().filter_map(move |(series, value)| {
            let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
            let all = labels
                .iter()
                .all(|(key, value)| rest.contains(&format!("{key}=\"{value}\"")));
            (metric == name && all).then_some(*value)
        })
    }
}

/// `GET path` over plain HTTP/1.1 from inside `netns`: status and body.
///
/// # Errors
/// When nobody answers, or what answers is not HTTP.
pub fn http_get(
    netns: &NetnsHandle,
    address: SocketAddr,
    path: &str,
) -> std::io::Result<(u16, String)> {
    netns.run(|| {
        let mut stream = TcpStream::connect_timeout(&address, SCRAPE_TIMEOUT)?;
        stream.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        match (status, answer.split_once("\r\n\r\n")) {
            (Some(status), Some((head, body))) => Ok((status, dechunk(head, body))),
            _ => Err(std::io::Error::other(format!("not HTTP: {answer:?}"))),
        }
    })
}

fn dechunk(head: &str, body: &str) -> String {
    if !head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return body.to_owned();
    }
    let mut out = String::new();
    let mut rest = body;
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let (true, Some(chunk)) = (size > 0, tail.get(..size)) else {
            break;
        };
        out.push_str(chunk);
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_name_and_labels() {
        let metrics = Metrics::parse(
            "# HELP lbd_ready x\nlbd_ready 1\nlbd_real_up{service=\"a\",real=\"rs1\"} 1\nlbd_real_up{service=\"a\",real=\"rs2\"} 1\n",
        );
        assert_eq!(metrics.value("lbd_ready", &[]), 1.0);
        assert_eq!(metrics.value("lbd_real_up", &[]), 2.0);
        assert_eq!(metrics.value("lbd_real_up", &[("real", "rs2")]), 1.0);
        assert!(!metrics.has("lbd_real_up", &[("real", "rs3")]));
    }

    #[test]
    fn chunks_are_joined() {
        let body = "4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n";
        assert_eq!(dechunk("Transfer-Encoding: chunked", body), "Wikipedia");
        assert_eq!(dechunk("Content-Length: 3", "abc"), "abc");
    }
}
