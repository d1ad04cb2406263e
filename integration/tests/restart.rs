//! lbd dies or is restarted, and flows do not notice.

use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::engine::Engine;
use integration::long_flows::{LongFlows, Transport};
use integration::netns::run;
use integration::sockets::{self, State};
use integration::stage::{PORT, Stage, vip, web};
use integration::tally::Tally;
use integration::topology::{LB, LB_MAC, Offloads, VIP, real_mac};
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ECHO_EVERY: Duration = Duration::from_millis(100);

/// The same for thousands of flows: more often, and their echoes alone would keep two cores busy.
const THOUSANDS_ECHO_EVERY: Duration = Duration::from_millis(500);

/// Frames lbd sends to the VIP's real servers, as the switch gets them.
fn forwarded(stage: &Stage) -> Tally {
    let rule = format!("ether saddr {LB_MAC} ip daddr {VIP}");
    Tally::at(&stage.switch.sw, "lb", &[("forwarded", &rule)])
}

/// From the start of the next lbd to the first frame that it sends on; it is ready then.
fn until_a_frame_after_kill_9(stage: &mut Stage, frames: &Tally) -> Duration {
    stage.lbd.kill();
    let before = frames.total();
    let clock = FairClock::start();
    stage.lbd.spawn();
    wait_until("the first frame is sent on", Duration::from_secs(5), || {
        frames.total() > before
    });
    let first = clock.elapsed();
    stage.lbd.wait_ready();
    first
}

#[test]
fn t19_kill_9_moves_no_flow() {
    isolated_within(Duration::from_secs(120), || {
        // As from a plain wire the program of engine xdp takes all frames itself, and goes on alone;
        // what has unfinished checksums waits for the next lbd.
        let wire = match Engine::of_this_run() {
            Engine::Xdp => Offloads::Off,
            Engine::AfPacket | Engine::AfXdp => Offloads::Defaults,
        };
        let mut stage = Stage::new(10, wire, &Conf::one(web(10)));
        let (start, clock) = (Instant::now(), FairClock::start());
        let flows = stage.flows(2_000, THOUSANDS_ECHO_EVERY);
        flows.wait_for_echoes();
        let frames = forwarded(&stage);
        // The middle one of three: a machine that is busy with something else for a moment proves nothing.
        let mut firsts: Vec<Duration> = (0..3)
            .map(|_| {
                let first = until_a_frame_after_kill_9(&mut stage, &frames);
                flows.wait_for_echoes();
                first
            })
            .collect();
        firsts.sort_unstable();
        assert_eq!(
            flows.broken(),
            0,
            "flows that moved were reset by a real that knows them not"
        );
        let stood_still = start.elapsed().saturating_sub(clock.elapsed());
        let stall = flows
            .finish()
            .iter()
            .map(|flow| flow.longest_stall)
            .max()
            .expect("flows");
        figure(
            "T19 three kill -9 with 2,000 flows",
            format!("moved 0, first frames after {firsts:.0?}, longest stall {stall:.2?}"),
        );
        assert!(firsts[1] <= Duration::from_millis(500), "{firsts:?}");
        // The longest of thousands: whenever a core stands still, some flow waits for it.
        let allowed = Duration::from_secs(2) + stood_still;
        assert!(stall <= allowed, "{stall:?} of {allowed:?}");
    });
}

#[test]
fn a_restart_by_usr2_moves_no_flow() {
    isolated_within(Duration::from_secs(90), || {
        let mut stage = Stage::new(4, Offloads::Defaults, &Conf::one(web(4)));
        let flows = stage.flows(500, ECHO_EVERY);
        for _ in 0..3 {
            assert!(stage.lbd.stop(Signal::SIGUSR2).success());
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            flows.wait_for_echoes();
        }
        assert_eq!(flows.broken(), 0);
        let stall = flows.finish().iter().map(|flow| flow.longest_stall).max();
        figure(
            "three restarts with 500 flows",
            format!("moved 0, longest stall {stall:.2?}"),
        );
    });
}

/// Flows whose answers came from another server than before; UDP flows live through a move.
fn moved(flows: &LongFlows) -> usize {
    flows
        .snapshot()
        .iter()
        .filter(|flow| flow.moves > 0)
        .count()
}

#[test]
fn t20_flows_older_than_a_change_survive_kill_9_by_the_flow_table() {
    isolated_within(Duration::from_secs(120), || {
        let udp = |reals| Conf::one(ServiceConf::udp("dns", PORT).reals(reals));
        let mut stage = Stage::new(11, Offloads::Defaults, &udp(1..=10));
        let flows = LongFlows::start(
            stage.switch.cl.handle(),
            Transport::Udp,
            vip(),
            1_000,
            ECHO_EVERY,
        );
        let flows = flows.assert_opened();
        stage.lbd.reload(&udp(1..=11));
        flows.wait_for_echoes();
        assert_eq!(moved(&flows), 0, "an added real moves nobody");
        stage.lbd.kill();
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        flows.wait_for_echoes();
        assert_eq!(moved(&flows), 0, "T20 with state");

        stage.lbd.kill();
        remove_all(&stage.lbd.run_dir());
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        flows.wait_for_echoes();
        let moved = moved(&flows) as f64 / 10.0;
        figure(
            "T20 moved without state, after an add to ten",
            format!("{moved:.1} %"),
        );
        // One in eleven, the ring's own disruption, and four standard deviations of 1,000 draws.
        assert!(moved <= 9.1 + 0.5 + 3.6, "{moved:.1} %");
        // Otherwise the state would have been used, and the first half proved nothing.
        assert!(moved > 0.0);
    });
}

