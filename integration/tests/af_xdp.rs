//! The engine `af_xdp` on real traffic. Needs root: BPF is not for user namespaces. What every engine must
//! do, the other tests ask of it, too, when they are run with `LBD_ENGINE=af_xdp`.

use integration::client::{datagram, upload};
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::engine::{BPF_DIR, assert_frames_add_up, bpffs, running};
use integration::frames::{Headers, only_macs_differ};
use integration::load::Load;
use integration::long_flows::{LongFlows, Transport};
use integration::stage::{PORT, Stage, all_four, vip, vip6, web};
use integration::tally::Tally;
use integration::topology::{Offloads, VIP, VIP6, Wire, at_the_far_end, real6};
use integration::wire::RawSocket;
use integration::{figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::time::Duration;

const ECHO_EVERY: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_secs(5);

fn is_root() -> bool {
    let root = std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
    if !root {
        eprintln!("skipped: the engine af_xdp needs root");
    }
    root
}

fn with_af_xdp(conf: Conf, mode: &str) -> Conf {
    conf.network("engine", "\"af_xdp\"")
        .network("xdp_mode", &format!("\"{mode}\""))
}

/// What goes up lbd's stack for the VIPs: the program took the rest.
fn going_up(stage: &Stage) -> Tally {
    let (v4, v6) = (
        format!("ip daddr {VIP} meta l4proto {{ tcp, udp }}"),
        format!("ip6 daddr {VIP6} meta l4proto {{ tcp, udp }}"),
    );
    Tally::at(&stage.switch.lb, "eth0", &[("v4", &v4), ("v6", &v6)])
}

fn attached(stage: &Stage) -> bool {
    let shown = stage.switch.lb.ip("-d link show dev eth0");
    shown.contains("xdp")
}

#[test]
fn t1_plain_packets_come_by_af_xdp_in_both_families_and_modes() {
    isolated_within(Duration::from_secs(90), || {
        if !is_root() {
            return;
        }
        for mode in ["generic", "native"] {
            let conf = with_af_xdp(all_four(3), mode);
            let stage = Stage::new(3, Offloads::Off, &conf);
            let (name, reason) = running(&stage.lbd);
            assert_eq!(name, "af_xdp", "{reason}");
            let got = format!("1 queue ({mode}, copy)");
            assert!(reason.contains(&got), "{reason}");
            assert!(
                mode == "generic" || reason.contains("zero-copy"),
                "{reason}"
            );
            let up = going_up(&stage);
            let client = || stage.switch.cl.handle();
            for (transport, to, service) in [
                (Transport::Tcp, vip(), "web"),
                (Transport::Udp, vip(), "dns"),
                (Transport::Tcp, vip6(), "web6"),
                (Transport::Udp, vip6(), "dns6"),
            ] {
                let flows =
                    LongFlows::start(client(), transport, to, 30, ECHO_EVERY).assert_opened();
                for _ in 0..3 {
                    flows.wait_for_echoes();
                }
                assert_eq!(flows.broken(), 0, "{service}");
                assert_eq!(flows.by_server().len(), 3, "{service}: every real has some");
                flows.finish();
                assert_eq!(stage.lbd.service(service)["new_flows"], 30);
            }
            for target in [vip(), vip6()] {
                let sent = upload(&stage.switch.cl, target, 16 << 20, true).expect("an upload");
                assert_eq!((sent.bytes, sent.intact), (16 << 20, true), "{mode}");
            }
            let (received, sent) = assert_frames_add_up(&stage.lbd);
            // One finished checksum in 65,536 looks unfinished.
            assert!(up.total() <= 10, "{} of {received} went up", up.total());
            assert!(sent > 20_000.0, "{sent}");
        }
    });
}

#[test]
fn t7_what_offloads_have_not_finished_goes_by_raw_sockets_whole() {
    isolated_within(Duration::from_secs(90), || {
        if !is_root() {
            return;
        }
        for mode in ["generic", "native"] {
            let conf = with_af_xdp(all_four(2), mode);
            let stage = Stage::new(2, Offloads::Defaults, &conf);
            for target in [vip(), vip6()] {
                let sent = upload(&stage.switch.cl, target, 64 << 20, true).expect("an upload");
                assert_eq!((sent.bytes, sent.intact), (64 << 20, true), "{mode}");
                for size in [1, 512, 1400] {
                    let payload = vec![size as u8; size];
                    datagram(&stage.switch.cl, target, &payload, SOON).expect("an echo");
                }
            }
            for netns in &stage.switch.reals {
                let errors = netns.sh("nstat -az TcpInCsumErrors");
                let none = |line: &str| line.starts_with("TcpInCsumErrors") && line.contains(" 0 ");
                assert!(errors.lines().any(none), "{mode}: {errors}");
            }
            assert_frames_add_up(&stage.lbd);
            let warnings = stage.lbd.status()["warnings"].to_string();
            assert!(warnings.contains("unfinished"), "{mode}: {warnings}");
        }
    });
}

/// The services of [`all_four`] over reals that need not answer.
fn pinned() -> Conf {
    let six = ServiceConf::udp("dns6", PORT)
        .with("vip", &format!("\"{VIP6}\""))
        .real(RealConf::new("rs1", real6(1)).pinned(1));
    Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=1)).service(six)
}

