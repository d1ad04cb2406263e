//! The metrics address, the unit's sandbox, and files that hold secrets or orders.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::{Daemon, binary};
use integration::frames::Headers;
use integration::load::Load;
use integration::netns::run;
use integration::stage::PORT;
use integration::tally::Tally;
use integration::topology::{CLIENT, LB, Wire};
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Frames a second beside the scrapers.
const RATE: u32 = 5_000;

const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9380);

/// One scrape: status line and body, or how it ended.
fn scrape() -> std::io::Result<String> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: lbd\r\nconnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

#[test]
fn t60d_scrapers_slow_or_many_cost_the_traffic_nothing() {
    isolated_within(Duration::from_secs(120), || {
        let wire = Wire::new();
        let mut conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=4));
        // Many reals, each with its samples: 2 services of 200.
        for n in 0..2_u16 {
            conf =
                conf.service(ServiceConf::tcp(&format!("many{n}"), 2000 + n).pinned_reals(1..=200));
        }
        let lbd = Daemon::start(&wire.lb, &conf);
        // From outside there is nobody.
        let outside = wire
            .generator
            .run(|| TcpStream::connect((LB, METRICS.port())));
        assert_eq!(
            outside.map(|_| ()).map_err(|e| e.kind()),
            Err(ErrorKind::ConnectionRefused)
        );

        let tally = Tally::of_reals(&wire.generator, 4);
        let frames = (10_000..10_500)
            .map(|port| Headers::v4(port, PORT).tcp("PA", 2, b"data"))
            .collect();
        let load = Load::start(&wire.generator, frames, RATE);
        load.wait_sent(u64::from(RATE));
        // Some ask and read nothing, some say nothing, in all the places there are; and 200 scrape.
        let start = Instant::now();
        let (slow, pages) = wire.lb.run(|| {
            let slow: Vec<_> = (0..20)
                .filter_map(|n| {
                    let mut stream = TcpStream::connect(METRICS).ok()?;
                    if n % 2 == 0 {
                        stream
                            .write_all(b"GET /metrics HTTP/1.1\r\nhost: lbd\r\n\r\n")
                            .ok()?;
                    }
                    Some(stream)
                })
                .collect();
            let netns = wire.lb.handle();
            let scrapers: Vec<_> = (0..200).map(|_| netns.spawn("scraper", scrape)).collect();
            let pages: Vec<_> = scrapers
                .into_iter()
                .map(|s| s.join().expect("a scraper"))
                .collect();
            (slow, pages)
        });
        let took = start.elapsed();
        drop(slow);
        let sent = load.stop();
        let lost = sent - tally.settled_at(sent);
        let served = pages
            .iter()
            .flatten()
            .filter(|page| page.starts_with("HTTP/1.1 200 "))
            .count();
        let page = wire.lb.run(scrape).expect("a page");
        figure(
            "T60d 200 scrapers of a page with 404 reals, beside 20 that do not read",
            format!(
                "{served} served in {took:.1?}, {lost} of {sent} frames lost, {} KiB a page",
                page.len() / 1024
            ),
        );
        assert_eq!(lost, 0, "of {sent} frames");
        // Those that were not served were told to come again, not left hanging.
        for page in &pages {
            let page = page.as_ref().expect("an answer");
            assert!(
                page.starts_with("HTTP/1.1 200 ") || page.starts_with("HTTP/1.1 503 "),
                "{page}"
            );
        }
        assert!(served > 0);

        // Flows of a client are known by now, and it is not: neither address nor key.
        let key = std::fs::read(lbd.state_dir().join("hash.key")).expect("the key");
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let fingerprint = lbd.status()["key_fingerprint"].clone();
        assert!(!page.contains(&CLIENT.to_string()), "a client's address");
        assert!(!page.contains(&hex) && !page.contains(&hex[..8]), "the key");
        assert!(
            !page.contains(fingerprint.as_str().expect("a fingerprint")),
            "its fingerprint"
        );
    });
}

#[test]
fn t60e_a_missing_capability_is_named_in_one_line() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::prepare(&wire.lb, &Conf::one(ServiceConf::tcp("web", PORT)));
        for (capability, name) in [("net_raw", "CAP_NET_RAW"), ("net_admin", "CAP_NET_ADMIN")] {
            let start = FairClock::start();
            let output = wire
                .lb
                .command("setpriv")
                .args([
                    format!("--bounding-set=-{capability}"),
                    format!("--inh-caps=-{capability}"),
                ])
                .arg(binary("lbd"))
                .arg("--config")
                .arg(lbd.config_path())
                .output()
                .expect("lbd");
            let took = start.elapsed();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(77), "{said}");
            let naming = said.lines().filter(|line| line.contains(name)).count();
            assert_eq!(naming, 1, "{said}");
            assert!(took <= Duration::from_secs(1), "{took:?}");
            figure(
                &format!("T60e lbd without {name} ends after"),
                format!("{took:?}"),
            );
        }
    });
}

