//! A balancer in front of lbd: whom it tells in a PROXY header is the client, and nobody else may.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::Daemon;
use integration::dial::dial;
use integration::fnv::Fnv;
use integration::front::{Answer, answer, binary, line, local, request};
use integration::ingress::Ingress;
use integration::isolated;
use integration::real_server::RealServer;
use integration::routed::{BACK, CLIENT, Routed};
use integration::topology::{Offloads, VIP};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// Port of the ingress, and of the server behind it.
const INGRESS: u16 = 8080;
const WHOAMI: u16 = 8081;

/// An address of the client's network that `trusted_sources` does not have.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);

/// A client that only the balancer in front knows.
const TOLD: &str = "198.18.0.7:40001";

/// Not after the time a header may take (5 s), however busy the machine.
const AT_ONCE: Duration = Duration::from_secs(3);

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn vip(port: u16) -> SocketAddr {
    SocketAddr::new(VIP.into(), port)
}

/// A service that believes the client's host.
fn believing(name: &str, port: u16, to: u16) -> ServiceConf {
    ServiceConf::proxied(name, port)
        .proxy("accept_proxy", "true")
        .proxy("trusted_sources", &format!("[\"{CLIENT}/32\"]"))
        .proxy("connect_timeout", "\"1s\"")
        .routed([1], to)
}

/// Two services behind a balancer in front, which says who the client is: `spoof` dials `whoami`
/// from that address, `told` passes it on to nginx.
struct Fronted {
    lbd: Daemon,
    whoami: RealServer,
    _nginx: Ingress,
    routed: Routed,
}

impl Fronted {
    fn new() -> Fronted {
        let routed = Routed::new(1, Offloads::Defaults);
        routed.add_client(STRANGER);
        let whoami = routed.serve(1, WHOAMI);
        let back = BACK.to_string();
        let nginx = Ingress::nginx(&routed.reals[0], INGRESS, WHOAMI, &[&back]);
        let told = believing("told", 81, INGRESS)
            .proxy("source", "\"self\"")
            .proxy("send_proxy", "\"v2\"");
        let conf = Conf::one(believing("spoof", 80, WHOAMI)).service(told);
        Fronted {
            lbd: Daemon::start(&routed.lb, &conf),
            whoami,
            _nginx: nginx,
            routed,
        }
    }

    /// A request of the trusted balancer that begins with `header`.
    fn request(&self, port: u16, header: &[u8]) -> std::io::Result<Answer> {
        request(&self.routed.cl, CLIENT.into(), vip(port), header)
    }
}

#[test]
fn whom_a_balancer_in_front_tells_is_the_client() {
    isolated(|| {
        let stage = Fronted::new();
        let told = at(TOLD);
        let told6 = at("[2001:db8:9::7]:40001");
        // What the client of the balancer dialled there; not ours.
        let (front, front6) = (at("203.0.114.80:443"), at("[2001:db8:8::80]:443"));
        for header in [line(told, front), binary(told, front)] {
            let answer = stage.request(80, &header).expect("an answer");
            assert_eq!(answer.identity.peer.ip(), told.ip());
            let answer = stage.request(81, &header).expect("an answer");
            assert_eq!(answer.forwarded_for(), Some(told.ip()));
            assert_eq!(answer.header("X-Peer"), Some(&BACK.to_string()[..]));
        }
        // One of the other family can be told, but not dialled from: nobody else is shown instead.
        for header in [line(told6, front6), binary(told6, front6)] {
            let answer = stage.request(80, &header);
            assert!(answer.is_err(), "{answer:?}");
            let answer = stage.request(81, &header).expect("an answer");
            assert_eq!(answer.forwarded_for(), Some(told6.ip()));
        }
        // Where the balancer speaks for itself, it is the client.
        for header in [local(), b"PROXY UNKNOWN\r\n".to_vec()] {
            let answer = stage.request(80, &header).expect("an answer");
            assert_eq!(answer.identity.peer.ip(), CLIENT);
            let answer = stage.request(81, &header).expect("an answer");
            assert_eq!(answer.forwarded_for(), Some(CLIENT.into()));
        }
        for (service, count) in [("spoof", 4.0), ("told", 6.0)] {
            stage.lbd.wait_proxied_ended(service);
            assert_eq!(stage.lbd.proxied(service, "ok"), count, "{service}");
        }
    });
}

