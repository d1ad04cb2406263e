use super::*;
use crate::probe::{Answer, Way};
use lbcore::config::CheckKind;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server with a certificate of its own making, good until the year's first day, and the file
/// that makes it trusted.
struct Rig {
    acceptor: TlsAcceptor,
    ca_file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new(name: &str, until: i32) -> Self {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, pem(certificate.der())).expect("written");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a pair");
        Rig {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            ca_file,
            _dir: dir,
        }
    }

    fn trusting(&self, sni: &str) -> TlsCheck {
        TlsCheck {
            sni: Some(sni.to_owned()),
            verify: true,
            ca_file: Some(self.ca_file.clone()),
        }
    }

    async fn asked(&self, tls: TlsCheck, page: &'static str) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("address");
        let acceptor = self.acceptor.clone();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = acceptor.accept(stream).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            stream.write_all(page.as_bytes()).await?;
            stream.shutdown().await
        });
        let answer = question(to, tls).ask().await;
        server.abort();
        answer
    }
}

/// The one thing of a PEM library that is needed here.
fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, three) in der.chunks(3).enumerate() {
        let bits = (0..3).fold(0_u32, |bits, at| {
            bits << 8 | u32::from(three.get(at).copied().unwrap_or(0))
        });
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            let kept = digit <= three.len();
            text.push(if kept { DIGITS[value].into() } else { '=' });
        }
        if index % 16 == 15 {
            text.push('\n');
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

fn question(to: std::net::SocketAddr, tls: TlsCheck) -> Question {
    let http = HttpCheck {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        expect: vec![(200, 299)],
        body: None,
        headers: BTreeMap::new(),
    };
    Question {
        to,
        way: Way::Real,
        source: None,
        timeout: Duration::from_secs(5),
        kind: CheckKind::Https(http, tls),
        names: None,
    }
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_good_certificate_passes_and_its_end_is_known() {
    let rig = Rig::new("shop.example", 2050);
    let answer = rig.asked(rig.trusting("shop.example"), FINE).await;
    assert!(
        answer.reason().starts_with("https 200 in "),
        "{}",
        answer.reason()
    );
    let found = answer.outcome.expect("passed");
    assert_eq!(found.expires, Some(2_524_608_000), "2050-01-01");
}

#[tokio::test]
async fn a_status_is_judged_as_without_tls() {
    let rig = Rig::new("shop.example", 2050);
    let page = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let answer = rig.asked(rig.trusting("shop.example"), page).await;
    assert!(answer.outcome.is_err_and(|error| error.declines()));
}

#[tokio::test]
async fn a_certificate_for_another_name_or_of_nobody_we_trust_or_too_old_is_a_failure() {
    let rig = Rig::new("shop.example", 2050);
    let old = Rig::new("shop.example", 2021);
    let unknown = TlsCheck {
        ca_file: Some(old.ca_file.clone()),
        ..rig.trusting("shop.example")
    };
    for (rig, tls, words) in [
        (&rig, rig.trusting("mail.example"), "mail.example"),
        (&rig, unknown, "invalid peer certificate"),
        (&old, old.trusting("shop.example"), "expired"),
    ] {
        let answer = rig.asked(tls, FINE).await;
        let reason = answer.reason();
        assert!(
            reason.starts_with("tls: ") && reason.contains(words),
            "{reason}"
        );
        let failed = |error: &ProbeError| !error.declines() && !error.is_own_trouble();
        assert!(answer.outcome.is_err_and(|error| failed(&error)));
    }
}

#[tokio::test]
async fn without_verifying_any_certificate_passes() {
    let old = Rig::new("shop.example", 2021);
    let tls = TlsCheck {
        sni: None,
        verify: false,
        ca_file: None,
    };
    let found = old.asked(tls, FINE).await.outcome.expect("passed");
    assert_eq!(found.expires, Some(1_609_459_200), "2021-01-01");
}

#[tokio::test]
async fn a_file_of_authorities_that_is_not_there_is_own_trouble() {
    let rig = Rig::new("shop.example", 2050);
    let tls = TlsCheck {
        ca_file: Some(PathBuf::from("/nonexistent/ca.pem")),
        ..rig.trusting("shop.example")
    };
    let error = rig.asked(tls, FINE).await.outcome.expect_err("no file");
    assert!(error.is_own_trouble(), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("/nonexistent/ca.pem cannot be used: "),
        "{error}"
    );
}

/// T34: what speaks no TLS, or never stops.
#[tokio::test]
async fn t34_hostile_servers_fail_in_time() {
    let rig = Rig::new("shop.example", 2050);
    for page in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        &[0; 512],
        &[0x16, 3, 3, 0xff, 0xff],
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            loop {
                stream.write_all(page).await?;
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        });
        let asked = Question {
            timeout: Duration::from_millis(400),
            ..question(to, rig.trusting("shop.example"))
        };
        let answer = asked.ask_in_time().await;
        assert!(answer.outcome.is_err());
        server.abort();
    }
}

#[test]
fn hosts_without_their_ports() {
    for (host, bare) in [
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example"),
        ("[2001:db8::1]:8443", "2001:db8::1"),
    ] {
        assert_eq!(without_port(host), bare);
    }
}
