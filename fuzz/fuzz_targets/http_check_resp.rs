//! Any answer to a check, as its bytes: a verdict, short words, a weight in range. The first byte
//! chooses the kind.
#![no_main]

use lbcore::health::kubernetes::{Answer, ServiceName, Verdict, judge};
use lbcore::health::{certificate, dns, grpc};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    match kind {
        b'd' => {
            dns::judge(rest, 0x6161, "a.b", dns::Record::A);
        }
        b'g' => {
            grpc::status(rest);
        }
        b'c' => {
            certificate::expires(rest);
        }
        _ => kubernetes(kind, rest),
    }
});

/// The weight stands on the first line, the body behind it.
fn kubernetes(kind: u8, rest: &[u8]) {
    let line = rest.iter().position(|byte| *byte == b'\n');
    let (weight, body) = match line {
        Some(end) => (Some(&rest[..end]), &rest[end + 1..]),
        None => (None, rest),
    };
    let status = if kind & 1 == 0 { 200 } else { 503 };
    let expected = ServiceName {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
    };
    let expected = (kind & 2 == 0).then_some(&expected);
    let answer = Answer {
        status,
        weight,
        body,
    };
    match judge(answer, expected) {
        Verdict::Serves { found, weight } => {
            assert_eq!(status, 200);
            assert!(weight.is_none_or(|weight| weight <= 256) && found.len() < 1_000);
        }
        Verdict::Drains(why) | Verdict::Fails(why) => assert!(!why.is_empty() && why.len() < 2_000),
    }
}