#[test]
fn what_follows_the_header_reaches_the_server_byte_for_byte() {
    isolated(|| {
        let stage = Fronted::new();
        let data: Vec<u8> = (0..1_000_003u32).map(|n| ((n * 31) >> 3) as u8).collect();
        let mut hash = Fnv::new();
        hash.update(&data);
        let expected = format!("{} {:016x}", data.len(), hash.finish());
        for header in [line(at(TOLD), vip(80)), binary(at(TOLD), vip(80))] {
            let mut stream = dial(&stage.routed.cl.handle(), vip(80)).expect("connected");
            let all = [&header[..], b"SINK\n", &data].concat();
            stream.write_all(&all).expect("sent");
            stream.shutdown(Shutdown::Write).expect("half closed");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert_eq!(answer.trim_end(), expected);
        }
    });
}

#[test]
fn strangers_and_bad_headers_are_refused_and_counted() {
    isolated(|| {
        let stage = Fronted::new();
        let good = binary(at(TOLD), vip(80));
        let nobody = binary(at("0.0.0.0:1"), vip(80));
        let mut unsupported = good.clone();
        unsupported[12] = 0x22;
        let mut datagram = good.clone();
        datagram[13] = 0x12;
        let mut huge = good.clone();
        huge[14..16].copy_from_slice(&[0xff, 0xff]);
        let bad: &[&[u8]] = &[
            // The request alone.
            b"",
            b"PROXY TCP4 198.18.0.7 192.0.2.10 40001\r\n",
            b"PROXY TCP4 198.18.0.07 192.0.2.10 40001 80\r\n",
            b"PROXY TCP4 198.18.0.7 192.0.2.10 40001 80\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(),
            &nobody,
            &unsupported,
            &datagram,
            &huge,
        ];
        for port in [80, 81] {
            for header in bad {
                let sent = Instant::now();
                let answer = stage.request(port, header);
                assert!(answer.is_err(), "{answer:?}");
                assert!(sent.elapsed() < AT_ONCE, "refused late");
            }
            for header in [&good[..], b"PROXY UNKNOWN\r\n", b""] {
                let answer = request(&stage.routed.cl, STRANGER.into(), vip(port), header);
                assert!(answer.is_err(), "{answer:?}");
            }
        }
        assert_eq!(stage.whoami.connections(), 0, "nothing got through");
        for service in ["spoof", "told"] {
            stage.lbd.wait_proxied_ended(service);
            assert_eq!(stage.lbd.proxied(service, "untrusted"), 3.0);
            assert_eq!(stage.lbd.proxied(service, "bad_header"), bad.len() as f64);
            assert_eq!(stage.lbd.proxied(service, "ok"), 0.0);
        }
        stage.request(80, &good).expect("a good one is served");
    });
}

#[test]
fn headers_may_come_in_pieces_but_not_for_ever() {
    isolated(|| {
        let stage = Fronted::new();
        let cl = stage.routed.cl.handle();
        let headers = [line(at(TOLD), vip(80)), binary(at(TOLD), vip(80))];
        for header in &headers {
            let mut stream = dial(&cl, vip(80)).expect("connected");
            for byte in header {
                stream.write_all(&[*byte]).expect("sent");
            }
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
            let answer = answer(stream).expect("an answer");
            assert_eq!(answer.identity.peer.ip(), at(TOLD).ip());
        }

        // Beginnings whose end never comes, and nothing at all.
        let mut half = Vec::new();
        for beginning in [&headers[0][..20], &headers[1][..20], b""] {
            for _ in 0..30 {
                let mut stream = dial(&cl, vip(80)).expect("connected");
                stream.write_all(beginning).expect("sent");
                half.push(stream);
            }
        }
        let asked = Instant::now();
        stage.request(80, &headers[1]).expect("others are served");
        assert!(asked.elapsed() < AT_ONCE, "others wait");
        for mut stream in half {
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a timeout");
            match stream.read(&mut [0; 1]) {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("still open: {other:?}"),
            }
        }
        // Balancers that go away before they have said who it is.
        for header in &headers {
            let mut stream = dial(&cl, vip(80)).expect("connected");
            stream.write_all(&header[..20]).expect("sent");
        }
        stage.lbd.wait_proxied_ended("spoof");
        assert!(stage.lbd.proxied("spoof", "bad_header") >= 90.0);
        assert_eq!(stage.lbd.proxied("spoof", "ok"), 3.0);
        assert_eq!(stage.whoami.connections(), 3);
    });
}
