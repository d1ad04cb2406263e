//! The keys of a `kubernetes` check.

use super::super::faults::Fault;
use super::super::model::{KubernetesCheck, NodeWeight};
use super::super::raw::Section;
use super::super::value::{quote, string};
use super::super::words;
use super::http;
use crate::health::kubernetes::ServiceName;
use toml::de::DeValue;

/// Where kube-proxy says how it is itself (`--healthz-bind-address`), for policy Cluster.
const KUBE_PROXY: u16 = 10_256;

/// Reads them, or their defaults.
pub(super) fn kubernetes(s: &Section<'_>, port: Option<u16>) -> KubernetesCheck {
    let check = KubernetesCheck {
        path: s.get_or("path", http::target, "/healthz".to_owned()),
        service: s.get("service", service).map(|s| s.into_inner()),
        weight: s.get_or(
            "weight",
            |v| words::NODE_WEIGHT.read(v),
            NodeWeight::Endpoints,
        ),
    };
    if !s.has("port") {
        let fault = Fault::new("`port` is missing").help(format!(
            "the Service's spec.healthCheckNodePort; with policy Cluster {KUBE_PROXY}, kube-proxy's own"
        ));
        s.faults.missing(s.span.clone(), &s.path, fault);
    } else if !s.has("service") && port.is_some_and(|port| port != KUBE_PROXY) {
        let fault = Fault::new(
            "without `service` nobody notices when the port is given to another Service",
        )
        .help("service = \"namespace/name\"");
        s.faults.warn(s.key_span("port"), &s.path_of("port"), fault);
    }
    check
}

fn service(value: &DeValue<'_>) -> Result<ServiceName, Fault> {
    let text = string(value)?;
    // RFC 1123 labels, as Kubernetes wants both.
    let label = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&part.len())
            && part.bytes().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    match text.split_once('/') {
        Some((namespace, name)) if label(namespace) && label(name) => Ok(ServiceName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        _ => {
            let fault = Fault::new(format!("{} is no namespace/name", quote(&text)));
            Err(fault.help("such as \"default/web\": a-z 0-9 and - in both"))
        }
    }
}
