//! Services and reals by command, as an operator types them: what is said, what stands in the file,
//! what runs.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::Daemon;
use integration::isolated;
use integration::stage::{PORT, Stage, web};
use integration::topology::{Offloads, Wire};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const COMMENT: &str = "# ours, since 2019\n";

fn started() -> (Wire, Daemon) {
    let wire = Wire::new();
    let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2));
    let mut lbd = Daemon::prepare(&wire.lb, &conf);
    lbd.write_text(&format!("{COMMENT}{}", file(&lbd)));
    lbd.spawn();
    lbd.wait_ready();
    (wire, lbd)
}

fn file(lbd: &Daemon) -> String {
    fs::read_to_string(lbd.config_path()).expect("the file")
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn services_and_reals_come_change_and_go() {
    isolated(|| {
        let (_wire, lbd) = started();
        let before = file(&lbd);
        let add = [
            "service",
            "add",
            "shop",
            "192.0.2.20:443/tcp",
            "--check",
            "type=tcp,interval=5s",
            "--scheduler",
            "wrr",
        ];
        let would = lbd.ctl(&[&add[..], &["--dry-run"]].concat()).ok().stdout();
        assert!(would.contains("it would change:"), "{would}");
        assert!(would.contains("+name = \"shop\""), "the lines: {would}");
        assert_eq!(file(&lbd), before, "a dry run");
        lbd.ctl(&add).ok();
        lbd.ctl(&[
            "real",
            "add",
            "shop",
            "192.0.2.21",
            "--name",
            "a",
            "--weight",
            "2",
        ])
        .ok();
        lbd.ctl(&["real", "add", "shop", "192.0.2.22"]).ok();
        let shop = lbd.service("shop");
        assert_eq!(shop["scheduler"], "wrr");
        assert_eq!(names(&shop["reals"]), ["a", "192.0.2.22"]);
        let text = file(&lbd);
        assert!(
            text.starts_with(&before),
            "what was there is as it was: {text}"
        );
        assert!(text.contains("interval = \"5s\""), "{text}");

        let set = lbd
            .ctl(&[
                "service",
                "set",
                "shop",
                "--idle-timeout",
                "5m",
                "--unset",
                "scheduler",
            ])
            .ok();
        assert!(
            set.stdout().contains("shop: idle_timeout: 15m -> 5m"),
            "{}",
            set.stdout()
        );
        assert_eq!(lbd.service("shop")["scheduler"], "maglev");
        lbd.ctl(&[
            "real",
            "set",
            "shop",
            "a",
            "--weight",
            "7",
            "--description",
            "the old one",
        ])
        .ok();
        assert_eq!(lbd.real("shop", "a")["weight"], 7);
        lbd.ctl(&["real", "remove", "shop", "192.0.2.22"]).ok();
        assert_eq!(names(&lbd.service("shop")["reals"]), ["a"]);
        let gone = lbd.ctl(&["service", "remove", "shop", "-o", "json"]).json();
        assert_eq!(
            (&gone["api_version"], &gone["saved"]["state"]),
            (&json!("v1"), &json!("yes"))
        );
        assert_eq!(file(&lbd).trim_end(), before.trim_end());
        assert_eq!(names(&lbd.status()["services"]), ["web"]);
        assert_eq!(lbd.status()["drift"], json!([]));
    });
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_check_and_changes_nothing() {
    isolated(|| {
        let (_wire, lbd) = started();
        let before = (file(&lbd), lbd.status()["revision"].clone());
        // A value of the wrong kind is a wrong command line; what would be no good configuration is 78,
        // what is there already 4, what is not there 3.
        for (args, codes, says) in [
            (
                &["real", "set", "web", "rs1", "--weight", "many"][..],
                &[2][..],
                "weight",
            ),
            (
                &["service", "set", "web", "--scheduler", "maglef"],
                &[2],
                "did you mean",
            ),
            (&["service", "add", "web", "192.0.2.20:80/tcp"], &[4], "web"),
            (
                &["service", "add", "b", "192.0.2.10:80/tcp"],
                &[2, 78],
                "192.0.2.10",
            ),
            (&["real", "add", "nowhere", "192.0.2.29"], &[3], "nowhere"),
            (
                &["real", "add", "web", "192.0.2.10"],
                &[2, 78],
                "192.0.2.10",
            ),
            (&["real", "remove", "web", "rs9"], &[3], "rs9"),
            (&["service", "remove", "nowhere"], &[3], "nowhere"),
            (&["service", "set", "web"], &[2], "--help"),
            (
                &["service", "set", "web", "--unset", "schedular"],
                &[2],
                "scheduler",
            ),
        ] {
            let answer = lbd.ctl(args);
            let said = answer.stderr();
            assert!(codes.contains(&answer.code()), "lbctl {args:?}: {said}");
            assert!(said.contains(says), "lbctl {args:?}: {said}");
            assert_eq!(answer.stdout(), "", "words belong on stderr");
        }
        assert_eq!((file(&lbd), lbd.status()["revision"].clone()), before);
    });
}

#[test]
fn removal_with_live_flows_says_how_many_and_lets_them_end() {
    isolated(|| {
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        let flows = stage.flows(40, Duration::from_millis(50));
        flows.wait_for_echoes();
        let of_rs1 = flows.by_server()["rs1"];
        let would = stage
            .lbd
            .ctl(&["real", "remove", "web", "rs1", "--dry-run"])
            .ok()
            .stdout();
        assert!(would.contains(&format!("its {of_rs1} flows")), "{would}");
        assert!(would.contains("Maglev slots"), "{would}");
        let done = stage
            .lbd
            .ctl(&["real", "remove", "web", "rs1"])
            .ok()
            .stdout();
        assert!(
            done.contains(&format!("its {of_rs1} flows linger as draining")),
            "{done}"
        );
        flows.wait_for_echoes();
        assert_eq!(flows.broken(), 0);
        assert_eq!(flows.by_server()["rs1"], of_rs1);
        let lingering = stage.lbd.real("web", "rs1");
        assert_eq!(
            (&lingering["state"], &lingering["removed"]),
            (&json!("draining"), &json!(true))
        );
        let now = stage.lbd.ctl(&["service", "remove", "web", "--now"]).ok();
        assert!(
            now.stdout()
                .contains("are treated at once as after its death"),
            "{}",
            now.stdout()
        );
        assert!(!file(&stage.lbd).contains("[[service]]"));
        flows.finish();
    });
}
