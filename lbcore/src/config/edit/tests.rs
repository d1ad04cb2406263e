#![allow(clippy::unwrap_used)]

mod laws;

use super::*;
use serde_json::json;

fn keys(value: Value) -> Keys {
    value.as_object().unwrap().clone()
}

fn place(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(place) => place,
        Err(_) => SocketAddr::new(text.parse().unwrap(), 0),
    }
}

fn set(service: &str, value: Value) -> Edit {
    Edit::SetService {
        service: service.into(),
        keys: keys(value),
    }
}

fn set_real(service: &str, real: &str, value: Value) -> Edit {
    Edit::SetReal {
        service: service.into(),
        real: place(real),
        keys: keys(value),
    }
}

fn add_real(service: &str, value: Value) -> Edit {
    Edit::AddReal {
        service: service.into(),
        keys: keys(value),
    }
}

fn remove_real(service: &str, real: &str) -> Edit {
    Edit::RemoveReal {
        service: service.into(),
        real: place(real),
    }
}

fn edited(text: &str, edits: &[Edit]) -> String {
    match edit(&Sources::one("lbd.toml", text), edits) {
        Ok(edited) => edited.sources.main.text,
        Err(EditError::Bad { sources, faults }) => {
            panic!("{}\n{}", sources.main.text, sources.render(&faults, false))
        }
        Err(error) => panic!("{error}"),
    }
}

/// A file as people write them.
const BLOCKS: &str = r#"# The shop's balancer.

[network]
interface = "eth0"   # the uplink

# --- the shop ---

# Everybody buys here.
[[service]]
name      = "web"
vip       = [
    "192.0.2.10",    # old
    "192.0.2.11",    # new
]
port      = 80       # plain
scheduler = "maglev"

[[service.check]]
type = "tcp"         # enough

# the first
[[service.real]]
name    = "rs1"
address = "192.0.2.21"
weight  = 1          # small

# the second
[[service.real]]
name    = "rs2"
address = "192.0.2.22"
# weight = 2

# --- names ---

[[service]]
name = "dns"
vip = "192.0.2.12"
port = 53
protocol = "udp"
real = [
    { address = "192.0.2.31" }, # one
    { address = "192.0.2.32", weight = 2 }  # two
]
"#;

/// The lines that differ, `-` before and `+` after.
fn changed_lines(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let prefix = old.iter().zip(&new).take_while(|(o, n)| o == n).count();
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let suffix = old.iter().rev().zip(new.iter().rev());
    let suffix = suffix.take_while(|(o, n)| o == n).count();
    let gone = old[..old.len() - suffix]
        .iter()
        .map(|line| format!("-{line}\n"));
    let come = new[..new.len() - suffix]
        .iter()
        .map(|line| format!("+{line}\n"));
    gone.chain(come).collect()
}

#[track_caller]
fn changes(edits: &[Edit], expected: &str) {
    let after = edited(BLOCKS, edits);
    assert_eq!(changed_lines(BLOCKS, &after), expected, "{after}");
}

#[test]
fn a_value_is_replaced_where_it_stands() {
    changes(
        &[set_real("web", "192.0.2.21", json!({"weight": 5}))],
        "-weight  = 1          # small\n+weight  = 5          # small\n",
    );
    changes(
        &[set("web", json!({"scheduler": "rr"}))],
        "-scheduler = \"maglev\"\n+scheduler = \"rr\"\n",
    );
    changes(
        &[set_real(
            "dns",
            "192.0.2.32",
            json!({"weight": 5, "backup": true}),
        )],
        "-    { address = \"192.0.2.32\", weight = 2 }  # two\n\
         +    { address = \"192.0.2.32\", weight = 5, backup = true }  # two\n",
    );
    changes(&[set("web", json!({"scheduler": "maglev"}))], "");
}

