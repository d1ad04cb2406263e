//! The configuration changes under load; bad ones change nothing.

use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::Headers;
use integration::load::Load;
use integration::stage::{PORT, Stage, web};
use integration::tally::Tally;
use integration::topology::{Offloads, Wire};
use integration::{figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// Frames a second while reloading.
const RATE: u32 = 20_000;

/// How long a run with and one without reloads take.
const RUN: Duration = Duration::from_secs(50);

/// Reloads in one run.
const RELOADS: u32 = 1000;

fn pinned(reals: std::ops::RangeInclusive<u8>) -> ServiceConf {
    ServiceConf::tcp("web", PORT).pinned_reals(reals)
}

/// Packets of 500 flows, one SYN each and data from then on.
fn traffic() -> Vec<Vec<u8>> {
    (10_000..10_500)
        .map(|port| Headers::v4(port, PORT).tcp("PA", 2, b"data"))
        .collect()
}

#[test]
fn t23_reloads_under_load_lose_nothing() {
    isolated_within(Duration::from_secs(300), || {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &Conf::one(pinned(1..=10)));
        let tally = Tally::of_reals(&wire.generator, 12);
        let lost_in = |during: &mut dyn FnMut(Duration) -> bool| {
            let before = tally.total();
            let load = Load::start(&wire.generator, traffic(), RATE);
            let start = Instant::now();
            wait_until("the run is over", RUN * 3, || {
                during(start.elapsed()) && start.elapsed() >= RUN
            });
            let sent = load.stop();
            (sent, sent - (tally.settled() - before))
        };
        let (sent, baseline) = lost_in(&mut |_| true);
        let variants = [
            Conf::one(pinned(1..=11)),
            Conf::one(pinned(1..=11).with("scheduler", "\"wrr\"")),
            Conf::one(pinned(1..=9).real(RealConf::n(12).pinned(12).with("weight", "7"))),
            Conf::one(pinned(1..=9).real(RealConf::n(12).pinned(12).with("weight", "7"))),
            Conf::one(pinned(1..=10)),
        ];
        // The first give each thread a heap, once and for all; what grows is what grows from there.
        for conf in variants.iter().cycle().take(20) {
            lbd.reload(conf);
        }
        let memory = lbd.resident_kib();
        let mut done = 0;
        let (_, lost) = lost_in(&mut |elapsed| {
            let due = (elapsed.as_secs_f64() / RUN.as_secs_f64() * f64::from(RELOADS)) as u32;
            while done < due.min(RELOADS) {
                lbd.reload(&variants[done as usize % variants.len()]);
                done += 1;
            }
            done == RELOADS
        });
        let grown = lbd.resident_kib() as f64 / memory as f64;
        figure(
            "T23 lost in 50 s at 20,000 frames/s",
            format!(
                "{lost} with {done} reloads, {baseline} without, of {sent}; memory × {grown:.2}"
            ),
        );
        assert!(lost <= baseline, "{lost} lost, {baseline} without reloads");
        assert_eq!(
            lbd.metrics().value("lbd_ring_drops_total", &[]),
            baseline as f64
        );
        assert!(grown <= 1.05, "memory grew by a factor of {grown:.2}");
    });
}

#[test]
fn a_reload_that_changes_nothing_changes_nothing() {
    isolated(|| {
        let wire = Wire::new();
        let conf = Conf::one(pinned(1..=3));
        let lbd = Daemon::start(&wire.lb, &conf);
        let numbers = || {
            let status = lbd.status();
            (status["revision"].clone(), status["generation"].clone())
        };
        let (revision, _) = numbers();
        // News of the host that come in between make a generation, too.
        wait_until(
            "a reload makes no generation",
            Duration::from_secs(10),
            || {
                let before = numbers();
                lbd.reload(&conf);
                numbers() == before
            },
        );
        assert_eq!(numbers().0, revision);
        lbd.reload(&Conf::one(pinned(1..=4)));
        assert!(numbers().0.as_u64() > revision.as_u64());
    });
}

