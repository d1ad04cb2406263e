//! PROXY protocol headers, from balancers in front and to reals.

use super::*;

#[test]
fn the_real_is_told_the_client_before_everything_else() {
    isolated(|| {
        let listener = real(RS1);
        let toml = |how| {
            service(
                &format!("[service.proxy]\nsource = \"self\"\nsend_proxy = \"{how}\""),
                &[RS1],
            )
        };
        let mut bed = Bed::new(&toml("v1"));
        let (mut client, mut end) = pair(&listener);
        let port = client.local_addr().expect("bound").port();
        let line = format!("PROXY TCP4 198.51.100.7 192.0.2.10 {port} 80\r\n");
        // Alone if the client is silent: the real may be the one that speaks first.
        assert_eq!(said(&mut end, line.len()), line.as_bytes());
        client.write_all(b"hello").expect("sent");
        assert_eq!(said(&mut end, 5), b"hello");

        bed.reload(&toml("v2"));
        let (mut client, mut end) = pair(&listener);
        client.write_all(b"hello").expect("sent");
        let from = client.local_addr().expect("bound");
        let vip = VIP.parse().expect("an address");
        let header = lbcore::proxyproto::write_v2(from, vip, lbcore::net::Protocol::Tcp);
        assert_eq!(said(&mut end, header.len()), header.as_slice());
        assert_eq!(said(&mut end, 5), b"hello");
    });
}

/// What another balancer told of the client and what it dialled goes on to the real.
#[test]
fn what_a_trusted_balancer_told_is_passed_on() {
    isolated(|| {
        let listener = real(RS1);
        let extra = "[service.proxy]\nsource = \"self\"\nsend_proxy = \"v1\"\n\
                     accept_proxy = true\ntrusted_sources = [\"198.51.100.0/28\"]";
        let _bed = Bed::new(&service(extra, &[RS1]));
        let line = b"PROXY TCP4 203.0.113.77 192.0.2.99 4711 443\r\n";
        let mut client = call();
        client.write_all(line).expect("sent");
        client.write_all(b"hello").expect("sent");
        let mut end = accepted(&listener);
        assert_eq!(said(&mut end, line.len()), line);
        assert_eq!(said(&mut end, 5), b"hello");

        // A check of the balancer's own: its own connection is what counts.
        let mut client = call();
        client.write_all(b"PROXY UNKNOWN\r\n").expect("sent");
        let port = client.local_addr().expect("bound").port();
        let line = format!("PROXY TCP4 {CLIENT} 192.0.2.10 {port} 80\r\n");
        let mut end = accepted(&listener);
        assert_eq!(said(&mut end, line.len()), line.as_bytes());
    });
}

/// A real that cannot be dialled from the client's address must read it in a header, or not at all.
#[test]
fn a_client_of_the_other_family_is_told_by_header_or_let_go() {
    isolated(|| {
        let listener = real(RS1);
        let service = |send| {
            let extra = format!(
                "[service.proxy]\nsend_proxy = \"{send}\"\naccept_proxy = true\n\
                 trusted_sources = [\"198.51.100.0/28\"]"
            );
            service(&extra, &[RS1])
        };
        let line = b"PROXY TCP6 2001:db8:9::7 2001:db8:9::10 4711 443\r\n";
        let mut bed = Bed::new(&service("v1"));
        let mut client = call();
        client.write_all(line).expect("sent");
        let mut end = accepted(&listener);
        assert_eq!(said(&mut end, line.len()), line);
        drop((client, end));
        bed.wait_ended(Outcome::Ok, 1);

        bed.reload(&service("off"));
        let mut client = call();
        client.write_all(line).expect("sent");
        assert!(is_reset(&mut client));
        bed.wait_ended(Outcome::OtherFamily, 1);
        bed.wait_empty();
    });
}

#[test]
fn a_trusted_balancer_says_who_the_client_is() {
    isolated(|| {
        let listener = real(RS1);
        let bed = Bed::new(&service(
            "[service.proxy]\naccept_proxy = true\ntrusted_sources = [\"198.51.100.0/28\"]",
            &[RS1],
        ));
        // Byte by byte, with the first data behind it.
        let mut client = call();
        client.set_nodelay(true).expect("set");
        for byte in b"PROXY TCP4 198.51.100.77 192.0.2.10 4711 80\r\nhello" {
            client.write_all(&[*byte]).expect("sent");
            thread::yield_now();
        }
        let mut end = accepted(&listener);
        let seen = end.peer_addr().expect("connected").ip().to_string();
        assert_eq!(seen, "198.51.100.77");
        assert_eq!(said(&mut end, 5), b"hello");
        assert_eq!(bed.list()[0].client.to_string(), "198.51.100.77:4711");
        end.write_all(b"answer").expect("sent");
        assert_eq!(said(&mut client, 6), b"answer");
        drop((client, end));
        bed.wait_ended(Outcome::Ok, 1);

        let mut stranger = call_from("198.51.100.99", VIP).expect("connected");
        assert!(is_reset(&mut stranger));
        bed.wait_ended(Outcome::Untrusted, 1);

        let mut client = call();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
        assert!(is_reset(&mut client));
        bed.wait_ended(Outcome::BadHeader, 1);

        let mut silent = call();
        assert!(is_reset(&mut silent), "after a while");
        bed.wait_ended(Outcome::BadHeader, 2);
        bed.wait_empty();
    });
}