/// The unit, as lines of `Key=value`.
fn unit() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/lbd.service");
    let text = std::fs::read_to_string(path).expect("the unit");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The system calls of a set such as `@debug`, by systemd itself; or a single one.
fn calls_of(set: &str, calls: &mut BTreeSet<String>) {
    if !set.starts_with('@') {
        calls.insert(set.to_owned());
        return;
    }
    let output = run(Command::new("systemd-analyze").args(["syscall-filter", set]));
    for word in String::from_utf8_lossy(&output.stdout).lines().skip(1) {
        let word = word.trim();
        match word.starts_with('@') {
            true => calls_of(word, calls),
            false if word.is_empty() || word.starts_with('#') => {}
            false => {
                calls.insert(word.to_owned());
            }
        }
    }
}

/// The calls the unit lets through, as systemd reads its lines in turn.
fn let_through() -> BTreeSet<String> {
    let mut through = BTreeSet::new();
    for (_, value) in unit().iter().filter(|(key, _)| key == "SystemCallFilter") {
        let (without, sets) = match value.strip_prefix('~') {
            Some(sets) => (true, sets),
            None => (false, value.as_str()),
        };
        let mut calls = BTreeSet::new();
        sets.split_whitespace()
            .for_each(|set| calls_of(set, &mut calls));
        match without {
            true => through.retain(|call| !calls.contains(call)),
            false => through.extend(calls),
        }
    }
    through
}

/// The exposure is `scripts/check-unit.sh`'s; here is what the filter says of single calls.
#[test]
fn t60e_the_units_filter_refuses_what_takes_hosts_over() {
    let through = let_through();
    assert!(through.len() > 200, "{through:?}");
    for call in [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "mount",
        "umount2",
        "pivot_root",
        "move_mount",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "reboot",
        "swapon",
        "setuid",
        "chroot",
        "settimeofday",
        "acct",
    ] {
        assert!(!through.contains(call), "{call} is let through");
    }
    // A refused call is an error, not the end of lbd.
    assert!(unit().contains(&("SystemCallErrorNumber".to_owned(), "EPERM".to_owned())));
    assert!(unit().contains(&("NoNewPrivileges".to_owned(), "yes".to_owned())));
    assert!(
        unit().contains(&("LimitCORE".to_owned(), "0".to_owned())),
        "the key is in memory"
    );
}

/// What lbd asks the kernel for in its life, traced, is what the unit lets through.
#[test]
fn t60e_the_units_filter_lets_lbd_work() {
    isolated(|| {
        let wire = Wire::new();
        let exec = [("type", "\"exec\""), ("command", "[\"/bin/true\"]")];
        let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2))
            .service(ServiceConf::proxied("shop", 81).routed(1..=1, 80))
            .service(ServiceConf::udp("dns", 53).pinned_reals(1..=1).check(&exec))
            .lbd("allow_exec", "true");
        let mut lbd = Daemon::prepare(&wire.lb, &conf);
        let counts = lbd.dir().join("calls");
        lbd.count_calls(&counts);
        lbd.spawn();
        lbd.wait_ready();
        lbd.wait_real("dns", "rs1", "up", Duration::from_secs(10));
        lbd.ctl(&["status"]).ok();
        lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        lbd.ctl(&["reload"]).ok();
        assert_eq!(
            wire.lb
                .run(scrape)
                .map(|page| page.contains("lbd_ready 1"))
                .ok(),
            Some(true)
        );
        lbd.stop(Signal::SIGTERM);
        let table = || std::fs::read_to_string(&counts).unwrap_or_default();
        wait_until(
            "strace has written its table",
            Duration::from_secs(10),
            || table().contains("total"),
        );
        let text = table();
        // `% time  seconds  usecs/call  calls  [errors]  syscall`
        let called: BTreeSet<&str> = text
            .lines()
            .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
            .filter_map(|line| line.split_whitespace().last())
            .filter(|word| *word != "total")
            .collect();
        assert!(
            called.contains("epoll_wait") || called.contains("epoll_pwait"),
            "{text}"
        );
        assert!(called.contains("capset"), "a check's program: {text}");
        let through = let_through();
        let refused: Vec<_> = called
            .iter()
            .filter(|call| !through.contains(**call))
            .collect();
        assert!(refused.is_empty(), "the unit's filter refuses {refused:?}");
        figure(
            "T60e system calls lbd makes, of those the unit lets through",
            format!("{} of {}", called.len(), through.len()),
        );
    });
}