#[test]
fn a_key_comes_after_the_others_and_below_their_equals_signs() {
    changes(
        &[set("web", json!({"admin": "drain", "min_healthy": 2}))],
        "+admin     = \"drain\"\n+min_healthy = 2\n",
    );
    changes(
        &[set_real("web", "192.0.2.22", json!({"weight": 2}))],
        "+weight  = 2\n",
    );
    changes(
        &[set_real("dns", "192.0.2.31", json!({"weight": 0}))],
        "-    { address = \"192.0.2.31\" }, # one\n+    { address = \"192.0.2.31\", weight = 0 }, # one\n",
    );
}

#[test]
fn a_key_goes_and_its_comment_stays() {
    changes(
        &[set_real("web", "192.0.2.21", json!({"weight": null}))],
        "-weight  = 1          # small\n+# small\n",
    );
    changes(
        &[set_real("dns", "192.0.2.32", json!({"weight": null}))],
        "-    { address = \"192.0.2.32\", weight = 2 }  # two\n+    { address = \"192.0.2.32\" }  # two\n",
    );
    changes(&[set("web", json!({"admin": null}))], "");
}

#[test]
fn lists_of_values_keep_what_stays() {
    changes(
        &[set(
            "web",
            json!({"vip": ["192.0.2.10", "192.0.2.11", "2001:db8::1"]}),
        )],
        "+    \"2001:db8::1\",\n",
    );
    changes(
        &[set("web", json!({"vip": ["192.0.2.11"]}))],
        "-    \"192.0.2.10\",    # old\n+    # old\n",
    );
    changes(
        &[set("web", json!({"vip": "192.0.2.10"}))],
        "-vip       = [\n-    \"192.0.2.10\",    # old\n-    \"192.0.2.11\",    # new\n-]\n\
         +# old\n+# new\n+vip       = \"192.0.2.10\"\n",
    );
    changes(
        &[set("web", json!({"port": [80, 443]}))],
        "-port      = 80       # plain\n+port      = [80, 443]       # plain\n",
    );
}

#[test]
fn a_section_comes_where_it_belongs() {
    changes(
        &[add_real(
            "web",
            json!({"address": "192.0.2.23", "name": "rs3"}),
        )],
        "+[[service.real]]\n+name = \"rs3\"\n+address = \"192.0.2.23\"\n+\n",
    );
    changes(
        &[add_real("dns", json!({"address": "192.0.2.33"}))],
        "-    { address = \"192.0.2.32\", weight = 2 }  # two\n\
         +    { address = \"192.0.2.32\", weight = 2 },  # two\n+    { address = \"192.0.2.33\" }\n",
    );
    changes(
        &[set("dns", json!({"check": [{"type": "udp", "send": "x"}]}))],
        "+\n+[[service.check]]\n+type = \"udp\"\n+send = \"x\"\n",
    );
    let service = json!({
        "real": [{"address": "10.0.0.1", "port": 8080}],
        "proxy": {"retries": 1},
        "check": [{"type": "http", "headers": {"X-A": "b c"}}],
        "labels": {"a.b": "c"},
        "mode": "tproxy", "port": 8080, "vip": "192.0.2.13", "name": "app",
    });
    changes(
        &[Edit::AddService {
            keys: keys(service),
        }],
        r#"+
+[[service]]
+name = "app"
+labels = { "a.b" = "c" }
+vip = "192.0.2.13"
+port = 8080
+mode = "tproxy"
+
+[[service.check]]
+type = "http"
+headers = { X-A = "b c" }
+
+[[service.real]]
+address = "10.0.0.1"
+port = 8080
+
+[service.proxy]
+retries = 1
"#,
    );
}

