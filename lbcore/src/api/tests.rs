#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::Value;

const STATUS: &str = include_str!("fixtures/status.json");

#[test]
fn the_status_document_keeps_its_keys() {
    let view: StatusView = serde_json::from_str(STATUS).unwrap();
    let written: Value = serde_json::to_value(Envelope::new(view)).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(STATUS).unwrap());
}

#[test]
fn a_proxied_service_keeps_its_keys() {
    let text = include_str!("fixtures/proxied.json");
    let view: ServiceView = serde_json::from_str(text).unwrap();
    let written = serde_json::to_value(view).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn the_version_of_the_interface_comes_first() {
    let view: StatusView = serde_json::from_str(STATUS).unwrap();
    let text = serde_json::to_string(&Envelope::new(Response::Status(Box::new(view)))).unwrap();
    assert!(
        text.starts_with(r#"{"api_version":"v1","version":"#),
        "{text}"
    );
}

#[test]
fn an_error_is_a_document_too() {
    let error = ApiError::no_such_service(&"shop", &["web"]);
    let text = serde_json::to_string(&Envelope::new(ErrorBody {
        error: error.clone(),
    }))
    .unwrap();
    assert_eq!(
        text,
        r#"{"api_version":"v1","error":{"code":"not_found","message":"there is no service shop","hint":"services: web"}}"#
    );
    assert_eq!(
        serde_json::from_str::<ErrorBody>(&text).unwrap().error,
        error
    );
}

#[test]
fn every_state_of_a_flow_can_be_asked_for() {
    use crate::flow::Entry;
    // The state stands in bits 32 to 35.
    for state in (0..16).filter_map(|n| Some(Entry::from_word(n << 32)?.state)) {
        assert!(FLOW_STATES.contains(&state.word()), "{state:?}");
    }
}
