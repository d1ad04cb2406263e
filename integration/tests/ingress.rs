//! Ingress controllers behind lbd: told by a PROXY header, they tell the client's own address.

use integration::client::REQUEST_TIMEOUT;
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::dial::dial;
use integration::front::{binary, line, request};
use integration::ingress::Ingress;
use integration::isolated;
use integration::netns::Netns;
use integration::routed::{BACK, BACK6, CLIENT, CLIENT6, Routed, real, real6};
use integration::topology::{Offloads, VIP, VIP6};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};

/// Port of the ingress, and of the server behind it.
const INGRESS: u16 = 8080;
const WHOAMI: u16 = 8081;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn vip(port: u16) -> SocketAddr {
    SocketAddr::new(VIP.into(), port)
}

/// A proxied service with one real, `rs1`.
fn proxied(name: &str, vip: SocketAddr, to: SocketAddr) -> ServiceConf {
    ServiceConf::proxied(name, vip.port())
        .with("vip", &format!("\"{}\"", vip.ip()))
        .real(RealConf::new("rs1", to.ip()).dialled_at(to.port()))
}

/// The harness alone: both ingresses believe a PROXY header and tell the server whom it names.
#[test]
fn an_ingress_tells_the_server_whom_a_proxy_header_names() {
    isolated(|| {
        let routed = Routed::new(2, Offloads::Defaults);
        let _servers = [routed.serve(1, WHOAMI), routed.serve(2, WHOAMI)];
        let nginx = Ingress::nginx(
            &routed.reals[0],
            INGRESS,
            WHOAMI,
            &["203.0.113.0/24", "2001:db8:2::/64"],
        );
        let _haproxy = Ingress::haproxy(&routed.reals[1], INGRESS, WHOAMI);
        let v4 = (at("198.51.100.100:40001"), at("192.0.2.10:80"));
        let v6 = (at("[2001:db8:1::100]:40001"), at("[2001:db8::10]:80"));
        for n in [1, 2] {
            let target = SocketAddr::new(real(n).into(), INGRESS);
            let target6 = SocketAddr::new(real6(n).into(), INGRESS);
            for ((client, vip), (source, target)) in [
                (v4, (IpAddr::from(BACK), target)),
                (v6, (BACK.into(), target)),
                (v6, (BACK6.into(), target6)),
            ] {
                for header in [line(client, vip), binary(client, vip)] {
                    let answer = request(&routed.lb, source, target, &header).expect("an answer");
                    assert_eq!(answer.identity.server, format!("rs{n}"));
                    assert_eq!(answer.forwarded_for(), Some(client.ip()), "{}", nginx.log());
                    let destination = format!("{} {}", vip.ip(), vip.port());
                    assert_eq!(answer.header("X-Destination"), Some(&destination[..]));
                    if n == 1 {
                        assert_eq!(answer.header("X-Peer"), Some(&source.to_string()[..]));
                    }
                }
            }
            assert!(
                request(&routed.lb, BACK.into(), target, b"").is_err(),
                "no header"
            );
        }
    });
}

/// Four services, IPv4 and IPv6, dialled from the client's address and from lbd's, in front of an
/// ingress: every request has the client's address in X-Forwarded-For, whoever dialled.
fn an_ingress_behind_lbd_knows_the_client(
    send_proxy: &str,
    ingress: impl FnOnce(&Netns) -> Ingress,
) {
    let routed = Routed::new(1, Offloads::Defaults);
    let whoami = routed.serve(1, WHOAMI);
    let _ingress = ingress(&routed.reals[0]);
    let (client, client6) = (IpAddr::from(CLIENT), IpAddr::from(CLIENT6));
    let to = SocketAddr::new(real(1).into(), INGRESS);
    let to6 = SocketAddr::new(real6(1).into(), INGRESS);
    let vip6 = |port| SocketAddr::new(VIP6.into(), port);
    let cases = [
        ("web", vip(80), to, "client", client, client),
        ("web6", vip6(80), to6, "client", client6, client6),
        ("own", vip(81), to, "self", client, BACK.into()),
        ("own6", vip6(81), to6, "self", client6, BACK6.into()),
    ];
    let mut conf = Conf::default();
    for (name, vip, to, source, ..) in cases {
        conf = conf.service(
            proxied(name, vip, to)
                .proxy("source", &format!("\"{source}\""))
                .proxy("send_proxy", &format!("\"{send_proxy}\"")),
        );
    }
    let lbd = Daemon::start(&routed.lb, &conf);
    for (name, vip, _, _, client, dialled_from) in cases {
        let before = whoami.connections();
        for _ in 0..10 {
            let answer = request(&routed.cl, client, vip, b"").expect(name);
            assert_eq!(answer.forwarded_for(), Some(client), "{name}");
            let destination = format!("{} {}", vip.ip(), vip.port());
            assert_eq!(answer.header("X-Destination"), Some(&destination[..]));
            if let Some(peer) = answer.header("X-Peer") {
                assert_eq!(peer, dialled_from.to_string(), "{name}");
            }
        }
        assert_eq!(whoami.connections() - before, 10);
        lbd.wait_proxied_ended(name);
        assert_eq!(lbd.proxied(name, "ok"), 10.0, "{name}");
    }
}

#[test]
fn nginx_behind_lbd_knows_the_client() {
    isolated(|| {
        an_ingress_behind_lbd_knows_the_client("v2", |netns| {
            Ingress::nginx(netns, INGRESS, WHOAMI, &["0.0.0.0/0", "::/0"])
        });
    });
}

#[test]
fn haproxy_behind_lbd_knows_the_client() {
    isolated(|| {
        an_ingress_behind_lbd_knows_the_client("v1", |netns| {
            Ingress::haproxy(netns, INGRESS, WHOAMI)
        });
    });
}

#[test]
fn the_header_comes_first_and_at_once_also_where_the_server_speaks_first() {
    isolated(|| {
        let routed = Routed::new(1, Offloads::Defaults);
        let to = SocketAddr::new(real(1).into(), INGRESS);
        let listener = routed.reals[0].run(|| TcpListener::bind(to).expect("a listener"));
        let conf = Conf::one(proxied("v1", vip(80), to).proxy("send_proxy", "\"v1\""))
            .service(proxied("v2", vip(81), to).proxy("send_proxy", "\"v2\""));
        let _lbd = Daemon::start(&routed.lb, &conf);
        for (target, header) in [(vip(80), line as fn(_, _) -> _), (vip(81), binary)] {
            let client = dial(&routed.cl.handle(), target).expect("a connection");
            let (mut server, peer) = listener.accept().expect("dialled");
            assert_eq!(peer.ip(), CLIENT);
            server
                .set_read_timeout(Some(REQUEST_TIMEOUT))
                .expect("a timeout");
            let expected = header(client.local_addr().expect("an address"), target);
            let mut buffer = [0; 256];
            let count = server.read(&mut buffer).expect("the header");
            assert_eq!(
                buffer[..count],
                expected,
                "{}",
                buffer[..count].escape_ascii()
            );
            server.write_all(b"220 ready\r\n").expect("a greeting");
            let mut client = BufReader::new(client);
            let mut greeting = String::new();
            client.read_line(&mut greeting).expect("a greeting");
            assert_eq!(greeting, "220 ready\r\n");
            client.get_mut().write_all(b"HELO").expect("sent");
            let count = server.read(&mut buffer).expect("the client's own");
            assert_eq!(&buffer[..count], b"HELO");
        }
    });
}