#[test]
fn a_section_goes_with_its_own_comments_and_no_others() {
    changes(
        &[remove_real("web", "192.0.2.21")],
        "-# the first\n-[[service.real]]\n-name    = \"rs1\"\n-address = \"192.0.2.21\"\n\
         -weight  = 1          # small\n-\n",
    );
    changes(
        &[remove_real("web", "192.0.2.22")],
        "-# the second\n-[[service.real]]\n-name    = \"rs2\"\n-address = \"192.0.2.22\"\n-# weight = 2\n-\n",
    );
    changes(
        &[remove_real("dns", "192.0.2.31")],
        "-    { address = \"192.0.2.31\" }, # one\n+    # one\n",
    );
    let without = edited(
        BLOCKS,
        &[Edit::RemoveService {
            service: "web".into(),
        }],
    );
    assert_eq!(
        without.lines().take(10).collect::<Vec<_>>(),
        [
            "# The shop's balancer.",
            "",
            "[network]",
            "interface = \"eth0\"   # the uplink",
            "",
            "# --- the shop ---",
            "",
            "# --- names ---",
            "",
            "[[service]]",
        ]
    );
    let without = edited(
        BLOCKS,
        &[Edit::RemoveService {
            service: "dns".into(),
        }],
    );
    assert!(
        without.ends_with("# weight = 2\n\n# --- names ---\n"),
        "{without}"
    );
}

#[test]
fn a_list_of_sections_replaces_the_old_one_and_touches_what_differs() {
    changes(
        &[set(
            "web",
            json!({"check": [{"type": "tcp", "interval": "5s"}, {"type": "icmp"}]}),
        )],
        "+interval = \"5s\"\n+\n+[[service.check]]\n+type = \"icmp\"\n",
    );
    changes(
        &[set("web", json!({"check": []}))],
        "-[[service.check]]\n-type = \"tcp\"         # enough\n-\n",
    );
    let reals = json!([
        {"name": "rs2", "address": "192.0.2.22"},
        {"name": "rs4", "address": "192.0.2.24"},
    ]);
    let after = edited(BLOCKS, &[set("web", json!({ "real": reals }))]);
    assert!(
        !after.contains("rs1") && after.contains("# the second"),
        "{after}"
    );
}

#[test]
fn other_shapes_of_the_same_thing() {
    let head = "[network]\ninterface = \"eth0\"\n";
    let tproxy = "name = \"a\"\nvip = \"192.0.2.10\"\nport = 80\nmode = \"tproxy\"\n";
    let retries = |n: u32| set("a", json!({"proxy": {"retries": n, "source": "self"}}));
    for (before, after) in [
        // Dotted keys.
        (
            format!(
                "{head}[[service]]\n{tproxy}proxy.retries = 1 # once\n\n[[service.real]]\naddress = \"10.0.0.1\"\n"
            ),
            format!(
                "{head}[[service]]\n{tproxy}proxy.retries = 3 # once\nproxy.source = \"self\"\n\n[[service.real]]\naddress = \"10.0.0.1\"\n"
            ),
        ),
        // An inline table.
        (
            format!("{head}[[service]]\n{tproxy}proxy = {{ retries = 1 }}\n"),
            format!("{head}[[service]]\n{tproxy}proxy = {{ retries = 3, source = \"self\" }}\n"),
        ),
        // An empty one.
        (
            format!("{head}[[service]]\n{tproxy}proxy = {{}}\n"),
            format!("{head}[[service]]\n{tproxy}proxy = {{ retries = 3, source = \"self\" }}\n"),
        ),
        // A section of its own, indented.
        (
            format!("{head}[[service]]\n{tproxy}\n  [service.proxy]\n    retries=1\n"),
            format!(
                "{head}[[service]]\n{tproxy}\n  [service.proxy]\n    retries=3\n    source = \"self\"\n"
            ),
        ),
        // Nothing yet, and no newline at the end.
        (
            format!("{head}[[service]]\n{}", tproxy.trim_end()),
            format!(
                "{head}[[service]]\n{tproxy}\n[service.proxy]\nsource = \"self\"\nretries = 3\n"
            ),
        ),
        // The whole service on one line.
        (
            format!(
                "service = [{{ name = \"a\", vip = \"192.0.2.10\", port = 80, mode = 'tproxy', proxy.retries = 1 }}]\n{head}"
            ),
            format!(
                "service = [{{ name = \"a\", vip = \"192.0.2.10\", port = 80, mode = 'tproxy', proxy.retries = 3, proxy.source = \"self\" }}]\n{head}"
            ),
        ),
        // Line ends of another system.
        (
            format!("{head}[[service]]\n{tproxy}proxy.retries = 1\n").replace('\n', "\r\n"),
            format!("{head}[[service]]\n{tproxy}proxy.retries = 3\nproxy.source = \"self\"\n")
                .replace('\n', "\r\n"),
        ),
        // A byte order mark.
        (
            format!("\u{feff}{head}[[service]]\n{tproxy}proxy.retries = 1\n"),
            format!(
                "\u{feff}{head}[[service]]\n{tproxy}proxy.retries = 3\nproxy.source = \"self\"\n"
            ),
        ),
    ] {
        assert_eq!(edited(&before, &[retries(3)]), after);
    }
}

