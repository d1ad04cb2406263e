#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::{FLOW_STATES, FlowFilter, TraceFilter, Verdict};
use proptest::prelude::*;

fn service() -> impl Strategy<Value = ServiceRef> {
    prop_oneof![
        "[a-z0-9._-]{1,63}".prop_map(|name| ServiceRef::from(name.as_str())),
        any::<(SocketAddr, bool)>().prop_map(|(address, tcp)| {
            let address = SocketAddr::new(address.ip(), address.port());
            ServiceRef::from(format!("{address}/{}", if tcp { "tcp" } else { "udp" }).as_str())
        }),
        // Whatever somebody types arrives as it was typed.
        ".{1,20}".prop_map(|text| ServiceRef::from(text.as_str())),
    ]
}

fn real() -> impl Strategy<Value = RealRef> {
    ".{1,20}".prop_map(RealRef)
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,10}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            proptest::collection::btree_map(".{0,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn keys() -> impl Strategy<Value = Keys> {
    proptest::collection::btree_map(".{1,10}", value(), 1..5)
        .prop_map(|keys| keys.into_iter().collect())
}

fn how() -> impl Strategy<Value = How> {
    any::<[bool; 4]>().prop_map(|[runtime, now, force, dry_run]| How {
        runtime,
        now,
        force,
        dry_run,
    })
}

fn a_change() -> impl Strategy<Value = Request> {
    prop_oneof![
        (keys(), how()).prop_map(|(keys, how)| Request::AddService { keys, how }),
        (service(), keys(), how()).prop_map(|(service, keys, how)| Request::SetService {
            service,
            keys,
            how
        }),
        (service(), how()).prop_map(|(service, how)| Request::RemoveService { service, how }),
        (service(), keys(), how()).prop_map(|(service, keys, how)| Request::AddReal {
            service,
            keys,
            how
        }),
        (service(), real(), keys(), how()).prop_map(|(service, real, keys, how)| {
            Request::SetReal {
                service,
                real,
                keys,
                how,
            }
        }),
        (service(), real(), how()).prop_map(|(service, real, how)| Request::RemoveReal {
            service,
            real,
            how
        }),
        (any::<IpAddr>(), keys(), how()).prop_map(|(address, keys, how)| Request::SetNode {
            address,
            keys,
            how
        }),
    ]
}

fn filter() -> impl Strategy<Value = FlowFilter> {
    let client = (any::<IpAddr>(), 0..=32u8)
        .prop_map(|(address, len)| super::super::Prefix::new(address, len).unwrap());
    (
        proptest::option::of(service()),
        proptest::option::of(real()),
        proptest::option::of(client),
        proptest::option::of(any::<usize>()),
        proptest::option::of(protocol()),
        proptest::option::of(proptest::sample::select(&FLOW_STATES[..])),
    )
        .prop_map(
            |(service, real, client, limit, protocol, state)| FlowFilter {
                service,
                real,
                client,
                protocol,
                state: state.map(str::to_owned),
                limit,
            },
        )
}

