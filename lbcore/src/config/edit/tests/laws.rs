//! What holds of any sequence of edits on any file.

use super::*;
use proptest::prelude::*;

/// A service of a random file: how it is written, and how many reals it has.
#[derive(Clone, Copy, Debug)]
struct Shape {
    inline_reals: bool,
    dotted: bool,
    indented: bool,
    reals: u8,
    checks: u8,
}

fn shape() -> impl Strategy<Value = Shape> {
    (any::<[bool; 3]>(), 0..4_u8, 0..3_u8).prop_map(|([a, b, c], reals, checks)| Shape {
        inline_reals: a,
        dotted: b,
        indented: c,
        reals,
        checks,
    })
}

/// The text of a good file with these services, each line with a comment of its own.
fn file(shapes: &[Shape], crlf: bool, final_newline: bool) -> String {
    let mut text = String::from("# top\n[network] # n\ninterface = \"eth0\" # i\n");
    for (at, shape) in shapes.iter().enumerate() {
        let pad = if shape.indented { "  " } else { "" };
        text += &format!(
            "\n# about s{at}\n[[service]] # h{at}\nname = \"s{at}\" # n{at}\nvip = \"192.0.2.{at}\" # v{at}\nport = [80, 81] # p{at}\nmode = \"tproxy\"\n"
        );
        if shape.dotted {
            text += &format!("proxy.retries = 1 # r{at}\nlabels.team = \"a # b\" # l{at}\n");
        }
        if shape.inline_reals {
            text += &format!("real = [ # open{at}\n");
            for real in 0..shape.reals {
                text += &format!(
                    "  {{ address = \"10.0.{at}.{real}\", weight = 1 }}, # real{at}.{real}\n"
                );
            }
            text += "]\n";
        }
        for check in 0..shape.checks {
            text += &format!(
                "\n{pad}[[service.check]] # c{at}.{check}\n{pad}type = \"tcp\" # t{at}.{check}\n{pad}port = {}\n",
                1000 + u32::from(check)
            );
        }
        if !shape.dotted && shape.reals % 2 == 1 {
            text += &format!("\n{pad}[service.proxy] # x{at}\n{pad}retries = 1\n");
        }
        if !shape.inline_reals {
            for real in 0..shape.reals {
                text += &format!(
                    "\n{pad}# real {at}.{real}\n{pad}[[service.real]]\n{pad}address = \"10.0.{at}.{real}\" # a{at}.{real}\n{pad}weight = 1\n{pad}# below {at}.{real}\n"
                );
            }
        }
        text += &format!("\n# --- end of {at} ---\n");
    }
    if !final_newline {
        text.truncate(text.trim_end().len());
    }
    if crlf {
        text.replace('\n', "\r\n")
    } else {
        text
    }
}

/// An edit that may well be of something that is not there.
fn an_edit() -> impl Strategy<Value = Edit> {
    let service = || (0..4_u8).prop_map(|at| format!("s{at}"));
    let address =
        || (0..4_u8, 0..5_u8).prop_map(|(service, real)| format!("10.0.{service}.{real}"));
    let value = prop_oneof![
        Just(json!({"scheduler": "rr"})),
        Just(json!({"scheduler": null})),
        Just(json!({"port": [80, 82]})),
        Just(json!({"port": 81})),
        Just(json!({"labels": {"team": "x", "a/b": "it's \"#1\""}})),
        Just(json!({"labels": {"team": null}})),
        Just(json!({"labels": null})),
        Just(json!({"proxy": {"retries": 4, "source": "self"}})),
        Just(json!({"proxy": {"retries": null}})),
        Just(json!({"proxy": null})),
        Just(json!({"check": [{"type": "tcp", "port": 1000}, {"type": "icmp"}]})),
        Just(json!({"check": [{"type": "http", "headers": {"A": "b"}}]})),
        Just(json!({"check": []})),
        Just(json!({"real": [{"address": "10.9.0.1"}, {"address": "10.9.0.2"}]})),
        Just(json!({"description": "a # b"})),
        Just(json!({"description": null, "admin": "drain"})),
        Just(json!({"name": "s3"})),
    ];
    let of_real = prop_oneof![
        Just(json!({"weight": 7})),
        Just(json!({"weight": null})),
        Just(json!({"admin": "drain", "port": 8080})),
        Just(json!({"labels": {"rack": "r1"}, "port": null})),
        Just(json!({"address": "10.8.0.1"})),
    ];
    prop_oneof![
        (service(), value).prop_map(|(service, value)| set(&service, value)),
        (service(), address(), of_real)
            .prop_map(|(service, real, value)| set_real(&service, &real, value)),
        (service(), address()).prop_map(|(service, address)| add_real(
            &service,
            json!({"address": address, "weight": 3})
        )),
        (service(), address()).prop_map(|(service, real)| remove_real(&service, &real)),
        service().prop_map(|service| Edit::RemoveService { service }),
        (service(), 100..110_u8).prop_map(|(name, vip)| Edit::AddService {
            keys: keys(json!({
                "name": name, "vip": format!("192.0.2.{vip}"), "port": 80,
                "real": [{"address": "10.7.0.1"}],
            })),
        }),
    ]
}

