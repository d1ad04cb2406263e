//! Proxied services as operators and Prometheus see them.

use integration::conf::{Conf, RealConf, ServiceConf};
use integration::dial::{End, echo, read_to_end, round};
use integration::routed::{CLIENT, real};
use integration::stage::{PORT, REAL_PORT, RoutedStage, proxied, vip};
use integration::topology::VIP;
use integration::{isolated, wait_until};
use serde_json::Value;
use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

fn flows(stage: &RoutedStage, args: &[&str]) -> Vec<Value> {
    let mut line = vec!["flows", "-o", "json"];
    line.extend(args);
    let view = stage.lbd.ctl(&line).json();
    view["flows"].as_array().expect("flows").clone()
}

#[test]
fn flows_lists_connections_and_finds_the_one_asked_for() {
    isolated(|| {
        let conf = Conf::one(proxied(2).with("scheduler", "\"rr\""))
            .service(ServiceConf::proxied("other", 81).routed(1..=1, REAL_PORT));
        let stage = RoutedStage::new(2, &conf);
        let client = stage.net.cl.handle();
        let mut streams: Vec<TcpStream> = (0..4)
            .map(|_| echo(&client, vip()).expect("proxied").0)
            .collect();
        for stream in &mut streams {
            round(stream).expect("there and back");
        }
        let (_other, _) = echo(&client, (VIP, 81).into()).expect("proxied");
        let all = flows(&stage, &[]);
        assert_eq!(all.len(), 5, "{all:?}");
        let flow = all.iter().find(|f| f["service"] == "web").expect("web");
        for (key, value) in [("protocol", "tcp"), ("state", "established")] {
            assert_eq!(flow[key], value, "{flow}");
        }
        assert_eq!(flow["vip"], vip().to_string());
        let server = flow["server"].as_str().expect("where it was dialled");
        assert!(server.ends_with(&format!(":{REAL_PORT}")), "{flow}");
        // `ECHO` and its newline, then the round; the answer begins with a line of its own.
        assert_eq!(flow["bytes_in"], 10, "{flow}");
        assert!(flow["bytes_out"].as_u64() > Some(5), "{flow}");
        assert!(flow["age_ms"].as_u64().is_some(), "{flow}");

        let rs1 = format!("{}:{REAL_PORT}", real(1));
        let network = format!("{CLIENT}/24");
        for (args, count) in [
            (&["--service", "web"][..], 4),
            (&["--service", "other"], 1),
            (&["--real", "rs1"], 3),
            (&["--real", "rs1", "--service", "web"], 2),
            (&["--real", &rs1, "--service", "web"], 2),
            (&["--real", "rs9"], 0),
            (&["--client", &network], 5),
            (&["--client", "10.0.0.0/8"], 0),
        ] {
            assert_eq!(flows(&stage, args).len(), count, "{args:?}");
        }
        let view = stage
            .lbd
            .ctl(&["flows", "--limit", "3", "-o", "json"])
            .json();
        assert_eq!(view["flows"].as_array().map(Vec::len), Some(3));
        assert_eq!(view["truncated"], true);
        let view = stage
            .lbd
            .ctl(&["flows", "--limit", "5", "-o", "json"])
            .json();
        assert_eq!(view["truncated"], false, "five of five");
        let table = stage.lbd.ctl(&["flows"]).ok().stdout();
        for title in ["SERVER", "IN", "OUT", "AGE"] {
            assert!(
                table.lines().next().is_some_and(|l| l.contains(title)),
                "{table}"
            );
        }
    });
}

#[test]
fn explain_says_who_would_be_dialled_and_from_where() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(proxied(2)));
        let ask = || {
            let from = format!("{CLIENT}:40000");
            let args = ["explain", "tcp", &from, &vip().to_string(), "-o", "json"];
            stage.lbd.ctl(&args).json()
        };
        let view = ask();
        assert_eq!(
            (&view["verdict"], &view["service"]),
            (&"proxy".into(), &"web".into())
        );
        assert_eq!(view["source"], CLIENT.to_string(), "{view}");
        let chosen = view["real"].as_str().expect("a real").to_owned();
        let n = chosen[2..].parse().expect("rsN");
        assert_eq!(view["server"], format!("{}:{REAL_PORT}", real(n)), "{view}");
        let why: Vec<String> = view["candidates"]
            .as_array()
            .expect("candidates")
            .iter()
            .filter_map(|c| c["why_not"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(why, [format!("maglev chose {chosen}")]);

        for rs in ["rs1", "rs2"] {
            stage.lbd.ctl(&["real", "drain", "web", rs]).ok();
        }
        let view = ask();
        assert_eq!(
            (&view["verdict"], &view["drop_reason"]),
            (&"refuse".into(), &"no_real".into())
        );
    });
}

