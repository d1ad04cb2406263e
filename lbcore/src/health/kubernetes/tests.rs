//! T33, and every line of what kube-proxy and Cilium are known to answer.

use super::*;
use proptest::prelude::*;

fn web() -> ServiceName {
    ServiceName {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
    }
}

/// As kube-proxy writes it: indented by tabs, no newline at the end.
fn kube_proxy(name: &str, endpoints: &str, healthy: bool) -> String {
    format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"{name}\"\n\t}},\n\
         \t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}"
    )
}

fn asked(status: u16, weight: Option<&str>, body: &str) -> Verdict {
    let weight = weight.map(str::as_bytes);
    let body = body.as_bytes();
    judge(
        Answer {
            status,
            weight,
            body,
        },
        Some(&web()),
    )
}

fn own(status: u16, body: &str) -> Verdict {
    let body = body.as_bytes();
    judge(
        Answer {
            status,
            weight: None,
            body,
        },
        None,
    )
}

fn serves(found: &str, weight: u16) -> Verdict {
    let (found, weight) = (found.to_owned(), Some(weight));
    Verdict::Serves { found, weight }
}

fn drains(why: &str) -> Verdict {
    Verdict::Drains(why.to_owned())
}

fn fails(why: &str) -> Verdict {
    Verdict::Fails(why.to_owned())
}

