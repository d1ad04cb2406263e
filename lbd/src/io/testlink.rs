//! A veth pair for tests: `lb` in one namespace, `wire` in the other.

use crate::sys::netns::Netns;
use crate::sys::packet_send::FrameSender;
use crate::sys::packet_socket::PacketSocket;

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

/// Sends frames from the calling thread's namespace, each after its virtio header.
///
/// They go past the queueing discipline: the kernel attaches it some time after a link comes up,
/// and swallows frames until then.
pub(crate) fn sender() -> FrameSender {
    let socket = PacketSocket::new().expect("socket");
    socket.carry_virtio_header().expect("virtio header");
    socket.bypass_qdisc().expect("bypass");
    socket.send_buffer(64 << 20).expect("send buffer");
    FrameSender::new(socket)
}
