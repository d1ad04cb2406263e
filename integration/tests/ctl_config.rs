//! What `lbctl` changes stays: in the file, over restarts, and with a way back.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::Daemon;
use integration::stage::PORT;
use integration::topology::Wire;
use integration::{isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const COMMENT: &str = "# ours, since 2019\n";

fn conf(reals: u8) -> Conf {
    Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=reals))
}

/// An lbd with two reals, and a comment in its file.
fn started() -> (Wire, Daemon) {
    let wire = Wire::new();
    let mut lbd = Daemon::prepare(&wire.lb, &conf(2));
    lbd.write_text(&format!("{COMMENT}{}", file(&lbd)));
    lbd.spawn();
    lbd.wait_ready();
    (wire, lbd)
}

fn file(lbd: &Daemon) -> String {
    fs::read_to_string(lbd.config_path()).expect("the file")
}

fn weight(lbd: &Daemon) -> i64 {
    lbd.real("web", "rs1")["weight"].as_i64().expect("a weight")
}

fn reals(lbd: &Daemon) -> usize {
    let service = lbd.service("web");
    let reals = service["reals"].as_array().expect("reals").iter();
    reals.filter(|real| real["removed"] != true).count()
}

/// A file beside the configuration.
fn beside(lbd: &Daemon, name: &str, conf: &Conf) -> PathBuf {
    let path = lbd.dir().join(name);
    fs::write(&path, conf.to_toml(lbd.dir())).expect("a file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn restart(lbd: &mut Daemon, signal: Signal) {
    lbd.stop(signal);
    lbd.spawn();
    lbd.wait_ready();
}

#[test]
fn a_change_stays_in_the_file_with_its_comments_and_can_be_taken_back() {
    isolated(|| {
        let (_wire, mut lbd) = started();
        let before = file(&lbd);
        let done = lbd
            .ctl(&["real", "set", "web", "rs1", "--weight", "5"])
            .ok();
        assert!(
            done.stdout().contains("web/rs1: weight: 1 -> 5"),
            "{}",
            done.stdout()
        );
        let after = file(&lbd);
        assert!(
            after.starts_with(COMMENT) && after.contains("weight = 5\n"),
            "{after}"
        );
        for signal in [Signal::SIGKILL, Signal::SIGUSR2, Signal::SIGTERM] {
            restart(&mut lbd, signal);
            assert_eq!((weight(&lbd), file(&lbd)), (5, after.clone()), "{signal}");
            assert_eq!(lbd.status()["revision"], 2);
        }
        assert_eq!(lbd.status()["drift"], serde_json::json!([]));
        let history = lbd.ctl(&["config", "history"]).ok().stdout();
        assert!(
            history.contains("*2") && history.contains("root"),
            "{history}"
        );
        let json = lbd.ctl(&["config", "history", "-o", "json"]).json();
        assert_eq!(
            (&json["api_version"], &json["revision"]),
            (&"v1".into(), &2.into())
        );
        assert_eq!(
            json["revisions"][0]["changes"][0],
            "web/rs1: weight: 1 -> 5"
        );
        assert_eq!(json["revisions"][0]["uid"], 0);

        let would = lbd.ctl(&["config", "undo", "--dry-run"]).ok().stdout();
        assert!(would.contains("revision 1 would come back"), "{would}");
        assert_eq!(weight(&lbd), 5);
        let undone = lbd.ctl(&["config", "undo"]).ok().stdout();
        assert!(
            undone.contains("revision 1 is back, as revision 3"),
            "{undone}"
        );
        assert_eq!((weight(&lbd), file(&lbd)), (1, before));
        lbd.ctl(&["config", "undo"]).exits(3);
        lbd.ctl(&["config", "undo", "2"]).ok();
        assert_eq!((weight(&lbd), file(&lbd)), (5, after));
    });
}

#[test]
fn what_is_only_to_run_survives_restarts_and_is_told_as_drift() {
    isolated(|| {
        let (_wire, mut lbd) = started();
        let before = file(&lbd);
        lbd.ctl(&["real", "drain", "web", "rs1", "--runtime"]).ok();
        lbd.ctl(&["reload"]).ok();
        restart(&mut lbd, Signal::SIGKILL);
        assert_eq!(
            (lbd.real("web", "rs1")["admin"].clone(), file(&lbd)),
            ("drain".into(), before)
        );
        assert_eq!(lbd.status()["drift"][0]["running"], "drain");
        assert_eq!(lbd.metrics().value("lbd_config_drift", &[]), 1.0);
        let diff = lbd.ctl(&["config", "diff"]).exits(1).stdout();
        assert!(
            diff.contains("drain -> enabled") && diff.contains("\n-admin = \"drain\""),
            "{diff}"
        );
        lbd.ctl(&["real", "enable", "web", "rs1"]).ok();
        assert_eq!(lbd.status()["drift"], serde_json::json!([]));
        let same = lbd.ctl(&["config", "diff"]).ok().stdout();
        assert!(same.contains("is what runs"), "{same}");
    });
}

#[test]
fn configurations_are_compared_applied_and_shown() {
    isolated(|| {
        let (_wire, lbd) = started();
        let new = beside(&lbd, "new.toml", &conf(3));
        let diff = lbd.ctl(&["config", "diff", text(&new)]).exits(1).stdout();
        assert!(
            diff.contains("real rs3") && diff.contains("+address = \"192.0.2.23\""),
            "{diff}"
        );
        let json = lbd
            .ctl(&["config", "diff", text(&new), "-o", "json"])
            .exits(1);
        let json: serde_json::Value = serde_json::from_str(&json.stdout()).expect("JSON");
        assert_eq!(
            (&json["same"], &json["api_version"]),
            (&false.into(), &"v1".into())
        );
        let would = lbd
            .ctl(&["config", "apply", text(&new), "--dry-run"])
            .ok()
            .stdout();
        assert!(would.contains("real rs3"), "{would}");
        assert_eq!(reals(&lbd), 2);
        lbd.ctl(&["config", "apply", text(&new)]).ok();
        assert_eq!(
            (reals(&lbd), file(&lbd)),
            (3, fs::read_to_string(&new).expect("a file"))
        );
        let shown = lbd.ctl(&["config", "show"]).ok().stdout();
        assert_eq!(shown, file(&lbd), "it can be applied again");
        let first = lbd.ctl(&["config", "show", "1"]).ok().stdout();
        assert!(first.starts_with(COMMENT), "{first}");
        lbd.ctl(&["config", "show", "99"]).exits(3);
        lbd.ctl(&["config", "confirm"]).exits(4);
        lbd.ctl(&["config", "apply", "/nonexistent.toml"]).exits(1);
        // Over the socket nobody has a program run, or moves lbd's files.
        let odd = conf(2).lbd("allow_exec", "true");
        let refused = lbd
            .ctl(&["config", "apply", text(&beside(&lbd, "odd.toml", &odd))])
            .exits(6);
        assert!(
            refused.stderr().contains("lbd.allow_exec"),
            "{}",
            refused.stderr()
        );
        assert_eq!(reals(&lbd), 3);
    });
}

#[test]
fn what_is_not_confirmed_comes_back_whatever_ends_lbd() {
    isolated_within(Duration::from_secs(90), || {
        let (_wire, mut lbd) = started();
        let before = file(&lbd);
        let new = beside(&lbd, "new.toml", &conf(3));
        let tried = lbd
            .ctl(&["config", "apply", text(&new), "--confirm", "1h"])
            .ok()
            .stdout();
        assert!(tried.contains("lbctl config confirm"), "{tried}");
        assert_eq!((reals(&lbd), file(&lbd)), (3, before.clone()));
        let status = lbd.status();
        assert_eq!(status["unconfirmed"]["back_to"], 1);
        assert!(status["warnings"].to_string().contains("not confirmed"));
        for args in [&["reload"][..], &["real", "drain", "web", "rs1"]] {
            let refused = lbd.ctl(args).exits(4);
            assert!(
                refused.stderr().contains("lbctl config confirm"),
                "{}",
                refused.stderr()
            );
        }
        lbd.ctl(&["config", "undo"]).ok();
        assert_eq!((reals(&lbd), file(&lbd)), (2, before.clone()));
        // And by time: two seconds are too few to look at anything before.
        lbd.ctl(&["config", "apply", text(&new), "--confirm", "2s"])
            .ok();
        wait_until("it is rolled back", Duration::from_secs(10), || {
            reals(&lbd) == 2
        });
        assert_eq!(lbd.status()["revision"], 1);
        let told = lbd.ctl(&["events"]).ok().stdout();
        assert!(told.contains("it was not confirmed in time"), "{told}");
        for signal in [Signal::SIGKILL, Signal::SIGUSR2] {
            lbd.ctl(&["config", "apply", text(&new), "--confirm", "1h"])
                .ok();
            assert_eq!(reals(&lbd), 3);
            restart(&mut lbd, signal);
            assert_eq!((reals(&lbd), file(&lbd)), (2, before.clone()), "{signal}");
            let told = lbd.status()["warnings"].to_string();
            assert!(told.contains("rolled back: lbd ended"), "{told}");
        }
        lbd.ctl(&["config", "apply", text(&new), "--confirm", "1h"])
            .ok();
        lbd.ctl(&["config", "undo"]).ok();
        assert_eq!(reals(&lbd), 2);
        lbd.ctl(&["config", "apply", text(&new), "--confirm", "1h"])
            .ok();
        lbd.ctl(&["config", "confirm"]).ok();
        restart(&mut lbd, Signal::SIGKILL);
        assert_eq!(reals(&lbd), 3);
    });
}

/// Disks fill up, files are links, belong to somebody, are edited by hand.
#[test]
fn the_file_is_treated_with_care() {
    isolated_within(Duration::from_secs(90), || {
        let wire = Wire::new();
        let mut lbd = Daemon::prepare(&wire.lb, &conf(2));
        let disk = lbd.dir().join("disk");
        fs::create_dir(&disk).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "small"])
            .arg(&disk)
            .status();
        assert!(mounted.expect("mount").success());
        let target = disk.join("shop.toml");
        fs::copy(lbd.config_path(), &target).expect("copied");
        fs::remove_file(lbd.config_path()).expect("removed");
        symlink(&target, lbd.config_path()).expect("linked");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o664)).expect("mode");
        if std::os::unix::fs::chown(&target, None, Some(34)).is_err() {
            println!("only one group id here: groups are not tested");
        }
        let about = || {
            let about = fs::metadata(&target).expect("the file");
            (about.mode(), about.uid(), about.gid())
        };
        let before = about();
        lbd.spawn();
        lbd.wait_ready();
        let set = |lbd: &Daemon, weight: &str| {
            lbd.ctl(&[
                "real", "set", "web", "rs1", "--weight", weight, "-o", "json",
            ])
        };
        assert_eq!(set(&lbd, "5").json()["saved"]["state"], "yes");
        assert_eq!(about(), before, "mode, owner, group");
        assert_eq!(fs::read_link(lbd.config_path()).expect("a link"), target);
        assert!(
            fs::read_to_string(&target)
                .expect("the file")
                .contains("weight = 5")
        );

        // A full disk: in force, not saved, told; and saved when there is room.
        let filler = disk.join("filler");
        let _ = fs::write(&filler, vec![b'x'; 1 << 20]);
        let unsaved = set(&lbd, "6").json();
        assert_eq!(unsaved["saved"]["state"], "no");
        assert!(
            unsaved["saved"]["reason"]
                .to_string()
                .contains("No space left"),
            "{unsaved}"
        );
        assert_eq!(weight(&lbd), 6);
        assert_eq!(lbd.status()["drift"][0]["running"], "6");
        assert!(lbd.status()["warnings"].to_string().contains("not saved"));
        assert!(
            fs::read_to_string(&target)
                .expect("the file")
                .contains("weight = 5")
        );
        fs::remove_file(&filler).expect("removed");
        wait_until("it is saved", Duration::from_secs(20), || {
            lbd.status()["drift"] == serde_json::json!([])
        });
        assert!(
            fs::read_to_string(&target)
                .expect("the file")
                .contains("weight = 6")
        );

        // Edited by hand: never written over.
        let by_hand = format!(
            "# by hand\n{}",
            fs::read_to_string(&target).expect("the file")
        );
        fs::write(&target, &by_hand).expect("written");
        let refused = set(&lbd, "7").exits(4);
        assert!(
            refused.stderr().contains("lbctl reload"),
            "{}",
            refused.stderr()
        );
        assert_eq!(fs::read_to_string(&target).expect("the file"), by_hand);
        lbd.ctl(&["reload"]).ok();
        set(&lbd, "7").ok();

        // A disk that cannot be written.
        let remount = |how: &str| {
            let done = Command::new("mount").args(["-o", how]).arg(&disk).status();
            assert!(done.expect("mount").success(), "{how}");
        };
        remount("remount,ro");
        let refused = set(&lbd, "8").exits(4);
        assert!(
            refused.stderr().contains("--runtime"),
            "{}",
            refused.stderr()
        );
        assert_eq!(weight(&lbd), 7);
        lbd.ctl(&["real", "set", "web", "rs1", "--weight", "8", "--runtime"])
            .ok();
        assert_eq!(weight(&lbd), 8);
        lbd.stop(Signal::SIGTERM);
        remount("remount,rw");
        let _ = Command::new("umount").arg("-l").arg(&disk).status();
    });
}

