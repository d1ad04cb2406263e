//! Single values of the command line.

use lbcore::api::{RealRef, ServiceRef, Verdict};
use lbcore::health::kubernetes::ServiceName;
use lbcore::import::kubernetes::WantedMode;
use lbcore::net::{MacAddr, Protocol, ServiceKey};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub fn service(text: &str) -> Result<ServiceRef, String> {
    if text.is_empty() {
        Err("a service has a name".into())
    } else {
        Ok(text.into())
    }
}

pub fn real(text: &str) -> Result<RealRef, String> {
    if text.is_empty() {
        Err("a real has a name".into())
    } else {
        Ok(text.into())
    }
}

pub fn endpoint(text: &str) -> Result<ServiceKey, String> {
    match text.into() {
        ServiceRef::Endpoint(endpoint) => Ok(endpoint),
        ServiceRef::Name(_) => Err("such as 192.0.2.10:443/tcp or [2001:db8::10]:53/udp".into()),
    }
}

pub fn place(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(place) = text.parse::<SocketAddr>() {
        return Ok((place.ip(), Some(place.port())));
    }
    let address = text.parse();
    let address = address.map_err(|_| "such as 192.0.2.21, 2001:db8::21 or 192.0.2.21:8443")?;
    Ok((address, None))
}

pub fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err("lbd knows tcp and udp".into()),
    }
}

pub fn verdict(text: &str) -> Result<Verdict, String> {
    let mut all = Verdict::ALL.into_iter();
    all.find(|verdict| verdict.word() == text).ok_or_else(|| {
        let all: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.word()).collect();
        format!("one of {}", all.join(", "))
    })
}

/// lbd knows the words, and says them.
pub fn drop_reason_or_result(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("such as no_real".into()),
        false => Ok(text.to_owned()),
    }
}

/// `1/N`, or only `N`.
pub fn sample(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix("1/").unwrap_or(text).parse();
    match number {
        Ok(0) | Err(_) => Err("such as 1/100: one of a hundred".into()),
        Ok(number) => Ok(number),
    }
}

pub fn mac(text: &str) -> Result<MacAddr, String> {
    text.parse().map_err(|_| "such as 02:00:00:00:00:01".into())
}

pub fn interface(text: &str) -> Result<String, String> {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    // IFNAMSIZ, with its final zero, is 16.
    match text.bytes().all(fit) && (1..16).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("no interface is called so".into()),
    }
}

pub fn mode(text: &str) -> Result<WantedMode, String> {
    match text {
        "dr" => Ok(WantedMode::Dr),
        "tproxy" => Ok(WantedMode::Tproxy),
        _ => Err("lbd knows dr and tproxy".into()),
    }
}

pub fn service_name(text: &str) -> Result<ServiceName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(ServiceName {
            namespace: namespace.into(),
            name: name.into(),
        }),
        _ => Err("such as default/web".into()),
    }
}

pub fn given_vip(text: &str) -> Result<(ServiceName, IpAddr), String> {
    let wrong = || "such as default/web=192.0.2.10".to_owned();
    let (name, vip) = text.split_once('=').ok_or_else(wrong)?;
    Ok((service_name(name)?, vip.parse().map_err(|_| wrong())?))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; such as 30s or 5m"))
}

/// Faster would only burn CPU on both sides.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

pub fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err("at least 100ms".into());
    }
    Ok(interval)
}