#[test]
fn inline_lists_grow_and_shrink_in_every_shape() {
    let file = |reals: &str| {
        format!(
            "service = [{{name = \"a\", vip = \"192.0.2.10\", port = 80, real = {reals}}}]\nnetwork.interface = \"eth0\"\n"
        )
    };
    let a = "{address = \"10.0.0.1\"}";
    let b = "{ address = \"10.0.0.2\" }";
    for (before, after) in [
        ("[]".to_owned(), format!("[{b}]")),
        (format!("[{a}]"), format!("[{a}, {b}]")),
        (format!("[ {a} ]"), format!("[ {a}, {b} ]")),
        (format!("[{a},]"), format!("[{a}, {b},]")),
        (format!("[\n  {a}\n]"), format!("[\n  {a},\n  {b}\n]")),
        (
            format!("[\n  {a}, # x\n]"),
            format!("[\n  {a}, # x\n  {b},\n]"),
        ),
        (format!("[{a} # x\n]"), format!("[{a}, # x\n {b}\n]")),
    ] {
        let add = add_real("a", json!({"address": "10.0.0.2"}));
        let grown = edited(&file(&before), std::slice::from_ref(&add));
        assert_eq!(grown, file(&after));
        let shrunk = edited(&grown, &[remove_real("a", "10.0.0.2")]);
        let comments = |text: &str| trivia::comments(text).len();
        assert_eq!(comments(&shrunk), comments(&before));
        assert_eq!(edited(&shrunk, &[add]), grown, "{before}");
    }
}

#[test]
fn services_of_included_files_are_changed_there() {
    let mut sources = Sources::one("/etc/lbd/lbd.toml", "[network]\ninterface = \"eth0\"\n");
    sources.included.push(SourceFile {
        path: "/etc/lbd/conf.d/a.toml".into(),
        text: "[[service]]\nname = \"a\"\nvip = \"192.0.2.10\"\nport = 80\n".into(),
    });
    let new = Edit::AddService {
        keys: keys(json!({"name": "b", "vip": "192.0.2.11", "port": 80})),
    };
    let edited = edit(&sources, &[set("a", json!({"scheduler": "rr"})), new]).unwrap();
    assert!(
        edited.sources.included[0]
            .text
            .ends_with("port = 80\nscheduler = \"rr\"\n")
    );
    assert!(
        edited
            .sources
            .main
            .text
            .ends_with("\n\n[[service]]\nname = \"b\"\nvip = \"192.0.2.11\"\nport = 80\n")
    );
    assert_eq!(edited.checked.config.services.len(), 2);

    let clash = Edit::AddService {
        keys: keys(json!({"name": "b", "vip": "192.0.2.10", "port": 80})),
    };
    let Err(EditError::Bad { sources, faults }) = edit(&sources, &[clash]) else {
        panic!("two services with one VIP");
    };
    let said = sources.line(&faults[0]);
    assert!(
        said.starts_with("/etc/lbd/conf.d/a.toml:3:7: service[a].vip: "),
        "{said}"
    );
    assert!(said.contains("`b` (line 6 of /etc/lbd/lbd.toml)"), "{said}");
}