#[test]
fn t11_a_tag_stays_on_the_frame() {
    isolated(|| {
        if !is_root() {
            return;
        }
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &with_af_xdp(pinned(), "generic"));
        let socket = RawSocket::open(&wire.generator);
        // The kernel takes the tag out before it shows the frame to a raw socket: so it is counted, and the
        // bytes behind it are compared.
        let tagged = Tally::at(&wire.generator, "eth0", &[("v10", "vlan id 10")]);
        let v4 = Headers::v4(1000, PORT).tcp("S", 1, &[7; 1400]);
        let v6 = Headers::v6(1000, PORT).udp(&[7; 1400]);
        for (count, frame) in [v4, v6].into_iter().enumerate() {
            let mut tag = frame.clone();
            tag.splice(12..12, [0x81, 0x00, 0x60, 0x0a]);
            socket.send(&tag).expect("sent");
            let back = socket.receive_where(SOON, |seen| seen.get(12..) == frame.get(12..));
            let back = back.unwrap_or_else(|| panic!("not sent on\n{}", lbd.log()));
            assert!(only_macs_differ(&frame, &back));
            assert_eq!(tagged.total(), count as u64 + 1);
        }
        let mut twice = Headers::v4(1000, PORT).tcp("S", 1, b"");
        twice.splice(12..12, [0x88, 0xa8, 0, 10, 0x81, 0x00, 0, 10]);
        socket.send(&twice).expect("sent");
        assert_frames_add_up(&lbd);
        assert_eq!(lbd.metrics().value("lbd_frames_sent_total", &[]), 2.0);
    });
}

#[test]
fn t9_what_cannot_work_is_refused_with_the_reason() {
    isolated_within(Duration::from_secs(90), || {
        if !is_root() || !bpffs() {
            return;
        }
        let refused = |daemon: &Daemon, why: &str| {
            let output = daemon.command().output().expect("lbd");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(69), "{said}");
            assert!(
                said.contains("engine = \"af_xdp\" cannot work here"),
                "{said}"
            );
            assert!(said.contains(why), "{said}");
        };
        let conf = with_af_xdp(Conf::one(web(1)), "generic");
        let mut stage = Stage::new(1, Offloads::Off, &conf);
        refused(
            &Daemon::prepare(&stage.switch.lb, &conf),
            "queue 0 has another AF_XDP socket already",
        );
        assert_eq!(stage.curl(20).len(), 20, "the first one goes on");
        assert!(stage.lbd.stop(Signal::SIGTERM).success());
        assert!(!attached(&stage), "a stop detaches");
        // A program of others.
        let xdp = conf.clone().network("engine", "\"xdp\"");
        stage
            .lbd
            .write(&xdp.lbd("bpf_dir", &format!("\"{BPF_DIR}\"")));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        refused(
            &Daemon::prepare(&stage.switch.lb, &conf),
            "another XDP program is attached there",
        );
        assert!(attached(&stage), "and is not replaced");
        let mut poor = Daemon::prepare(&stage.switch.lb, &conf);
        poor.limit_locked_memory(1 << 20);
        refused(&poor, "RLIMIT_MEMLOCK is too low");
    });
}