/// T39
#[test]
fn explain_passes_over_the_full_and_the_client_itself() {
    isolated(|| {
        let at_most_one = |n| {
            RealConf::new(&format!("rs{n}"), real(n))
                .dialled_at(REAL_PORT)
                .with("max_connections", "1")
        };
        let service = ServiceConf::proxied("web", PORT);
        let service = [1, 2]
            .into_iter()
            .map(at_most_one)
            .fold(service, ServiceConf::real);
        let stage = RoutedStage::new(2, &Conf::one(service));
        let ask = |client: &str| {
            let args = ["explain", "tcp", client, &vip().to_string(), "-o", "json"];
            stage.lbd.ctl(&args).json()
        };
        let why = |view: &Value, name: &str| {
            let candidates = view["candidates"].as_array().expect("candidates");
            let candidate = candidates.iter().find(|c| c["name"] == name);
            candidate.expect("a candidate")["why_not"].clone()
        };
        let view = ask(&format!("{}:40000", real(1)));
        assert_eq!(view["real"], "rs2", "{view}");
        assert_eq!(why(&view, "rs1"), "it is the client itself");

        let client = stage.net.cl.handle();
        let (_first, who) = echo(&client, vip()).expect("proxied");
        let view = ask(&format!("{CLIENT}:40000"));
        assert_ne!(view["real"], who.server, "{view}");
        assert_eq!(
            why(&view, &who.server),
            "it has all the connections it takes (1)"
        );
        let (_second, _) = echo(&client, vip()).expect("proxied");
        let view = ask(&format!("{CLIENT}:40000"));
        assert_eq!(
            (&view["verdict"], &view["drop_reason"]),
            (&"refuse".into(), &"full".into())
        );
        let table = [
            "explain",
            "tcp",
            &format!("{CLIENT}:40000"),
            &vip().to_string(),
        ];
        let table = stage.lbd.ctl(&table).ok().stdout();
        assert!(table.contains("refuse: full"), "{table}");
    });
}

#[test]
fn metrics_tell_of_connections_bytes_and_ends() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        let (mut stream, _) = echo(&stage.net.cl.handle(), vip()).expect("proxied");
        round(&mut stream).expect("there and back");
        let web = ("service", "web");
        let metrics = stage.lbd.metrics();
        assert_eq!(metrics.value("lbd_proxy_connections", &[web]) as u64, 1);
        let labels = [web, ("real", "rs1")];
        let count = metrics.value("lbd_proxy_connect_duration_seconds_count", &labels);
        assert_eq!(count as u64, 1);
        assert!(
            !metrics.has("lbd_service_packets_total", &[web]),
            "nobody knows them"
        );
        drop(stream);
        wait_until("the connection has ended", SOON, || {
            let ended = [web, ("result", "ok")];
            stage
                .lbd
                .metrics()
                .value("lbd_proxy_connections_total", &ended) as u64
                == 1
        });
        let metrics = stage.lbd.metrics();
        assert_eq!(metrics.value("lbd_proxy_connections", &[web]) as u64, 0);
        for (direction, least) in [("in", 10), ("out", 6)] {
            let labels = [web, ("direction", direction)];
            let bytes = metrics.value("lbd_proxy_bytes_total", &labels) as u64;
            assert!(bytes >= least, "{direction}: {bytes}");
        }
    });
}

#[test]
fn a_proxied_service_shows_how_it_is_dialled() {
    isolated(|| {
        let service = proxied(1)
            .proxy("send_proxy", "\"v2\"")
            .proxy("max_connections", "70");
        let stage = RoutedStage::new(1, &Conf::one(service));
        let view = stage
            .lbd
            .ctl(&["service", "show", "web", "-o", "json"])
            .json();
        assert_eq!(view["proxy"]["send_proxy"], "v2");
        assert_eq!(view["proxy"]["max_connections"], 70);
        assert_eq!(view["packets"], Value::Null);
        assert_eq!(view["reals"][0]["dial"]["port"], REAL_PORT);
        let place = format!("{}:{REAL_PORT}", real(1));
        for args in [
            &["status"][..],
            &["real", "list"],
            &["service", "show", "web"],
        ] {
            let table = stage.lbd.ctl(args).ok().stdout();
            assert!(table.contains(&place), "{args:?}: {table}");
        }
        let shown = stage
            .lbd
            .ctl(&["real", "show", "web", &place])
            .ok()
            .stdout();
        assert!(!shown.contains("MAC"), "{shown}");
    });
}

#[test]
fn a_drain_waits_for_connections_and_disable_resets_them() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        let client = stage.net.cl.handle();
        let (mut kept, _) = echo(&client, vip()).expect("proxied");
        let waiting = stage
            .lbd
            .ctl_command(&["real", "drain", "web", "rs1", "--wait", "--timeout", "30s"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut waiting = waiting.expect("lbctl");
        stage.lbd.wait_real("web", "rs1", "draining", SOON);
        round(&mut kept).expect("it goes on");
        assert!(waiting.try_wait().expect("lbctl").is_none(), "it waits");
        kept.shutdown(Shutdown::Write).expect("done");
        assert_eq!(read_to_end(&mut kept).0, End::Closed);
        drop(kept);
        let status = waiting.wait().expect("lbctl");
        let mut said = String::new();
        let mut stderr = waiting.stderr.take().expect("piped");
        stderr.read_to_string(&mut said).expect("words");
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("rs1 has no flows left"), "{said}");

        stage.lbd.ctl(&["real", "enable", "web", "rs1"]).ok();
        let (mut cut, _) = echo(&client, vip()).expect("proxied");
        stage.lbd.ctl(&["real", "disable", "web", "rs1"]).ok();
        assert_eq!(read_to_end(&mut cut).0, End::Reset);
    });
}
