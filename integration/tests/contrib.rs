//! What is in `contrib/`: alert rules and dashboards, judged by Prometheus itself.

use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::daemon::Daemon;
use integration::isolated;
use integration::metrics::http_get;
use integration::netns::NetnsHandle;
use integration::topology::Wire;
use integration::wait_until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DASHBOARDS: [&str; 2] = ["lbd-overview.json", "lbd-service.json"];

/// Where the test's Prometheus listens, in its own network.
const PROMETHEUS: &str = "127.0.0.1:9090";

fn contrib(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the workspace").join("contrib").join(path)
}

fn read(path: &str) -> String {
    let path = contrib(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn promtool(args: &[&str], file: &str) {
    let output = Command::new("promtool")
        .args(args)
        .arg(contrib(file))
        .output();
    let output = output.expect("promtool, of the package prometheus, is needed");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// What stands behind `- alert: ` in the rules.
fn alerts(rules: &str) -> BTreeSet<&str> {
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.collect()
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool(&["check", "rules"], "prometheus/lbd.rules.yml");
    promtool(&["test", "rules"], "prometheus/lbd.rules.test.yml");
}

#[test]
fn every_alert_is_tested_and_says_what_to_do() {
    let rules = read("prometheus/lbd.rules.yml");
    let test = read("prometheus/lbd.rules.test.yml");
    let alerts = alerts(&rules);
    assert!(alerts.len() >= 17, "{alerts:?}");
    for alert in alerts {
        let fires = format!("alertname=\"{alert}\"");
        assert!(test.contains(&fires), "{alert} is shown to fire nowhere");
        let (_, rule) = rules
            .split_once(&format!("- alert: {alert}\n"))
            .expect("a rule");
        let rule = rule.split("- alert: ").next().expect("its text");
        for word in ["summary: ", "description: ", "severity: "] {
            assert!(rule.contains(word), "{alert} lacks {word}");
        }
    }
}

/// One query of a dashboard, as Grafana would ask it.
struct Query {
    panel: String,
    expr: String,
}

impl Query {
    /// Whether a healthy lbd has something to say to it: not where only trouble is shown, and not
    /// of what the test's services do not have.
    fn has_data(&self) -> bool {
        let none = [
            "> 0",
            "state!~",
            "observed_weight",
            "certificate_expiry",
            "changes(",
            "restored",
            "connect_duration",
        ];
        !none.iter().any(|part| self.expr.contains(part))
    }
}

/// A dashboard's queries with its variables filled in.
fn queries(dashboard: &Value, service: &str) -> Vec<Query> {
    let title = dashboard["title"].as_str().expect("a title");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let asked = panels.flat_map(|panel| {
        let of = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .map(move |target| (of.clone(), target["expr"].clone()))
    });
    let notes = dashboard["annotations"]["list"]
        .as_array()
        .expect("a list")
        .iter();
    let noted =
        notes.filter_map(|note| Some((note["name"].to_string(), note.get("expr")?.clone())));
    asked
        .chain(noted)
        .map(|(panel, expr)| Query {
            panel: format!("{title}, {panel}"),
            expr: expr
                .as_str()
                .expect("a query")
                .replace("$instance", ".*")
                .replace("$real", ".*")
                .replace("$service", service)
                .replace("$__rate_interval", "10s")
                .replace("$__interval", "10s"),
        })
        .collect()
}

fn dashboards() -> Vec<Value> {
    let parsed = DASHBOARDS.map(|name| serde_json::from_str(&read(&format!("grafana/{name}"))));
    parsed.map(|dashboard| dashboard.expect("JSON")).to_vec()
}

/// What Grafana's import needs, and nothing that belongs to the Grafana it was drawn in.
#[test]
fn dashboards_are_nobodys() {
    for dashboard in dashboards() {
        let title = &dashboard["title"];
        assert!(dashboard["id"].is_null(), "{title}");
        assert!(
            dashboard["uid"]
                .as_str()
                .is_some_and(|uid| uid.starts_with("lbd-")),
            "{title}"
        );
        assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "{title}");
        let variables = dashboard["templating"]["list"]
            .as_array()
            .expect("variables");
        assert_eq!(variables[0]["type"], "datasource", "{title}");
        let mut ids = BTreeSet::new();
        let mut places = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let what = format!("{title}, {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{what}");
            let at = &panel["gridPos"];
            let place = (at["y"].as_u64(), at["x"].as_u64());
            assert!(places.insert(place), "{what} lies on another");
            if panel["type"] != "row" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{what}");
                assert!(
                    panel["targets"].as_array().is_some_and(|t| !t.is_empty()),
                    "{what}"
                );
            }
        }
    }
}