#[test]
fn less_memory_than_wished_for_is_said() {
    isolated(|| {
        if !is_root() {
            return;
        }
        let conf = with_af_xdp(Conf::one(web(1)), "generic");
        let mut stage = Stage::before_lbd(1, Offloads::Off, &conf);
        stage.lbd.limit_locked_memory(6 << 20);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_announced();
        let (name, reason) = running(&stage.lbd);
        assert_eq!(name, "af_xdp");
        assert!(reason.contains("only 2048 of 8192 frames"), "{reason}");
        assert_eq!(stage.curl(50).len(), 50);
    });
}

#[test]
fn flows_outlive_a_killed_lbd_and_come_along_from_engine_to_engine() {
    isolated_within(Duration::from_secs(90), || {
        if !is_root() || !bpffs() {
            return;
        }
        let conf =
            with_af_xdp(Conf::one(web(4)), "generic").lbd("bpf_dir", &format!("\"{BPF_DIR}\""));
        let raw = conf.clone().network("engine", "\"af_packet\"");
        let xdp = conf.clone().network("engine", "\"xdp\"");
        let mut stage = Stage::new(4, Offloads::Off, &conf);
        let flows = stage.flows(100, ECHO_EVERY);
        flows.wait_for_echoes();
        let mut was_xdp = false;
        for conf in [&conf, &raw, &xdp, &conf] {
            stage.lbd.kill();
            assert_eq!(attached(&stage), was_xdp, "af_xdp's ends with the process");
            stage.lbd.write(conf);
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            flows.wait_for_echoes();
            let (name, reason) = running(&stage.lbd);
            assert_eq!(attached(&stage), name != "af_packet", "{name}: {reason}");
            was_xdp = name == "xdp";
        }
        assert!(stage.lbd.stop(Signal::SIGUSR2).success());
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        flows.wait_for_echoes();
        assert_eq!(stage.lbd.status()["services"][0]["flows"], 100);
        assert_eq!(flows.broken(), 0);
        let stall = flows.finish().iter().map(|flow| flow.longest_stall).max();
        figure(
            "af_xdp: four kill -9 and a restart with 100 flows",
            format!("moved 0, longest stall {stall:.0?}"),
        );
    });
}

#[test]
fn t23_reloads_under_load_lose_nothing_and_a_new_port_is_taken() {
    isolated_within(Duration::from_secs(60), || {
        if !is_root() {
            return;
        }
        let wire = Wire::new();
        let conf = with_af_xdp(pinned(), "generic");
        let lbd = Daemon::start(&wire.lb, &conf);
        let arrivals = Tally::of_reals(&wire.generator, 2);
        let frames = (0..100)
            .map(|n| Headers::v4(5000 + n, PORT).udp(b"load"))
            .collect();
        // Not balanced yet: the host's, which has the frames.
        let host = Tally::at(
            &wire.lb,
            "eth0",
            &[("host", &format!("ip daddr {VIP} udp dport {PORT}"))],
        );
        RawSocket::open(&wire.generator)
            .send(&Headers::v4(1, PORT).udp(b"nobody's"))
            .expect("sent");
        wait_until("it went up", SOON, || host.total() == 1);
        let dns = |reals| {
            conf.clone()
                .service(ServiceConf::udp("dns", PORT).pinned_reals(1..=reals))
        };
        lbd.reload(&dns(1));
        // A queue holds more than a second of them.
        let load = Load::start(&wire.generator, frames, 5_000);
        for round in 0..20 {
            load.wait_sent(500);
            lbd.reload(&dns(1 + round % 2));
        }
        let sent = load.stop();
        assert_eq!(arrivals.settled_at(sent), sent, "{}", lbd.metrics().text);
        assert_eq!(host.total(), 1, "all by AF_XDP");
        assert_frames_add_up(&lbd);
    });
}