#[test]
fn t33_table_of_answers() {
    let two = kube_proxy("web", "2", true);
    let none = kube_proxy("web", "0", true);
    let cases = [
        (
            "200 is up",
            asked(200, None, &two),
            serves("http 200, 2 endpoints", 2),
        ),
        (
            "503 drains",
            asked(503, Some("0"), &none),
            drains("http 503: no local endpoints"),
        ),
        (
            "500 is a failure",
            asked(500, None, &none),
            fails("http 500"),
        ),
        (
            "a redirect is an answer as any",
            asked(302, None, ""),
            fails("http 302"),
        ),
        (
            "no endpoints, though 200",
            asked(200, None, &none),
            drains("http 200: no local endpoints"),
        ),
        (
            "the header goes before the body",
            asked(200, Some("7"), &two),
            serves("http 200, 7 endpoints", 7),
        ),
        (
            "clamped",
            asked(200, Some("300"), &two),
            serves("http 200, 256 endpoints", 256),
        ),
        (
            "clamped, however long",
            asked(200, Some("99999999999999999999999999"), &two),
            serves("http 200, 256 endpoints", 256),
        ),
        (
            "no number",
            asked(200, Some("-3"), &two),
            serves("http 200, 2 endpoints, its weight header \"-3\" ignored", 2),
        ),
        (
            "0 by the header alone",
            asked(200, Some("0"), &two),
            serves("http 200, 0 endpoints", 0),
        ),
        (
            "no JSON",
            asked(503, None, "<html>"),
            fails("http 503, but its body is not a node's"),
        ),
        (
            "another Service has the port",
            asked(200, Some("2"), &kube_proxy("mail", "2", true)),
            drains("its port answers for default/mail, not for default/web"),
        ),
    ];
    for (case, found, expected) in cases {
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_sick_kube_proxy_sends_the_count_with_503_and_drains() {
    let sick = kube_proxy("web", "2", false);
    let expected = drains("http 503: kube-proxy there is not healthy");
    assert_eq!(asked(503, Some("2"), &sick), expected);
}

#[test]
fn old_kube_proxies_say_nothing_of_their_own_health_and_send_no_weight() {
    let old = r#"{"service": {"namespace": "default", "name": "web"}, "localEndpoints": 1}"#;
    assert_eq!(asked(200, None, old), serves("http 200, 1 endpoint", 1));
    assert_eq!(asked(503, None, old), drains("http 503"));
}

#[test]
fn fields_to_come_are_ignored() {
    let new = r#"{"service":{"namespace":"default","name":"web","uid":[1]},"localEndpoints":3,"zone":{}}"#;
    assert_eq!(asked(200, None, new), serves("http 200, 3 endpoints", 3));
}

#[test]
fn ciliums_compact_line_with_its_newline() {
    let line = |count: u32| {
        format!(
            "{{\"service\":{{\"namespace\":\"default\",\"name\":\"web\"}},\"localEndpoints\":{count}}}\n"
        )
    };
    let up = serves("http 200, 3 endpoints", 3);
    assert_eq!(asked(200, Some("3"), &line(3)), up);
    let empty = drains("http 503: no local endpoints");
    assert_eq!(asked(503, Some("0"), &line(0)), empty);
}

#[test]
fn trap_1_200_with_an_empty_body_while_the_service_is_removed_is_a_failure() {
    let words = "http 200 without a body: the Service is perhaps being removed";
    assert_eq!(asked(200, None, ""), fails(words));
    assert_eq!(asked(200, None, " \n"), fails(words));
}

#[test]
fn trap_2_a_foreign_identity_drains_whatever_the_status_and_names_both() {
    for (status, endpoints) in [(200, "5"), (503, "0")] {
        let body = kube_proxy("web", endpoints, true).replace("default", "shop");
        let words = "its port answers for shop/web, not for default/web";
        assert_eq!(asked(status, None, &body), drains(words));
    }
}

#[test]
fn a_hostile_identity_is_told_escaped_and_short() {
    let body = kube_proxy(&format!("\\u001b[2J{}", "x".repeat(9_000)), "1", true);
    let Verdict::Drains(words) = asked(200, None, &body) else {
        panic!("another identity drains")
    };
    assert!(words.len() < 300 && words.contains("\\u{1b}"), "{words}");
}

#[test]
fn an_answer_that_does_not_count_needs_the_header() {
    let silent = r#"{"service":{"namespace":"default","name":"web"}}"#;
    let words = "http 200, but it counts no endpoints";
    assert_eq!(asked(200, None, silent), fails(words));
    let words = "http 200, but it counts no endpoints, its weight header \"\" ignored";
    assert_eq!(asked(200, Some(""), silent), fails(words));
    assert_eq!(
        asked(200, Some("4"), silent),
        serves("http 200, 4 endpoints", 4)
    );
    assert_eq!(asked(503, None, silent), drains("http 503"));
}

#[test]
fn bodies_that_are_no_nodes_are_failures() {
    let deep = "[".repeat(10_000);
    let twice =
        r#"{"service":{"namespace":"default","name":"web"},"localEndpoints":1,"localEndpoints":2}"#;
    for body in [
        "null",
        "[]",
        "7",
        "{\"service\":null}",
        "{\"service\":{\"name\":\"web\"}}",
        &kube_proxy("web", "-1", true),
        &kube_proxy("web", "1.5", true),
        &kube_proxy("web", "99999999999999999999", true),
        &kube_proxy("web", "2", true)[..40],
        "\0\0",
        &deep,
        twice,
    ] {
        for status in [200, 503] {
            let found = asked(status, Some("2"), body);
            assert!(matches!(found, Verdict::Fails(_)), "{body:.80}: {found:?}");
        }
    }
}

/// The contract of the header: a non-negative number in decimal.
#[test]
fn weights_in_the_header() {
    for (text, expected) in [
        ("0", Some(0)),
        ("00", Some(0)),
        ("1", Some(1)),
        (" 12 ", Some(12)),
        ("256", Some(256)),
        ("257", Some(256)),
        ("0000000300", Some(256)),
        ("2.", Some(2)),
        ("2.4", Some(2)),
        ("2.5", Some(3)),
        ("0.01", Some(1)),
        ("0.0", Some(0)),
        ("255.9", Some(256)),
        ("", None),
        (".5", None),
        ("+1", None),
        ("-0", None),
        ("1e3", None),
        ("0x10", None),
        ("NaN", None),
        ("inf", None),
        ("1 2", None),
        ("1.2.3", None),
        ("٣", None),
    ] {
        assert_eq!(weight(text.as_bytes()).ok(), expected, "{text:?}");
    }
    assert!(weight(&[b'1'; 65]).is_err());
    assert_eq!(weight(&[0xff]), Err("\"\u{fffd}\"".to_owned()));
}

#[test]
fn kube_proxys_own_health_for_policy_cluster() {
    let body = |eligible: &str| {
        format!("{{\"lastUpdated\": \"2026-01-01 00:00:00\",\"currentTime\": \"x\"{eligible}}}")
    };
    let up = Verdict::Serves {
        found: "http 200".to_owned(),
        weight: None,
    };
    assert_eq!(own(200, &body(", \"nodeEligible\": true")), up);
    assert_eq!(own(200, &body("")), up, "/livez and old kube-proxies");
    let leaving = |status| drains(&format!("http {status}: the node is being removed"));
    for status in [200, 503] {
        assert_eq!(
            own(status, &body(", \"nodeEligible\": false")),
            leaving(status)
        );
    }
    let sick = drains("http 503: kube-proxy there is not healthy");
    assert_eq!(own(503, &body(", \"nodeEligible\": true")), sick);
    assert_eq!(own(500, &body("")), fails("http 500"));
    assert!(matches!(own(200, ""), Verdict::Fails(_)));
    assert!(matches!(own(200, "ok"), Verdict::Fails(_)));
}

#[test]
fn kube_proxys_own_health_where_a_service_is_expected_is_a_failure_with_the_reason() {
    let body = r#"{"lastUpdated": "a","currentTime": "b","nodeEligible":true}"#;
    let Verdict::Fails(words) = asked(200, None, body) else {
        panic!("a failure")
    };
    assert!(words.contains("healthCheckNodePort"), "{words}");
}

#[test]
fn without_an_expected_identity_any_service_will_do() {
    let up = serves("http 200, 2 endpoints", 2);
    assert_eq!(own(200, &kube_proxy("mail", "2", true)), up);
}

proptest! {
    /// T34: any bytes give a verdict, with a short reason and a weight in range.
    #[test]
    fn t34_any_answer_is_judged(
        status: u16,
        weight: Option<Vec<u8>>,
        body in prop_oneof![
            any::<Vec<u8>>(),
            "[ \\t\\{\\}\\[\\]\",:a-z0-9]{0,80}".prop_map(String::into_bytes),
        ],
        known: bool,
    ) {
        let answer = Answer { status, weight: weight.as_deref(), body: &body };
        let expected = web();
        match judge(answer, known.then_some(&expected)) {
            Verdict::Serves { found, weight } => {
                prop_assert_eq!(status, 200);
                prop_assert!(weight.is_none_or(|weight| weight <= 256));
                prop_assert!(found.len() < 1_000);
            }
            Verdict::Drains(why) | Verdict::Fails(why) => {
                prop_assert!(!why.is_empty() && why.len() < 2_000)
            }
        }
    }
}