#[test]
fn what_cannot_be_is_refused_and_said() {
    let sources = Sources::one("lbd.toml", BLOCKS);
    let said = |edits: &[Edit]| edit(&sources, edits).unwrap_err().to_string();
    for (edits, words) in [
        (set("shop", json!({})), "there is no service shop"),
        (
            remove_real("web", "192.0.2.99"),
            "service web has no real 192.0.2.99",
        ),
        (
            remove_real("web", "192.0.2.21:80"),
            "service web has no real 192.0.2.21:80",
        ),
        (
            add_real("web", json!({"address": "192.0.2.21"})),
            "service web has a real 192.0.2.21 already",
        ),
        (
            Edit::AddService {
                keys: keys(json!({"name": "web"})),
            },
            "there is a service web already",
        ),
        (
            set("web", json!({"vip": ["192.0.2.10", null]})),
            "vip: null cannot stand inside a list",
        ),
        (
            set("web", json!({"port": u64::MAX})),
            "port: the number is too large",
        ),
        (
            set_real("web", "192.0.2.21", json!({"weight": 257})),
            "it would be no good configuration: service[web].real[rs1].weight: `257` is out of range (a weight is 0-256)",
        ),
        (
            set("web", json!({"schedular": "rr"})),
            "it would be no good configuration: service[web].schedular: unknown key `schedular` in [[service]] (did you mean `scheduler`?)",
        ),
        (set("web", json!({"dead_grace": 1.5})), "a float"),
    ] {
        let said = said(&[edits]);
        assert!(said.contains(words), "{said}");
    }
    let broken = Sources::one("lbd.toml", "[[service]\n");
    let error = edit(&broken, &[set("web", json!({}))]).unwrap_err();
    assert_eq!(error.to_string(), "lbd.toml is no TOML file");
}

#[test]
fn what_was_set_and_is_unset_leaves_no_trace() {
    for (there, back) in [
        (
            set("web", json!({"admin": "drain"})),
            set("web", json!({"admin": null})),
        ),
        (
            set("web", json!({"labels": {"a": "b"}})),
            set("web", json!({"labels": null})),
        ),
        (
            set_real("dns", "192.0.2.31", json!({"weight": 7})),
            set_real("dns", "192.0.2.31", json!({"weight": null})),
        ),
        (
            add_real("web", json!({"address": "192.0.2.23"})),
            remove_real("web", "192.0.2.23"),
        ),
        (
            set("dns", json!({"check": [{"type": "icmp"}]})),
            set("dns", json!({"check": []})),
        ),
        (
            Edit::AddService {
                keys: keys(json!({"name": "x", "vip": "192.0.2.9", "port": 1})),
            },
            Edit::RemoveService {
                service: "x".into(),
            },
        ),
    ] {
        let changed = edited(BLOCKS, &[there]);
        assert_ne!(changed, BLOCKS);
        assert_eq!(edited(&changed, &[back]), BLOCKS);
    }
}

#[test]
fn the_samples_can_be_changed_and_keep_their_comments() {
    for text in [
        include_str!("../../../../config/lbd.toml"),
        include_str!("../../../../config/dr-minimal.toml"),
        include_str!("../../../../config/tproxy.toml"),
    ] {
        let config = crate::config::parse(text).unwrap();
        for service in &config.services {
            let name = &service.name;
            let mut edits = vec![
                set(
                    name,
                    json!({"description": "x", "labels": {"team": "y"}, "min_healthy": 0}),
                ),
                set(name, json!({"min_healthy": null, "labels": null})),
                add_real(name, json!({"address": "203.0.113.77", "weight": 2})),
            ];
            edits.extend(service.reals.iter().map(|real| Edit::SetReal {
                service: name.clone(),
                real: real.place(),
                keys: keys(json!({"weight": 9, "description": null, "admin": "drain"})),
            }));
            let after = edited(text, &edits);
            let mut left = trivia::comments(&after).into_iter().map(|at| &after[at]);
            for comment in trivia::comments(text).into_iter().map(|at| &text[at]) {
                assert!(
                    left.any(|left| left == comment),
                    "{comment} is gone or moved\n{after}"
                );
            }
            let config = crate::config::parse(&after).unwrap();
            let changed = config.services.iter().find(|s| s.name == *name).unwrap();
            assert!(changed.reals.iter().all(|r| [2, 9].contains(&r.weight)));
        }
    }
}
