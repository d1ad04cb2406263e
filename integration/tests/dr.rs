//! Direct routing end to end: answers come straight from the real server, with the client's own
//! address seen.

use integration::client::{datagram, spread, upload};
use integration::conf::Conf;
use integration::netns::Netns;
use integration::stage::{PORT, Stage, all_four, vip, vip6, web};
use integration::tally::Tally;
use integration::topology::{CLIENT, CLIENT6, Offloads, Switch, VIP, VIP6, real};
use integration::wait::wait_for;
use integration::{figure, isolated, isolated_within};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Answers that cross lbd: packets with the VIP's address that come out of its port.
fn answers_through_lbd(switch: &Switch) -> Tally {
    let (v4, v6) = (
        format!("ip saddr {VIP}"),
        format!("ip6 saddr {VIP6} meta l4proto != icmpv6"),
    );
    Tally::at(&switch.sw, "lb", &[("v4", &v4), ("v6", &v6)])
}

/// Segments a host refused because their checksum was wrong.
fn checksum_errors(netns: &Netns) -> u64 {
    let table = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
    let table = table.expect("/proc/thread-self/net/snmp");
    let mut tcp = table.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == "InCsumErrors")
        .and_then(|(_, value)| value.parse().ok())
        .expect("InCsumErrors")
}

#[test]
fn t1_transfers_and_datagrams_arrive_and_answers_come_straight_from_the_real() {
    isolated_within(Duration::from_secs(120), || {
        for offloads in [Offloads::Defaults, Offloads::Off] {
            let stage = Stage::new(2, offloads, &all_four(2));
            let answers = answers_through_lbd(&stage.switch);
            for (target, client) in [(vip(), IpAddr::from(CLIENT)), (vip6(), CLIENT6.into())] {
                let sent = upload(&stage.switch.cl, target, 64 << 20, true);
                let sent = sent.unwrap_or_else(|error| panic!("{offloads:?} {target}: {error}"));
                assert_eq!(
                    (sent.bytes, sent.intact),
                    (64 << 20, true),
                    "{offloads:?} {target}"
                );
                for size in [1, 64, 512, 1400] {
                    let payload = vec![size as u8; size];
                    let echo = datagram(&stage.switch.cl, target, &payload, Duration::from_secs(2));
                    assert_eq!(echo.expect("an echo").peer.ip(), client);
                }
            }
            assert_eq!(answers.total(), 0, "answers that crossed lbd");
            for netns in &stage.switch.reals {
                assert_eq!(checksum_errors(netns), 0, "T8: {offloads:?}");
            }
        }
    });
}

#[test]
fn a_thousand_curls_are_answered_and_each_server_sees_the_client() {
    isolated_within(Duration::from_secs(90), || {
        let stage = Stage::new(3, Offloads::Defaults, &Conf::one(web(3)));
        let answers = answers_through_lbd(&stage.switch);
        let seen = stage.curl(1000);
        assert_eq!(seen.len(), 1000, "answers");
        assert!(
            seen.iter().all(|answer| answer.peer.ip() == CLIENT),
            "the client's own address"
        );
        let spread = spread(&seen);
        assert_eq!(spread.len(), 3, "{spread:?}");
        for (server, count) in &spread {
            // 333 ± 6 standard deviations of a fair choice.
            assert!((243..=423).contains(count), "{server} got {count} of 1000");
        }
        figure("1,000 curls over three reals", format!("{spread:?}"));
        assert_eq!(answers.total(), 0, "answers that crossed lbd");
        let status = stage.lbd.service("web");
        assert_eq!(status["new_flows"], 1000);
    });
}

#[test]
fn t6_frames_we_send_are_never_read_again() {
    isolated(|| {
        let stage = Stage::new(1, Offloads::Off, &all_four(1));
        let before = stage.lbd.settled_metrics();
        // Every frame to the VIP, as the client hands it to the switch: an engine may take it before
        // lbd's host can count.
        let (v4, v6) = (
            format!("ip daddr {VIP} meta l4proto tcp"),
            format!("ip6 daddr {VIP6} meta l4proto tcp"),
        );
        let to_lbd = Tally::at(&stage.switch.sw, "cl", &[("v4", &v4), ("v6", &v6)]);
        for target in [vip(), vip6()] {
            upload(&stage.switch.cl, target, 64 << 20, false).expect("an upload");
        }
        // The switch and lbd count the last frames one after the other.
        let what = "every frame was sent on once";
        let ((sent, received), _) = wait_for(what, Duration::from_secs(10), || {
            let after = stage.lbd.settled_metrics();
            let grew = |name: &str| after.value(name, &[]) - before.value(name, &[]);
            let sent = grew("lbd_frames_sent_total");
            let lost = ["lbd_drops_total", "lbd_ring_drops_total"].map(grew);
            let wanted = (to_lbd.total() as f64, [0.0, 0.0]);
            if (sent, lost) != wanted {
                eprintln!("sent and lost: {sent}, {lost:?}; wanted: {wanted:?}");
            }
            let received = grew("lbd_frames_received_total");
            ((sent, lost) == wanted).then_some((sent, received))
        });
        // ARP and ND come and go beside the transfer; own frames would double what is received.
        assert!(received < sent + 50.0, "{received} received, {sent} sent");
    });
}

#[test]
fn t7_super_frames_pass_whole() {
    isolated_within(Duration::from_secs(120), || {
        let stage = Stage::new(1, Offloads::Defaults, &Conf::one(web(1)));
        let matches = format!("ip daddr {VIP} meta l4proto tcp");
        let to_lbd = Tally::at(&stage.switch.sw, "cl", &[("frames", &matches)]);
        let direct = SocketAddr::new(real(1).into(), PORT);
        let direct = upload(&stage.switch.cl, direct, 1 << 30, false).expect("the direct path");
        let before = stage.lbd.settled_metrics();
        let through = upload(&stage.switch.cl, vip(), 1 << 30, false).expect("through lbd");
        assert_eq!(through.bytes, 1 << 30);
        figure(
            "T7 1 GiB through lbd",
            format!(
                "{:.1} Gbit/s, {:.2} of the direct path",
                through.gbit_per_s(),
                through.gbit_per_s() / direct.gbit_per_s()
            ),
        );
        assert_eq!(checksum_errors(&stage.switch.reals[0]), 0);
        let what = "every frame was sent on once";
        let (sent, _) = wait_for(what, Duration::from_secs(10), || {
            let after = stage.lbd.settled_metrics();
            // `too_big`, `truncated` and `send_failed` would be what lbd could not carry whole.
            assert_eq!(after.value("lbd_drops_total", &[]), 0.0, "{}", after.text);
            let name = "lbd_frames_sent_total";
            let sent = after.value(name, &[]) - before.value(name, &[]);
            let wanted = to_lbd.total() as f64;
            if sent != wanted {
                eprintln!("sent: {sent}; wanted: {wanted}");
            }
            (sent == wanted).then_some(sent)
        });
        // Frames of one MTU would be 735,000.
        assert!(sent < 73_500.0, "{sent} frames: not of many segments each");
    });
}