/// All that stands in `dir` but the control socket.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_socket()));
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn remove_all(dir: &Path) {
    for path in files(dir) {
        std::fs::remove_file(path).expect("removed");
    }
}

/// What is wrong with a state file, and how to make it so.
type Corruption = (&'static str, fn(&Path));

/// Ways a state file can be wrong.
const CORRUPTIONS: [Corruption; 6] = [
    ("empty", |path| std::fs::write(path, b"").expect("written")),
    ("cut in half", |path| {
        let bytes = std::fs::read(path).expect("read");
        std::fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
    }),
    ("bits flipped", |path| {
        let mut bytes = std::fs::read(path).expect("read");
        bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
        std::fs::write(path, bytes).expect("written");
    }),
    ("noise", |path| {
        std::fs::write(path, [0xa7; 65_536]).expect("written")
    }),
    ("a pipe", |path| {
        std::fs::remove_file(path).expect("removed");
        run(Command::new("mkfifo").arg(path));
    }),
    ("a link to another file", |path| {
        std::fs::remove_file(path).expect("removed");
        std::os::unix::fs::symlink("/etc/hostname", path).expect("linked");
    }),
];

#[test]
fn t21_corrupt_state_is_refused_and_lbd_serves() {
    isolated_within(Duration::from_secs(120), || {
        let mut stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        for (what, corrupt) in CORRUPTIONS {
            assert_eq!(stage.curl(10).len(), 10);
            stage.lbd.kill();
            let state = files(&stage.lbd.run_dir());
            assert!(!state.is_empty(), "there is state to corrupt");
            state.iter().for_each(|path| corrupt(path));
            stage.lbd.spawn();
            let clock = FairClock::start();
            stage.lbd.wait_ready();
            let took = clock.elapsed();
            assert!(
                took < Duration::from_secs(2),
                "{what}: ready after {took:?}"
            );
            assert_eq!(stage.curl(10).len(), 10, "{what}");
            let log = stage.lbd.log();
            assert!(!log.contains("panicked"), "{what}: {log}");
            stage.lbd.kill();
            remove_all(&stage.lbd.run_dir());
            stage.lbd.spawn();
            stage.lbd.wait_ready();
        }
    });
}

#[test]
fn t22_health_known_before_a_kill_is_known_after_it() {
    isolated_within(Duration::from_secs(90), || {
        // A slow check: after the restart, its verdict of before is all there is for a while.
        let conf = Conf::one(web(5).check(FAST_TCP_CHECK));
        let mut stage = Stage::new(5, Offloads::Defaults, &conf);
        let flows = stage.flows(500, ECHO_EVERY);
        stage.servers[4].stop();
        stage
            .lbd
            .wait_real("web", "rs5", "down", Duration::from_secs(5));
        wait_until("rs5's flows broke", Duration::from_secs(15), || {
            !flows.by_server().contains_key("rs5")
        });
        // Each flow is said to be broken before its socket closes, and what that sends goes to rs5, too.
        wait_until("rs5's flows are closed", Duration::from_secs(15), || {
            let sockets = sockets::tcp(&stage.switch.cl.handle());
            let to_vip = sockets.iter().filter(|s| s.remote == vip());
            let open = to_vip.filter(|s| s.state != State::TimeWait).count();
            open == 500 - flows.broken()
        });
        let broken = flows.broken();
        // Clients' frames: lbd's own checks take the same way.
        let rule = format!(
            "ether daddr {} ip daddr {VIP} ip saddr != {LB}",
            real_mac(5)
        );
        let to_rs5 = Tally::at(&stage.switch.sw, "lb", &[("to_rs5", &rule)]);
        stage.lbd.kill();
        stage.lbd.spawn();
        let answers = {
            wait_until("lbd answers", Duration::from_secs(5), || {
                stage.lbd.try_status().is_some()
            });
            stage.curl(300)
        };
        assert_eq!(answers.len(), 300);
        stage.lbd.wait_ready();
        flows.wait_for_echoes();
        assert_eq!(
            to_rs5.total(),
            0,
            "frames sent to a server known to be dead"
        );
        assert_eq!(flows.broken(), broken, "flows of the others");
    });
}

#[test]
fn a_second_lbd_on_the_same_directories_is_refused() {
    isolated(|| {
        let stage = Stage::new(1, Offloads::Defaults, &Conf::one(web(1)));
        let second = stage.lbd.command().output().expect("lbd");
        assert!(!second.status.success(), "{second:?}");
        assert_eq!(stage.curl(10).len(), 10, "the first goes on");
        assert!(stage.lbd.try_status().is_some());
    });
}