/// Two hundred files that must be refused, and why.
fn broken_files(good: &str) -> Vec<(String, String)> {
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        good.replacen(from, to, 1)
    };
    let mut files = vec![
        ("syntax".into(), format!("{good}\n[[service")),
        (
            "an unknown key".into(),
            replaced("port = 80", "port = 80\nprot = 1"),
        ),
        (
            "an unknown table".into(),
            format!("{good}\n[servcie]\nname = \"x\"\n"),
        ),
        ("port 0".into(), replaced("port = 80", "port = 0")),
        ("port 65536".into(), replaced("port = 80", "port = 65536")),
        (
            "a port in words".into(),
            replaced("port = 80", "port = \"http\""),
        ),
        ("no VIP".into(), replaced("vip = \"192.0.2.10\"", "")),
        (
            "a VIP that is no address".into(),
            replaced("192.0.2.10", "192.0.2"),
        ),
        (
            "a multicast VIP".into(),
            replaced("192.0.2.10", "224.0.0.1"),
        ),
        (
            "a real that is the VIP".into(),
            replaced("192.0.2.21", "192.0.2.10"),
        ),
        (
            "a multicast MAC".into(),
            replaced("02:00:00:00:01:01", "01:00:5e:00:00:01"),
        ),
        (
            "a zero MAC".into(),
            replaced("02:00:00:00:01:01", "00:00:00:00:00:00"),
        ),
        (
            "half a MAC".into(),
            replaced("02:00:00:00:01:01", "02:00:00"),
        ),
        (
            "a weight of 257".into(),
            replaced("name = \"rs1\"", "name = \"rs1\"\nweight = 257"),
        ),
        (
            "a name with blanks".into(),
            replaced("name = \"web\"", "name = \"the web\""),
        ),
        (
            "an unknown scheduler".into(),
            replaced("mode = \"dr\"", "scheduler = \"best\""),
        ),
        (
            "another port for a real".into(),
            replaced("name = \"rs1\"", "name = \"rs1\"\nport = 81"),
        ),
        ("not UTF-8, nearly".into(), replaced("web", "w\u{0}b")),
        (
            "10 MB".into(),
            format!("{good}\n# {}\nx = 1\n", "x".repeat(10 << 20)),
        ),
    ];
    let service = good.find("[[service]]").expect("a service");
    files.push((
        "the same VIP twice".into(),
        format!("{good}\n{}", &good[service..]),
    ));
    // Half-written files: cut inside a line, so that none is a smaller valid one.
    let cuts: Vec<usize> = good
        .char_indices()
        .filter(|(index, c)| *c == '=' && *index > service)
        .map(|(index, _)| index + 1)
        .collect();
    for index in 0.. {
        if files.len() == 200 {
            break;
        }
        let cut = cuts[index % cuts.len()];
        let (start, rest) = good.split_at(cut);
        let file = match index / cuts.len() {
            0 => start.to_owned(),
            round => format!("{start} ]{}{rest}", "[".repeat(round)),
        };
        files.push((
            format!("broken at byte {cut}, way {}", index / cuts.len()),
            file,
        ));
    }
    files
}

#[test]
fn t24_bad_files_are_refused_whole() {
    isolated_within(Duration::from_secs(120), || {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &Conf::one(pinned(1..=3)));
        let tally = Tally::of_reals(&wire.generator, 3);
        let before = lbd.status();
        let good = std::fs::read_to_string(lbd.config_path()).expect("the file");
        let load = Load::start(&wire.generator, traffic(), 5_000);
        let files = broken_files(&good);
        assert_eq!(files.len(), 200);
        for (what, text) in &files {
            lbd.write_text(text);
            let answer = lbd.ctl(&["reload"]);
            assert_eq!(
                answer.code(),
                78,
                "{what}: {}{}",
                answer.stdout(),
                answer.stderr()
            );
            let said = answer.stderr();
            assert!(said.contains("lbd.toml:"), "{what}: no place: {said}");
            let path = lbd.config_path();
            let answer = lbd.ctl(&["config", "apply", path.to_str().expect("a path")]);
            assert_eq!(answer.code(), 78, "{what}: {}", answer.stderr());
            let said = answer.stderr();
            assert!(said.contains("lbd.toml:"), "{what}: no place: {said}");
        }
        let sent = load.stop();
        assert_eq!(tally.settled_at(sent), sent, "nothing was lost meanwhile");
        let after = lbd.status();
        assert_eq!(after["revision"], before["revision"]);
        assert_eq!(
            after["services"][0]["reals"].as_array().map(Vec::len),
            Some(3)
        );
        let refused = lbd.metrics();
        assert!(refused.has("lbd_config_reloads_total", &[]));
        lbd.write_text(&good);
        lbd.ctl(&["reload"]).ok();
    });
}

