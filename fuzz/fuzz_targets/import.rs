//! Any text as another load balancer's configuration: refused, or a file that lbd takes, with what
//! was not taken over told by its lines. The first byte says whose text it is.
#![no_main]

use lbcore::config;
use lbcore::import::haproxy::Given;
use lbcore::import::{Names, Options, haproxy, ipvsadm, keepalived};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

/// One host, one port.
struct Few;

impl Names for Few {
    fn host(&self, name: &str) -> Option<IpAddr> {
        (name == "host").then_some([192, 0, 2, 77].into())
    }

    fn port(&self, name: &str, _udp: bool) -> Option<u16> {
        (name == "http").then_some(80)
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let options = Options {
        interface: None,
        names: &Few,
    };
    let imported = match kind {
        b'i' => ipvsadm::import(text, &options),
        b'k' => keepalived::import(text, &options),
        _ => {
            let given = Given {
                vips: vec![[192, 0, 2, 19].into()],
                trusted: "198.51.100.0/24".parse().into_iter().collect(),
            };
            haproxy::import(text, &options, &given)
        }
    };
    let Ok(imported) = imported else {
        return;
    };
    let lines = String::from_utf8_lossy(text).lines().count();
    for finding in &imported.findings {
        let at = finding.lines.expect("every line of a text has a number");
        assert!(1 <= at.first && at.first <= at.last && at.last <= lines);
    }
    match config::check(&imported.toml) {
        Ok(checked) => assert_eq!(checked.config.services.len(), imported.services),
        Err(faults) => panic!("{faults:?}\n{}", imported.toml),
    }
});
