//! A veth pair for tests: `lb` in one namespace, `wire` in the other.

use crate::sys::netns::Netns;
use std::time::{Duration, Instant};

/// Makes the pair (again, if it was deleted), up and running. `lb` is 02:00:00:00:00:01.
pub(crate) fn join(lb: &Netns, wire: &Netns) {
    let path = wire.path();
    lb.ip(&format!(
        "link add lb address 02:00:00:00:00:01 type veth peer name wire netns {path}"
    ));
    lb.ip("link set lb addrgenmode none up");
    wire.ip("link set wire addrgenmode none up");
    until_running(lb, "lb");
    until_running(wire, "wire");
}

/// Brings `lb` up again after it was down.
pub(crate) fn set_up(lb: &Netns, wire: &Netns) {
    lb.ip("link set lb up");
    until_running(lb, "lb");
    until_running(wire, "wire");
}

/// The index of an interface.
pub(crate) fn ifindex(netns: &Netns, name: &'static str) -> u32 {
    let links = netns.run(pnet::datalink::interfaces);
    let link = links.iter().find(|link| link.name == name);
    link.expect("the interface is there").index
}

/// The kernel tells of a carrier later than the command returns, and loses frames until then.
fn until_running(netns: &Netns, name: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    let running = || {
        let links = netns.run(pnet::datalink::interfaces);
        links
            .iter()
            .any(|link| link.name == name && link.is_running())
    };
    while !running() {
        assert!(Instant::now() < end, "{name} has no carrier in time");
    }
}
