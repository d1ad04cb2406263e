use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn port(addresses: &[(&str, u8)]) -> Port {
    Port {
        name: "eth0".to_owned(),
        mac: MacAddr::new(2, 0, 0, 0, 0, 2),
        mtu: 1500,
        addresses: addresses
            .iter()
            .map(|(own, prefix)| (address(own), *prefix))
            .collect(),
    }
}

#[test]
fn a_probe_comes_from_the_nearest_address_and_never_from_a_vip() {
    let port = port(&[
        ("10.1.0.2", 16),
        ("192.0.2.10", 24),
        ("192.0.2.2", 24),
        ("fe80::2", 64),
        ("2001:db8::2", 64),
    ]);
    let hops = Hops {
        vips: [address("192.0.2.10"), address("2001:db8::10")].into(),
        ..Hops::default()
    };
    let source = |real, vip| hops.source(&port, address(real), address(vip));
    let cases = [
        ("192.0.2.21", "192.0.2.10", "192.0.2.2"),
        ("10.1.0.21", "192.0.2.10", "10.1.0.2"),
        ("2001:db8::21", "192.0.2.10", "192.0.2.2"),
        ("192.0.2.21", "2001:db8::10", "2001:db8::2"),
        ("192.0.2.21", "2001:db8:9::10", "2001:db8::2"),
        ("10.9.0.21", "198.51.100.10", "10.1.0.2"),
    ];
    for (real, vip, expected) in cases {
        assert_eq!(source(real, vip), Some(address(expected)), "{real} {vip}");
    }
    let only_vip = Hops {
        vips: port.addresses.iter().map(|(own, _)| *own).collect(),
        ..Hops::default()
    };
    let none = only_vip.source(&port, address("192.0.2.21"), address("192.0.2.10"));
    assert_eq!(none, None);
}

/// What is missing for the way is this host's trouble, and named.
#[tokio::test]
async fn a_way_that_is_not_there_is_own_trouble() {
    let real = address("192.0.2.21");
    let vip = SocketAddr::new(address("192.0.2.10"), 80);
    let mac = MacAddr::new(2, 0, 0, 0, 1, 1);
    let told = async |hops: Hops, source: Option<IpAddr>| {
        let (_keep, hops) = watch::channel(Arc::new(hops));
        let wires = Wires::new(hops);
        let road = wires.road(real, vip, source, Duration::ZERO).await;
        let error = road.expect_err("no way");
        assert!(error.is_own_trouble(), "{error}");
        error.to_string()
    };
    let mut hops = Hops::default();
    let words = told(hops.clone(), None).await;
    assert_eq!(words, "the MAC address of 192.0.2.21 is not known yet");
    hops.reals.insert(real, (9, mac));
    let words = told(hops.clone(), None).await;
    assert_eq!(words, "the interface towards 192.0.2.21 is gone");
    hops.ports.insert(9, port(&[("2001:db8::2", 64)]));
    let words = told(hops.clone(), None).await;
    assert!(words.contains("eth0 has no address"), "{words}");
    let words = told(hops, Some(address("192.0.2.2"))).await;
    assert!(words.contains("no address 192.0.2.2"), "{words}");
}

/// The first check of a new real comes with the question for its MAC.
#[tokio::test(start_paused = true)]
async fn the_mac_of_a_new_real_is_waited_for() {
    let real = address("192.0.2.21");
    let vip = SocketAddr::new(address("192.0.2.10"), 80);
    let (sender, hops) = watch::channel(Arc::<Hops>::default());
    let wires = Wires::new(hops);
    let road = wires.road(real, vip, None, Duration::from_secs(1));
    let learned = async {
        tokio::task::yield_now().await;
        let reals = [(real, (9, MacAddr::new(2, 0, 0, 0, 1, 1)))].into();
        let hops = Hops {
            reals,
            ..Hops::default()
        };
        sender.send_replace(Arc::new(hops));
    };
    let (road, ()) = tokio::join!(road, learned);
    let words = road.expect_err("there is no interface").to_string();
    assert_eq!(words, "the interface towards 192.0.2.21 is gone");
}
