//! Ingress controllers behind lbd and balancers before it: whoever looks sees the client's address.

use integration::front::{binary, line, request};
use integration::ingress::Ingress;
use integration::isolated;
use integration::routed::{BACK, Routed, real, real6};
use integration::topology::Offloads;
use std::net::{IpAddr, SocketAddr};

/// Port of the ingress, and of the server behind it.
const INGRESS: u16 = 8080;
const WHOAMI: u16 = 8081;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
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
                (v6, (integration::routed::BACK6.into(), target6)),
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