/// T25: lbd killed while commands write its file leaves the old or the new one.
#[test]
fn t25_a_killed_lbd_leaves_a_whole_file() {
    isolated_within(Duration::from_secs(120), || {
        let (_wire, mut lbd) = started();
        for round in 0..10 {
            let done = std::sync::atomic::AtomicU32::new(0);
            std::thread::scope(|scope| {
                let (lbd, done) = (&lbd, &done);
                scope.spawn(move || {
                    for weight in (1..=250).cycle() {
                        let weight = weight.to_string();
                        if lbd
                            .ctl(&["real", "set", "web", "rs1", "--weight", &weight])
                            .code()
                            != 0
                        {
                            return;
                        }
                        done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
                let enough = 3 + round;
                wait_until("commands come", Duration::from_secs(20), || {
                    done.load(std::sync::atomic::Ordering::Relaxed) >= enough
                });
                lbd.signal(Signal::SIGKILL);
            });
            lbd.wait_exit();
            let left = file(&lbd);
            assert!(
                left.starts_with(COMMENT) && left.matches("[[service.real]]").count() == 2,
                "{left}"
            );
            lbd.ctl(&["config", "check", text(&lbd.config_path())]).ok();
            lbd.spawn();
            lbd.wait_ready();
            assert_eq!(lbd.status()["last_good_in_use"], false);
        }
    });
}