#[test]
fn t58_an_interface_made_anew_is_served_by_raw_sockets_and_status_says_so() {
    isolated(|| {
        if !is_root() {
            return;
        }
        let conf = with_af_xdp(Conf::one(web(2)), "generic");
        let stage = Stage::new(2, Offloads::Off, &conf);
        assert_eq!(stage.curl(10).len(), 10);
        stage.switch.lb.ip("link set eth0 down");
        wait_until("lbd sees it", SOON, || {
            running(&stage.lbd).1.contains("is down")
        });
        stage.switch.lb.ip("link set eth0 up");
        wait_until("it is up again", SOON, || {
            let (name, reason) = running(&stage.lbd);
            name == "af_xdp" && reason.contains("queue")
        });
        assert_eq!(stage.curl(10).len(), 10);
        stage.switch.sw.ip("link del lb");
        stage.switch.plug_lb();
        wait_until("raw sockets have it", SOON, || {
            let (name, reason) = running(&stage.lbd);
            name == "af_packet" && reason.contains("until lbd is restarted")
        });
        stage.lbd.wait_announced();
        let target: SocketAddr = vip();
        wait_until("traffic is back", SOON, || {
            integration::client::request_within(
                &stage.switch.cl,
                target,
                Duration::from_millis(200),
            )
            .is_ok()
        });
        let warnings = stage.lbd.status()["warnings"].to_string();
        assert!(warnings.contains("made anew"), "{warnings}");
    });
}

#[test]
fn a_frame_that_leaves_by_another_interface_goes_there_and_is_counted() {
    isolated(|| {
        if !is_root() {
            return;
        }
        let wire = Wire::new();
        let far = wire.second_cable();
        let conf = Conf::one(ServiceConf::udp("dns", PORT).real(at_the_far_end()));
        let conf = conf.network("interfaces", "[\"eth0\", \"eth1\"]");
        let lbd = Daemon::start(&wire.lb, &with_af_xdp(conf, "generic"));
        let engines = lbd.status()["engines"].clone();
        assert_eq!(
            [&engines[0]["name"], &engines[1]["name"]],
            ["af_xdp", "af_xdp"]
        );
        let (near, other) = (RawSocket::open(&wire.generator), RawSocket::open(&far));
        for size in [1, 700, 1472] {
            let frame = Headers::v4(1000, PORT).udp(&vec![7; size]);
            near.send(&frame).expect("sent");
            let out = other.receive_where(SOON, |seen| seen.get(12..) == frame.get(12..));
            let out = out.unwrap_or_else(|| panic!("not sent on\n{}", lbd.log()));
            assert_eq!(&out[6..12], [2, 0, 0, 0, 0, 3], "from that interface");
        }
        // Larger than that interface's MTU: lost there, and told.
        wire.lb.ip("link set eth1 mtu 1000");
        let frame = Headers::v4(1000, PORT).udp(&[7; 1472]);
        near.send(&frame).expect("sent");
        wait_until("it is counted", SOON, || {
            let too_big = [("reason", "too_big")];
            lbd.metrics().value("lbd_drops_total", &too_big) == 1.0
        });
        assert_frames_add_up(&lbd);
        let sent = [("interface", "eth1")];
        assert_eq!(lbd.metrics().value("lbd_frames_sent_total", &sent), 3.0);
    });
}

#[test]
fn busy_polling_serves_as_well() {
    isolated(|| {
        if !is_root() {
            return;
        }
        let conf = with_af_xdp(Conf::one(web(2)), "native").network("busy_poll", "\"50us\"");
        let stage = Stage::new(2, Offloads::Off, &conf);
        assert_eq!(stage.curl(100).len(), 100);
        assert_frames_add_up(&stage.lbd);
    });
}