fn comments_of(text: &str) -> Vec<&str> {
    trivia::comments(text)
        .into_iter()
        .map(|at| &text[at])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The result is good, or the refusal says why; it means exactly what was asked (which `write`
    /// has made sure of, or `Unwritable` would come); and it is the same to make edits one by one.
    #[test]
    fn edits_do_what_they_say_in_any_file(
        shapes in proptest::collection::vec(shape(), 0..3),
        crlf: bool,
        final_newline: bool,
        edits in proptest::collection::vec(an_edit(), 1..8),
    ) {
        let text = file(&shapes, crlf, final_newline);
        let mut sources = Sources::one("lbd.toml", text.clone());
        prop_assert!(sources.check().is_ok(), "{}", sources.render(&sources.check().unwrap_err(), false));
        let mut made = Vec::new();
        for step in edits {
            match edit(&sources, std::slice::from_ref(&step)) {
                Ok(edited) => {
                    prop_assert_eq!(edited.sources.check(), Ok(edited.checked));
                    sources = edited.sources;
                    made.push(step);
                }
                Err(EditError::Unwritable { .. }) => prop_assert!(false, "unwritable: {step:?}\n{}", sources.main.text),
                Err(_) => {}
            }
        }
        if let Ok(at_once) = edit(&Sources::one("lbd.toml", text), &made) {
            let by_steps = meanings(&sources).unwrap();
            prop_assert_eq!(meanings(&at_once.sources).unwrap(), by_steps);
        }
        let text = &sources.main.text;
        prop_assert!(!crlf || text.matches('\n').count() == text.matches("\r\n").count(), "{text}");
    }

    /// A change of values leaves every comment; what is about one service leaves the others' lines,
    /// and in their order.
    #[test]
    fn comments_and_other_services_stay(
        shapes in proptest::collection::vec(shape(), 1..4),
        crlf: bool,
        step in an_edit(),
    ) {
        let text = file(&shapes, crlf, true);
        let Ok(edited) = edit(&Sources::one("lbd.toml", text.clone()), std::slice::from_ref(&step)) else {
            return Ok(());
        };
        let after = &edited.sources.main.text;
        let service = match &step {
            Edit::SetService { service, .. }
            | Edit::RemoveService { service }
            | Edit::AddReal { service, .. }
            | Edit::SetReal { service, .. }
            | Edit::RemoveReal { service, .. } => service.clone(),
            Edit::AddService { .. } => "none".to_owned(),
        };
        let own = text.find(&format!("# about {service}")).unwrap_or(text.len());
        let rest = &text[own..];
        let end = rest.find("# --- end of").map_or(text.len(), |end| own + end);
        for line in text[..own].lines().chain(text[end..].lines()) {
            prop_assert!(after.lines().any(|new| new == line), "{line} is gone\n{after}");
        }
        prop_assert!(after.starts_with(text[..own].trim_end()), "{after}");

        let lists = |keys: &Keys| keys.contains_key("check") || keys.contains_key("real");
        let takes_sections = match &step {
            Edit::RemoveService { .. } | Edit::RemoveReal { .. } => true,
            // Sections that are replaced by fewer go with their comments.
            Edit::SetService { keys, .. } => lists(keys) || keys.get("proxy") == Some(&Value::Null),
            _ => false,
        };
        if !takes_sections {
            let mut left = comments_of(after);
            for comment in comments_of(&text) {
                let at = left.iter().position(|left| *left == comment);
                prop_assert!(at.is_some(), "{comment} is gone\n{after}");
                left.swap_remove(at.unwrap());
            }
        }
    }
}