fn protocol() -> impl Strategy<Value = Protocol> + Clone {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

fn trace() -> impl Strategy<Value = TraceAsk> {
    let verdict = proptest::option::of(proptest::sample::select(&Verdict::ALL[..]));
    let bounds = (
        1..=100_000u64,
        1..=3_600_000u64,
        1..=u32::MAX,
        1..=10_000u32,
    );
    (
        filter(),
        verdict,
        proptest::option::of(".{1,20}"),
        any::<bool>(),
        bounds,
    )
        .prop_map(
            |(flows, verdict, reason, passed, (count, for_ms, sample, rate))| TraceAsk {
                filter: TraceFilter {
                    protocol: flows.protocol,
                    client: flows.client,
                    service: flows.service,
                    real: flows.real,
                    verdict,
                    reason,
                    passed,
                },
                count,
                for_ms,
                sample,
                rate,
            },
        )
}

fn explain() -> impl Strategy<Value = Request> {
    let packet = proptest::sample::select(vec![
        (Protocol::Tcp, None),
        (Protocol::Tcp, Some(PacketKind::Syn)),
        (Protocol::Tcp, Some(PacketKind::Ack)),
        (Protocol::Udp, None),
        (Protocol::Udp, Some(PacketKind::Datagram)),
    ]);
    (packet, address(), address()).prop_map(|((protocol, packet), client, vip)| Request::Explain {
        protocol,
        client,
        vip,
        packet,
    })
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn request() -> impl Strategy<Value = Request> {
    let verb = prop_oneof![
        Just(VipVerb::Take),
        Just(VipVerb::Release),
        Just(VipVerb::Auto)
    ];
    prop_oneof![
        Just(Request::Status),
        Just(Request::Services),
        service().prop_map(|service| Request::Service { service }),
        service().prop_map(|service| Request::Reals { service }),
        (service(), real()).prop_map(|(service, real)| Request::Real { service, real }),
        a_change(),
        Just(Request::Vips),
        (proptest::option::of(any::<IpAddr>()), verb, any::<bool>())
            .prop_map(|(vip, verb, dry_run)| Request::Vip { vip, verb, dry_run }),
        (filter(), any::<bool>()).prop_map(|(filter, dry_run)| Request::ClearFlows {
            all: filter.is_everything(),
            filter: FlowFilter {
                limit: None,
                ..filter
            },
            dry_run
        }),
        Just(Request::Nodes),
        any::<IpAddr>().prop_map(|address| Request::Node { address }),
        (service(), proptest::option::of(real()), any::<bool>()).prop_map(
            |(service, real, dry_run)| Request::CheckNow {
                service,
                real,
                dry_run
            }
        ),
        Just(Request::Maintenance),
        any::<(bool, bool)>().prop_map(|(on, dry_run)| Request::SetMaintenance { on, dry_run }),
        Just(Request::Log),
        (
            proptest::option::of(".{0,20}"),
            proptest::option::of(any::<u64>()),
            any::<bool>()
        )
            .prop_map(|(filter, for_ms, dry_run)| Request::SetLog {
                filter,
                for_ms,
                dry_run
            }),
        Just(Request::Key),
        filter().prop_map(|filter| Request::Flows { filter }),
        explain(),
        trace().prop_map(|ask| Request::Trace { ask }),
        any::<bool>().prop_map(|follow| Request::Events { follow }),
        proptest::option::of(any::<IpAddr>()).prop_map(|client| Request::Doctor { client }),
        any::<(bool, bool)>().prop_map(|(force, dry_run)| Request::Reload { force, dry_run }),
    ]
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_read(request in request()) {
        let call = Call::of(&request);
        prop_assert!(call.target.is_ascii() && !call.target.contains(' '));
        prop_assert_eq!(Call::read(call.method, &call.target, &call.body), Ok(request));
    }

    #[test]
    fn t60b_nothing_from_the_wire_panics(
        method in "GET|POST|PATCH|DELETE|PUT|[A-Z]{0,8}",
        target in "(/v1/(status|services|nodes|vips|flows|explain|trace|reload))?[ -~%/?&=]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = Call::read(&method, &target, &body);
    }
}

#[test]
fn wrong_calls_are_told_what_is_wrong() {
    for (method, target, body, code, words) in [
        ("GET", "/", "", ErrorCode::NoSuchPath, "there is no /"),
        (
            "GET",
            "/v1/nothing",
            "",
            ErrorCode::NoSuchPath,
            "/v1/nothing",
        ),
        (
            "GET",
            "/v1/status/",
            "",
            ErrorCode::NoSuchPath,
            "/v1/status/",
        ),
        (
            "POST",
            "/v1/status",
            "",
            ErrorCode::MethodNotAllowed,
            "knows GET, not POST",
        ),
        (
            "PUT",
            "/v1/services/a/reals/b",
            "",
            ErrorCode::MethodNotAllowed,
            "GET, PATCH and DELETE",
        ),
        (
            "DELETE",
            "/v1/flows",
            "",
            ErrorCode::BadRequest,
            "every flow there is",
        ),
        (
            "DELETE",
            "/v1/flows?all&service=web",
            "",
            ErrorCode::BadRequest,
            "all flows, or those of a filter",
        ),
        (
            "DELETE",
            "/v1/flows?service=web&limit=3",
            "",
            ErrorCode::BadRequest,
            "no limit",
        ),
        (
            "POST",
            "/v1/flows",
            "",
            ErrorCode::MethodNotAllowed,
            "GET and DELETE",
        ),
        (
            "POST",
            "/v1/vips/192.0.2.1/take?force",
            "",
            ErrorCode::BadRequest,
            "force",
        ),
        (
            "GET",
            "/v1/nodes/web",
            "",
            ErrorCode::BadRequest,
            "not an IP address",
        ),
        (
            "POST",
            "/v1/maintenance",
            "{}",
            ErrorCode::BadRequest,
            "maintenance",
        ),
        (
            "GET",
            "/v1/reload",
            "",
            ErrorCode::MethodNotAllowed,
            "knows POST",
        ),
        (
            "GET",
            "/v1/services/%",
            "",
            ErrorCode::BadRequest,
            "not valid UTF-8",
        ),
        (
            "GET",
            "/v1/services/%ff",
            "",
            ErrorCode::BadRequest,
            "not valid UTF-8",
        ),
        (
            "PATCH",
            "/v1/services/a/reals/b",
            "",
            ErrorCode::BadRequest,
            "EOF",
        ),
        (
            "PATCH",
            "/v1/services/a/reals/b",
            "{}",
            ErrorCode::BadRequest,
            "nothing to change",
        ),
        (
            "POST",
            "/v1/services",
            "[1]",
            ErrorCode::BadRequest,
            "not as expected",
        ),
        (
            "DELETE",
            "/v1/services/a?now&later",
            "",
            ErrorCode::BadRequest,
            "knows no \"later\"",
        ),
        (
            "PATCH",
            "/v1/services/a?dry_run=maybe",
            "{\"mode\":1}",
            ErrorCode::BadRequest,
            "true or false",
        ),
        (
            "PATCH",
            "/v1/nodes/web",
            "{\"admin\":\"drain\"}",
            ErrorCode::BadRequest,
            "not an IP address",
        ),
        (
            "DELETE",
            "/v1/nodes/192.0.2.21",
            "",
            ErrorCode::MethodNotAllowed,
            "knows GET and PATCH",
        ),
        (
            "POST",
            "/v1/vips/web/take",
            "",
            ErrorCode::BadRequest,
            "not an IP address",
        ),
        (
            "POST",
            "/v1/vips/192.0.2.1/steal",
            "",
            ErrorCode::NoSuchPath,
            "steal",
        ),
        (
            "GET",
            "/v1/flows?colour=red",
            "",
            ErrorCode::BadRequest,
            "colour",
        ),
        (
            "GET",
            "/v1/flows?client=x",
            "",
            ErrorCode::BadRequest,
            "prefix",
        ),
        (
            "GET",
            "/v1/flows?limit=-1",
            "",
            ErrorCode::BadRequest,
            "no number",
        ),
        (
            "POST",
            "/v1/explain",
            "{}",
            ErrorCode::BadRequest,
            "protocol",
        ),
    ] {
        let error = Call::read(method, target, body.as_bytes()).unwrap_err();
        assert_eq!(error.code, code, "{method} {target} {body}");
        assert!(
            error.message.contains(words),
            "{method} {target} {body}: {}",
            error.message
        );
    }
}

#[test]
fn curl_needs_no_body_to_reload() {
    let read = Call::read("POST", "/v1/reload", b"");
    assert_eq!(
        read,
        Ok(Request::Reload {
            force: false,
            dry_run: false
        })
    );
}

#[test]
fn curl_drains_and_says_how() {
    let read = Call::read(
        "POST",
        "/v1/services/web/reals/rs1/drain?dry_run=true&runtime",
        b"",
    );
    let keys = Keys::from_iter([("admin".to_owned(), "drain".into())]);
    let how = How {
        runtime: true,
        dry_run: true,
        ..How::default()
    };
    let wanted = Request::SetReal {
        service: "web".into(),
        real: "rs1".into(),
        keys,
        how,
    };
    assert!(wanted.changes(), "a trial shows lines of the file");
    assert_eq!(
        wanted.verb(),
        "real set web rs1 admin=\"drain\" runtime dry_run"
    );
    assert_eq!(read, Ok(wanted));
}

#[test]
fn a_verb_is_short_and_tells_no_secret() {
    let keys = serde_json::json!({
        "check": [{"type": "http", "headers": {"Authorization": "secret"}}],
        "description": "long ".repeat(100),
        "port": [80, 443],
        "proxy": {"retries": 3},
    });
    let serde_json::Value::Object(keys) = keys else {
        panic!("an object");
    };
    let verb = Request::AddService {
        keys,
        how: How::default(),
    }
    .verb();
    assert!(
        verb.contains(" check=[..]") && !verb.contains("secret"),
        "{verb}"
    );
    assert!(
        verb.contains(" port=[80,443]") && verb.len() < 200,
        "{verb}"
    );
}
