//! The engine `xdp` on real traffic. Needs root: BPF is not for user namespaces.

use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::daemon::{Daemon, NOBODY};
use integration::engine::{BPF_DIR, assert_frames_add_up, bpffs, running};
use integration::frames::{Headers, only_macs_differ};
use integration::load::Load;
use integration::long_flows::{LongFlows, Transport};
use integration::netns::run;
use integration::stage::{PORT, Stage, all_four, vip, vip6, web};
use integration::tally::Tally;
use integration::topology::{Offloads, Wire, at_the_far_end};
use integration::wire::RawSocket;
use integration::{figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ECHO_EVERY: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_secs(5);

fn with_xdp(conf: Conf, mode: &str) -> Conf {
    conf.lbd("bpf_dir", &format!("\"{BPF_DIR}\""))
        .network("engine", "\"xdp\"")
        .network("xdp_mode", &format!("\"{mode}\""))
}

/// Frames that raw sockets of the balancer got, by the kernel: those the program did not take.
fn passed_up(stage: &Stage) -> u64 {
    stage.switch.lb.packet_counters("eth0").rx_packets
}

#[test]
fn t1_known_flows_are_forwarded_before_the_stack_in_both_families() {
    isolated(|| {
        if !bpffs() {
            return;
        }
        let stage = Stage::new(3, Offloads::Off, &with_xdp(all_four(3), "generic"));
        let (name, reason) = running(&stage.lbd);
        assert_eq!(name, "xdp", "{reason}");
        assert!(reason.contains("generic"), "{reason}");
        let client = || stage.switch.cl.handle();
        for (transport, to, service) in [
            (Transport::Tcp, vip(), "web"),
            (Transport::Udp, vip(), "dns"),
            (Transport::Tcp, vip6(), "web6"),
            (Transport::Udp, vip6(), "dns6"),
        ] {
            let flows = LongFlows::start(client(), transport, to, 30, ECHO_EVERY).assert_opened();
            for _ in 0..5 {
                flows.wait_for_echoes();
            }
            assert_eq!(flows.broken(), 0, "{service}");
            assert_eq!(flows.by_server().len(), 3, "{service}: every real has some");
            flows.finish();
            let shown = stage.lbd.service(service);
            assert!(shown["packets"].as_u64() > Some(30 * 5), "{shown}");
            assert_eq!(shown["flows"], 30, "{shown}");
            assert_eq!(shown["new_flows"], 30);
        }
        assert_frames_add_up(&stage.lbd);
        assert_eq!(stage.curl(50).len(), 50);
        let trace = stage.lbd.ctl(&["trace", "--for", "100ms"]).exits(0);
        let unseen = "not shown: what the XDP program on eth0 forwards by itself";
        assert!(trace.stderr().contains(unseen), "{}", trace.stderr());
    });
}

#[test]
fn a_killed_lbd_is_not_missed_by_known_flows_and_the_next_one_takes_them_over() {
    isolated_within(Duration::from_secs(90), || {
        if !bpffs() {
            return;
        }
        let conf = with_xdp(Conf::one(web(4)), "generic");
        let mut stage = Stage::new(4, Offloads::Off, &conf);
        let flows = stage.flows(200, ECHO_EVERY);
        for _ in 0..3 {
            flows.wait_for_echoes();
        }
        for _ in 0..2 {
            stage.lbd.kill();
            let dead = Instant::now();
            // Echo after echo without any lbd, and new connections, which the ring decides.
            for _ in 0..10 {
                flows.wait_for_echoes();
            }
            assert_eq!(stage.curl(50).len(), 50);
            figure(
                "echoes of 200 flows while no lbd runs",
                format!("10 rounds in {:.0?}", dead.elapsed()),
            );
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            flows.wait_for_echoes();
            assert_eq!(running(&stage.lbd).0, "xdp");
        }
        assert!(stage.lbd.stop(Signal::SIGUSR2).success());
        for _ in 0..3 {
            flows.wait_for_echoes();
        }
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        flows.wait_for_echoes();
        // Those that last, and twice 50 that began and ended while no lbd ran.
        assert_eq!(stage.lbd.status()["services"][0]["flows"], 300);
        assert_eq!(flows.broken(), 0);
        let stall = flows.finish().iter().map(|flow| flow.longest_stall).max();
        figure(
            "xdp: two kill -9 and a restart with 200 flows",
            format!("moved 0, longest stall {stall:.0?}"),
        );
    });
}

#[test]
fn a_stop_detaches_and_another_engine_finds_the_flows() {
    isolated_within(Duration::from_secs(90), || {
        if !bpffs() {
            return;
        }
        let xdp = with_xdp(Conf::one(web(3)), "generic");
        let raw = xdp.clone().network("engine", "\"af_packet\"");
        let mut stage = Stage::new(3, Offloads::Off, &xdp);
        let flows = stage.flows(60, ECHO_EVERY);
        flows.wait_for_echoes();
        let attached = |stage: &Stage| {
            let shown = stage.switch.lb.ip("-d link show dev eth0");
            shown.contains("xdp")
        };
        assert!(attached(&stage));
        for conf in [&raw, &xdp, &raw] {
            stage.lbd.kill();
            stage.lbd.write(conf);
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            flows.wait_for_echoes();
            let is_xdp = running(&stage.lbd).0 == "xdp";
            assert_eq!(attached(&stage), is_xdp);
        }
        assert_eq!(flows.broken(), 0, "flows came along from engine to engine");
        flows.finish();
        stage.lbd.write(&xdp);
        assert!(stage.lbd.stop(Signal::SIGTERM).success());
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        assert!(attached(&stage));
        assert!(stage.lbd.stop(Signal::SIGTERM).success());
        assert!(!attached(&stage));
        let cleanup = |args: &[&str]| {
            let output = run(stage.lbd.command().arg("cleanup").args(args));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert!(cleanup(&["--dry-run"]).contains(&format!("{BPF_DIR}/flows")));
        cleanup(&[]);
        assert!(!Path::new(BPF_DIR).join("flows").exists());
    });
}

#[test]
fn t18_a_drain_and_t17_a_death_are_followed() {
    isolated_within(Duration::from_secs(90), || {
        if !bpffs() {
            return;
        }
        let service = web(3)
            .with("on_dead", "\"rehash\"")
            .with("dead_grace", "\"0s\"")
            .check(FAST_TCP_CHECK);
        let mut stage = Stage::new(3, Offloads::Off, &with_xdp(Conf::one(service), "generic"));
        // lbd is ready before its checks have decided.
        for real in ["rs1", "rs2", "rs3"] {
            stage.lbd.wait_real("web", real, "up", SOON);
        }
        let old = stage.flows(60, ECHO_EVERY);
        old.wait_for_echoes();
        stage.lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        let new = stage.flows(60, ECHO_EVERY);
        new.wait_for_echoes();
        assert_eq!(new.by_server().get("rs1"), None, "drained");
        assert!(old.by_server()["rs1"] > 0, "old flows stay");
        assert_eq!(old.broken() + new.broken(), 0);
        new.finish();
        let of_rs2 = old.by_server()["rs2"];
        stage.servers[1].stop();
        wait_until("clients of the dead server know", SOON, || {
            old.broken() >= of_rs2
        });
        assert_eq!(old.broken(), of_rs2, "nobody else's");
        old.finish();
    });
}

#[test]
fn t9_native_on_a_veth_with_offloads_declines_what_nobody_has_finished() {
    isolated(|| {
        if !bpffs() {
            return;
        }
        let stage = Stage::before_lbd(
            2,
            Offloads::Defaults,
            &with_xdp(Conf::one(web(2)), "native"),
        );
        // XDP_TX on a veth needs a peer that polls.
        stage.switch.sw.sh("ethtool -K lb gro on");
        let mut stage = stage;
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_announced();
        assert_eq!(running(&stage.lbd).0, "xdp");
        let before = passed_up(&stage);
        let flows = stage.flows(40, ECHO_EVERY);
        for _ in 0..5 {
            flows.wait_for_echoes();
        }
        assert_eq!(flows.broken(), 0);
        flows.finish();
        assert!(passed_up(&stage) > before);
        assert_frames_add_up(&stage.lbd);
        let errors = stage.switch.reals[0].sh("nstat -az TcpInCsumErrors");
        assert!(
            errors
                .lines()
                .any(|line| line.starts_with("TcpInCsumErrors") && line.contains(" 0 ")),
            "{errors}"
        );
        let status = stage.lbd.status();
        let warnings = status["warnings"].to_string();
        assert!(warnings.contains("unfinished"), "{warnings}");
    });
}

#[test]
fn a_program_of_others_is_not_replaced() {
    isolated(|| {
        if !bpffs() {
            return;
        }
        let conf = with_xdp(Conf::one(web(1)), "generic");
        let stage = Stage::new(1, Offloads::Off, &conf);
        // Whose it is makes no difference: this one knows nothing of the first one's pins.
        std::fs::create_dir("/run/bpf/other").expect("a directory");
        let other = conf.lbd("bpf_dir", "\"/run/bpf/other\"");
        let second = Daemon::prepare(&stage.switch.lb, &other);
        let output = second.command().output().expect("lbd");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains("another XDP program"), "{said}");
        assert_eq!(stage.curl(20).len(), 20);
    });
}

#[test]
fn auto_that_finds_its_place_taken_forgets_no_flow_at_a_restart() {
    isolated_within(Duration::from_secs(90), || {
        if !bpffs() {
            return;
        }
        let conf = with_xdp(Conf::one(web(3)), "generic").network("engine", "\"auto\"");
        let mut stage = Stage::before_lbd(3, Offloads::Off, &conf);
        // Another lbd, which is killed, leaves its program where this one's would be.
        std::fs::create_dir("/run/bpf/other").expect("a directory");
        let other = ServiceConf::tcp("other", 8443).reals(1..=1);
        let other = with_xdp(Conf::one(other), "generic").lbd("bpf_dir", "\"/run/bpf/other\"");
        Daemon::start(&stage.switch.lb, &other).kill();
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_announced();
        let (name, reason) = running(&stage.lbd);
        assert!(
            name != "xdp" && reason.contains("director"),
            "{name}: {reason}"
        );
        let flows = stage.flows(40, ECHO_EVERY);
        flows.wait_for_echoes();
        for _ in 0..2 {
            stage.lbd.kill();
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            flows.wait_for_echoes();
            assert_eq!(stage.lbd.status()["services"][0]["flows"], 40);
            assert_eq!(stage.lbd.status()["services"][0]["new_flows"], 0);
        }
        assert_eq!(flows.broken(), 0);
        flows.finish();
        assert!(
            !stage.lbd.log().contains("of no use"),
            "{}",
            stage.lbd.log()
        );
    });
}

#[test]
fn another_mode_takes_the_place_of_the_one_before() {
    isolated_within(Duration::from_secs(90), || {
        if !bpffs() {
            return;
        }
        let conf = |mode| with_xdp(Conf::one(web(3)), mode);
        let mut stage = Stage::new(3, Offloads::Off, &conf("generic"));
        // XDP_TX on a veth needs a peer that polls.
        stage.switch.sw.sh("ethtool -K lb gro on");
        let flows = stage.flows(40, ECHO_EVERY);
        flows.wait_for_echoes();
        for (mode, place) in [("native", "in the driver"), ("generic", "(generic)")] {
            // As a restart by systemd: the program goes on until the next lbd is there.
            assert!(stage.lbd.stop(Signal::SIGUSR2).success());
            stage.lbd.write(&conf(mode));
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            let (name, reason) = running(&stage.lbd);
            assert_eq!(name, "xdp");
            assert!(reason.contains(place), "{reason}");
            flows.wait_for_echoes();
        }
        assert_eq!(flows.broken(), 0);
        flows.finish();
    });
}

/// What the unit's drop-in says, one value a line.
fn drop_in(key: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/lbd-xdp.conf");
    let text = std::fs::read_to_string(path).expect("the drop-in");
    let values = text.lines().filter_map(|line| line.strip_prefix(key));
    values
        .filter_map(|rest| rest.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_drop_in_lets_lbds_user_to_its_pins() {
    isolated(|| {
        if !bpffs() {
            return;
        }
        // As systemd mounts it.
        run(Command::new("chmod").args(["0700", "/run/bpf"]));
        for line in drop_in("ExecStartPre") {
            let line = line
                .trim_start_matches('+')
                .replace("/sys/fs/bpf", "/run/bpf");
            let words: Vec<String> = line
                .split_whitespace()
                .map(|word| match word {
                    "lbd:lbd" => format!("{NOBODY}:{NOBODY}"),
                    "lbd" => NOBODY.to_owned(),
                    other => other.to_owned(),
                })
                .collect();
            run(Command::new(&words[0]).args(&words[1..]));
        }
        let conf = with_xdp(Conf::one(web(1)), "generic");
        let mut stage = Stage::before_lbd(1, Offloads::Off, &conf);
        stage.lbd.run_as_nobody(&drop_in("AmbientCapabilities")[0]);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        assert_eq!(running(&stage.lbd).0, "xdp");
    });
}

#[test]
fn auto_says_why_it_is_not_xdp() {
    isolated(|| {
        let conf = Conf::one(web(1)).network("engine", "\"auto\"");
        let stage = Stage::new(1, Offloads::Off, &conf);
        let (name, reason) = running(&stage.lbd);
        assert_eq!(name, "af_packet");
        assert!(reason.contains("veth"), "{reason}");
        let missing = Conf::one(web(1))
            .lbd("bpf_dir", "\"/run/nowhere/lbd\"")
            .network("engine", "\"xdp\"");
        let second = Daemon::prepare(&stage.switch.lb, &missing);
        let output = second.command().output().expect("lbd");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(
            said.contains("bpf_dir") || said.contains("CAP_BPF"),
            "{said}"
        );
    });
}

/// Frames a second while lbd is killed; what the sender makes of it is in the figures.
const FAST: u32 = 100_000;

/// Whether the checksum of a TCP segment over IPv4 is the sum of its pseudo header: so looks one that nobody
/// has finished, and one finished in 65,536, too; the program leaves those to lbd.
fn looks_unfinished(frame: &[u8]) -> bool {
    let (addresses, segment) = (&frame[26..34], &frame[34..]);
    let words = addresses
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum = words.sum::<u32>() + 6 + segment.len() as u32;
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    folded == u32::from(segment[16]) << 8 | u32::from(segment[17])
}

#[test]
fn a_kill_under_load_loses_nothing() {
    isolated_within(Duration::from_secs(90), || {
        if !bpffs() {
            return;
        }
        let wire = Wire::new();
        let service = ServiceConf::tcp("web", PORT).pinned_reals(1..=4);
        let mut lbd = Daemon::start(&wire.lb, &with_xdp(Conf::one(service), "generic"));
        let tally = Tally::of_reals(&wire.generator, 4);
        let flows: Vec<_> = (10_000..12_100)
            .map(|port| Headers::v4(port, PORT).tcp("PA", 2, b"data"))
            .filter(|frame| !looks_unfinished(frame))
            .take(2000)
            .collect();
        let of_one_round = |load: &Load, rounds: u64| load.wait_sent(rounds * 2000);
        let (load, start) = (Load::start(&wire.generator, flows, FAST), Instant::now());
        of_one_round(&load, 20);
        lbd.kill();
        of_one_round(&load, 50);
        lbd.spawn();
        lbd.wait_ready();
        of_one_round(&load, 20);
        let elapsed = start.elapsed();
        let sent = load.stop();
        let arrived = tally.settled_at(sent);
        let rate = sent as f64 / elapsed.as_secs_f64();
        figure(
            "xdp: frames lost over a kill -9",
            format!("{} of {sent}, at {rate:.0} frames/s", sent - arrived),
        );
        assert_eq!(arrived, sent);
    });
}

#[test]
fn a_frame_that_leaves_by_another_interface_goes_there_and_is_counted() {
    isolated(|| redirects("generic"));
}

#[test]
fn drivers_hand_frames_to_each_other() {
    isolated(|| redirects("native"));
}

/// The program itself sends frames out of another interface than they came by.
fn redirects(mode: &str) {
    if !bpffs() {
        return;
    }
    let wire = Wire::new();
    let far = wire.second_cable();
    if mode == "native" {
        // What a program in the driver sends, a veth takes where it polls.
        for netns in [&wire.generator, &far] {
            netns.sh("ethtool -K eth0 gro on");
        }
    }
    let conf = Conf::one(ServiceConf::udp("dns", PORT).real(at_the_far_end()));
    let conf = conf.network("interfaces", "[\"eth0\", \"eth1\"]");
    let lbd = Daemon::start(&wire.lb, &with_xdp(conf, mode));
    let engines = lbd.status()["engines"].clone();
    let names = [&engines[0]["name"], &engines[1]["name"]];
    assert_eq!(names, ["xdp", "xdp"], "{engines}");
    let up = Tally::at(&wire.lb, "eth0", &[("vip", "udp dport 80")]);
    let (near, other) = (RawSocket::open(&wire.generator), RawSocket::open(&far));
    for size in [1, 700, 1472] {
        let frame = Headers::v4(1000, PORT).udp(&vec![7; size]);
        near.send(&frame).expect("sent");
        let out = other.receive_where(SOON, |seen| seen.get(12..) == frame.get(12..));
        let out = out.unwrap_or_else(|| panic!("not sent on\n{}", lbd.log()));
        assert!(only_macs_differ(&frame, &out));
        assert_eq!(&out[6..12], [2, 0, 0, 0, 0, 3], "from that interface");
    }
    assert_eq!(up.of("vip"), 0, "the program took them all");
    assert_frames_add_up(&lbd);
    let left = [("interface", "eth1")];
    assert_eq!(lbd.metrics().value("lbd_frames_sent_total", &left), 3.0);
    assert_eq!(lbd.service("dns")["packets"], 3);
}