/// `lbd_..` names in a text.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("lbd_") || word.starts_with("process_"));
    ours.collect()
}

/// Prometheus in the namespace of an lbd; it ends with the test.
struct Prometheus {
    netns: NetnsHandle,
    child: Child,
    _data: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(netns: NetnsHandle) -> Prometheus {
        let data = tempfile::tempdir().expect("a directory");
        let config = data.path().join("prometheus.yml");
        let text = "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n\
                    scrape_configs:\n\
                    - job_name: lbd\n  static_configs: [{targets: ['127.0.0.1:9380']}]\n";
        std::fs::write(&config, text).expect("written");
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let child = netns
            .command("prometheus")
            .arg(flag("config.file", &config))
            .arg(flag("storage.tsdb.path", &data.path().join("tsdb")))
            .arg(format!("--web.listen-address={PROMETHEUS}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is needed");
        Prometheus {
            netns,
            child,
            _data: data,
        }
    }

    fn get(&self, path: &str) -> Option<(u16, Value)> {
        let address: SocketAddr = PROMETHEUS.parse().expect("an address");
        let (status, body) = http_get(&self.netns, address, path).ok()?;
        Some((status, serde_json::from_str(&body).ok()?))
    }

    /// The series a query gives.
    fn ask(&self, expr: &str) -> Vec<Value> {
        let mut encoded = String::new();
        for byte in expr.bytes() {
            let _ = write!(encoded, "%{byte:02X}");
        }
        let answer = self.get(&format!("/api/v1/query?query={encoded}"));
        let (status, body) = answer.expect("an answer of Prometheus");
        assert_eq!(status, 200, "{expr}: {body}");
        body["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dashboards_show_a_running_lbd() {
    isolated(|| {
        let wire = Wire::new();
        let conf = Conf::one(ServiceConf::tcp("web", 80).pinned_reals(1..=3))
            .service(ServiceConf::udp("dns", 53).pinned_reals(1..=2))
            .service(
                ServiceConf::proxied("shop", 8080)
                    .check(FAST_TCP_CHECK)
                    .reals(1..=2),
            )
            .service(
                ServiceConf::proxied("talk", 5000)
                    .with("protocol", "\"udp\"")
                    .reals(1..=1),
            );
        let lbd = Daemon::start(&wire.lb, &conf);
        let prometheus = Prometheus::scraping(wire.lb.handle());
        // Rates need two scrapes; nothing is asked of a Prometheus that has not done them.
        wait_until("lbd was scraped", Duration::from_secs(30), || {
            let path = "/api/v1/query?query=count_over_time(lbd_ready%5B1m%5D)%3E3";
            prometheus.get(path).is_some_and(|(status, body)| {
                let series = body["data"]["result"].as_array().map_or(0, Vec::len);
                status == 200 && series == 1
            })
        });

        let mut asked = 0;
        for (dashboard, service) in dashboards().iter().flat_map(|d| [(d, "web"), (d, "shop")]) {
            for query in queries(dashboard, service) {
                // The other mode's panels are empty.
                let foreign = match service {
                    "web" => query.expr.contains("lbd_proxy_"),
                    _ => query.expr.contains("handshakes") || query.expr.contains("packets_total"),
                };
                let of_service = dashboard["uid"] == "lbd-service";
                // No check, no results.
                let unchecked = service == "web" && query.expr.contains("lbd_check_");
                let needed = query.has_data() && !(of_service && (foreign || unchecked));
                // After a scrape that came too late, gauges have no value until the next.
                let what = format!("{}: there is data: {}", query.panel, query.expr);
                wait_until(&what, Duration::from_secs(10), || {
                    let series = prometheus.ask(&query.expr);
                    !series.is_empty() || !needed
                });
                asked += 1;
            }
        }
        assert!(asked > 100, "{asked} queries");

        // Rules are about series that exist, too; they may have none in a healthy lbd.
        let known = source_of_metrics();
        let texts = [
            read("prometheus/lbd.rules.yml"),
            read("grafana/lbd-overview.json"),
            read("grafana/lbd-service.json"),
        ];
        for name in texts.iter().flat_map(|text| metric_names(text)) {
            let ends = ["_bucket", "_sum", "_count", ""].into_iter();
            let mut families = ends.filter_map(|end| name.strip_suffix(end));
            let exists = families.any(|family| known.contains(&format!("\"{family}\"")));
            assert!(exists, "there is no metric {name}");
        }
        drop(lbd);
    });
}

/// Where lbd's metrics get their names.
fn source_of_metrics() -> String {
    let rooms = ["control/metrics/families.rs", "probe/board.rs"];
    let texts = rooms.map(|room| {
        let path = contrib("../lbd/src").join(room);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    });
    texts.concat()
}
