//! A veth pair for tests: `lb` in one namespace, `wire` in the other.

use crate::sys::netns::Netns;
use crate::sys::packet_send::FrameSender;

/// Makes the pair (again, if it was deleted), up. `lb` is 02:00:00:00:00:01.
pub(crate) fn join(lb: &Netns, wire: &Netns) {
    let path = wire.path();
    lb.ip(&format!(
        "link add lb address 02:00:00:00:00:01 type veth peer name wire netns {path}"
    ));
    lb.ip("link set lb addrgenmode none up");
    wire.ip("link set wire addrgenmode none up");
}

/// The index of an interface.
pub(crate) fn ifindex(netns: &Netns, name: &'static str) -> u32 {
    let links = netns.run(pnet::datalink::interfaces);
    let link = links.iter().find(|link| link.name == name);
    link.expect("the interface is there").index
}

/// Sends frames out of an interface of the calling thread's namespace.
///
/// They go past the queueing discipline: the kernel attaches it some time after a link comes up,
/// and swallows frames until then.
pub(crate) fn sender(ifindex: u32) -> FrameSender {
    let sender = FrameSender::open(ifindex, 64 << 20).expect("sockets");
    sender.bypass_qdisc().expect("bypass");
    sender
}