fn prepared(wire: &Wire) -> Daemon {
    Daemon::prepare(
        &wire.lb,
        &Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2)),
    )
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path)
        .expect("a file")
        .permissions()
        .mode()
        & 0o7777
}

/// Starts it, and returns its exit code and what it said.
fn refused(lbd: &mut Daemon) -> (Option<i32>, String) {
    lbd.spawn();
    let code = lbd.wait_exit().code();
    (code, lbd.log())
}

#[test]
fn t60f_a_key_that_others_can_read_is_mended_and_said() {
    isolated(|| {
        let wire = Wire::new();
        let mut lbd = prepared(&wire);
        let key = lbd.state_dir().join("hash.key");
        std::fs::write(&key, [7; 16]).expect("a key");
        std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("ours");
        lbd.spawn();
        lbd.wait_ready();
        assert_eq!(mode(&key), 0o600);
        assert_eq!(
            std::fs::read(&key).expect("the key"),
            [7; 16],
            "it stays the key"
        );
        assert!(
            lbd.log().contains("the hash key was readable by others"),
            "{}",
            lbd.log()
        );
    });
}

/// Whatever the umask: what lbd writes is for itself.
#[test]
fn t60f_files_are_private_whatever_the_umask_and_no_key_leaves() {
    isolated(|| {
        let wire = Wire::new();
        let mut lbd = prepared(&wire);
        lbd.set_umask_zero();
        lbd.write(
            &Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2)).lbd("log", "\"trace\""),
        );
        lbd.spawn();
        lbd.wait_ready();
        lbd.ctl(&["real", "set", "web", "rs1", "--weight", "3"])
            .ok();
        let mut seen = 0;
        for dir in [lbd.state_dir(), lbd.run_dir()] {
            for entry in std::fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                let wanted = if path.ends_with("lbd.sock") {
                    0o660
                } else if path.is_dir() {
                    0o700
                } else {
                    0o600
                };
                assert_eq!(mode(&path), wanted, "{}", path.display());
                seen += 1;
            }
        }
        assert!(seen >= 5, "{seen} files");
        // Neither the log at its most talkative nor any answer has the key.
        let key = std::fs::read(lbd.state_dir().join("hash.key")).expect("the key");
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut texts = vec![lbd.log()];
        for args in [
            &["status", "-o", "json"][..],
            &["events", "-o", "json"],
            &["doctor", "-o", "json"],
            &["service", "list", "-o", "json"],
        ] {
            texts.push(lbd.ctl(args).stdout());
        }
        for text in texts {
            assert!(
                !text.contains(&hex[..16]) && !text.contains(&hex[16..]),
                "{text}"
            );
        }
    });
}

#[test]
fn t60f_links_in_the_place_of_files_are_not_followed() {
    isolated(|| {
        let wire = Wire::new();
        let victim = tempfile::NamedTempFile::new().expect("a file");
        let before = std::fs::read(victim.path()).expect("a file");
        for name in ["state/hash.key", "run/lbd.sock", "run/flows"] {
            let mut lbd = prepared(&wire);
            let place = lbd.dir().join(name);
            symlink(victim.path(), &place).expect("a link");
            lbd.spawn();
            let ended = lbd.ready_or_ended();
            let log = lbd.log();
            if let Some(status) = ended {
                assert_ne!(status.code(), Some(0), "{name}: {log}");
                assert!(
                    log.contains(place.file_name().and_then(|n| n.to_str()).expect("a name")),
                    "{name}: {log}"
                );
            }
            assert_eq!(
                std::fs::read(victim.path()).expect("a file"),
                before,
                "{name}"
            );
            assert_eq!(mode(victim.path()), 0o600, "{name}");
        }
    });
}

/// Whoever owns the file gives lbd its orders.
#[test]
fn t60f_orders_come_from_root_and_lbd_alone() {
    isolated(|| {
        let wire = Wire::new();
        let mut lbd = prepared(&wire);
        let file = lbd.config_path();
        if chown(&file, Some(65534), None).is_err() {
            println!("skipped: a second user id needs root");
            return;
        }
        let (code, said) = refused(&mut lbd);
        assert_eq!(code, Some(78), "{said}");
        assert!(
            said.contains("user id 65534") && said.contains("chown root"),
            "{said}"
        );
        chown(&file, Some(0), None).expect("root");

        // Nor from everybody.
        std::fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("ours");
        let (code, said) = refused(&mut lbd);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("chmod o-w"), "{said}");
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("ours");
        lbd.spawn();
        lbd.wait_ready();

        // While it runs, such a file changes nothing.
        chown(&file, Some(65534), None).expect("root");
        let answer = lbd.ctl(&["reload"]).exits(78);
        assert!(
            answer.stderr().contains("user id 65534"),
            "{}",
            answer.stderr()
        );
        assert_eq!(lbd.status()["revision"], 1);
    });
}