#[test]
fn t24_config_check_refuses_the_same_files() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::prepare(&wire.lb, &Conf::one(pinned(1..=3)));
        let path = lbd.config_path();
        let path = path.to_str().expect("a path");
        lbd.ctl(&["config", "check", path]).ok();
        let good = std::fs::read_to_string(path).expect("the file");
        for (what, text) in broken_files(&good) {
            lbd.write_text(&text);
            let answer = lbd.ctl(&["config", "check", path]);
            assert_eq!(answer.code(), 78, "{what}: {}", answer.stderr());
            assert!(
                answer.stderr().contains("lbd.toml:"),
                "{what}: {}",
                answer.stderr()
            );
        }
    });
}

#[test]
fn at_start_a_bad_file_means_the_last_good_one_and_strict_means_no_start() {
    isolated_within(Duration::from_secs(60), || {
        let mut stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        stage.lbd.stop(Signal::SIGTERM);
        // A bad file still says where the state is.
        let good = std::fs::read_to_string(stage.lbd.config_path()).expect("the file");
        stage.lbd.write_text(&format!("{good}\n[[service]\n"));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        assert_eq!(stage.curl(20).len(), 20, "the last good configuration runs");
        assert_eq!(
            stage
                .lbd
                .metrics()
                .value("lbd_config_last_good_in_use", &[]),
            1.0
        );
        let warnings = stage.lbd.status()["warnings"].to_string();
        assert!(warnings.contains("last good"), "{warnings}");
        stage.lbd.stop(Signal::SIGTERM);
        stage.lbd.spawn_with(&["--strict"]);
        assert_eq!(stage.lbd.wait_exit().code(), Some(78));
    });
}

#[test]
fn nobody_removes_most_of_everything_by_accident() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &Conf::one(pinned(1..=5)));
        let reals = || {
            lbd.service("web")["reals"]
                .as_array()
                .expect("reals")
                .iter()
                .filter(|real| real["removed"] != true)
                .count()
        };
        let last_reload = || lbd.status()["last_reload"].clone();
        lbd.write(&Conf::one(pinned(1..=2)));
        lbd.signal(Signal::SIGHUP);
        wait_until("the reload is judged", Duration::from_secs(5), || {
            !last_reload().is_null()
        });
        assert_eq!(last_reload()["ok"], false, "{:#}", last_reload());
        assert_eq!(reals(), 5, "kept");
        lbd.ctl(&["reload", "--force"]).ok();
        assert_eq!(reals(), 2);
        // A smaller step passes by SIGHUP, too.
        lbd.write(&Conf::one(pinned(1..=3)));
        lbd.signal(Signal::SIGHUP);
        wait_until("the reload is in force", Duration::from_secs(5), || {
            reals() == 3
        });
    });
}

#[test]
fn with_watch_a_saved_file_is_loaded() {
    isolated(|| {
        let wire = Wire::new();
        let conf = |reals| Conf::one(pinned(1..=reals)).lbd("watch", "true");
        let lbd = Daemon::start(&wire.lb, &conf(2));
        let reals = || lbd.service("web")["reals"].as_array().map_or(0, Vec::len);
        lbd.write(&conf(3));
        wait_until("a file saved by rename", Duration::from_secs(10), || {
            reals() == 3
        });
        std::fs::write(lbd.config_path(), conf(4).to_toml(lbd.dir())).expect("written");
        wait_until("a file written in place", Duration::from_secs(10), || {
            reals() == 4
        });
    });
}
