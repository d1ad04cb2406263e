//! One reading of all interfaces: two dumps, put together.

use crate::live::event::Link;
use futures_util::TryStreamExt;
use lbcore::net::MacAddr;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use std::io;
use std::net::IpAddr;

/// Reads all interfaces and their addresses, sorted by index. A change between the two dumps
/// brings a message of its own, and so another reading.
pub(super) async fn links(handle: &Handle) -> io::Result<Vec<Link>> {
    let links: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(io::Error::other)?;
    let addresses: Vec<AddressMessage> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(io::Error::other)?;
    Ok(assemble(links, addresses))
}

fn assemble(links: Vec<LinkMessage>, addresses: Vec<AddressMessage>) -> Vec<Link> {
    let mut links: Vec<Link> = links.iter().map(link).collect();
    links.sort_by_key(|link| link.ifindex);
    for message in &addresses {
        let at = links.binary_search_by_key(&message.header.index, |link| link.ifindex);
        if let (Ok(at), Some(address)) = (at, own_address(message)) {
            links[at]
                .addresses
                .push((address, message.header.prefix_len));
        }
    }
    for link in &mut links {
        link.addresses.sort_unstable();
        link.addresses.dedup();
    }
    links
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        mac: MacAddr::zero(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                // Only an Ethernet MAC has six bytes; other links count as having none.
                if let Ok(mac) = <[u8; 6]>::try_from(bytes.as_slice()) {
                    link.mac = mac.into();
                }
            }
            _ => {}
        }
    }
    link
}

/// The address this host has: on point-to-point links IFA_ADDRESS is the peer's and IFA_LOCAL
/// ours. One that is not through duplicate address detection (RFC 4862, 5.4) is not ours, or not yet:
/// the kernel answers for it when that is over, and tells of it again. An optimistic one (RFC 4429) it
/// answers for meanwhile.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => own = own.or(Some(*address)),
            AddressAttribute::Flags(flags)
                if flags.contains(AddressFlags::Dadfailed)
                    || flags.contains(AddressFlags::Tentative)
                        && !flags.contains(AddressFlags::Optimistic) =>
            {
                return None;
            }
            _ => {}
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, prefix: u8, attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix;
        message.attributes = attributes;
        message
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn interface(index: u32, name: &str, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = flags;
        message.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, index as u8]),
        ];
        message
    }

    #[test]
    fn puts_addresses_to_their_interfaces() {
        let links = vec![
            interface(3, "eth1", LinkFlags::Up),
            interface(2, "eth0", LinkFlags::Up | LinkFlags::LowerUp),
        ];
        let addresses = vec![
            address(2, 64, vec![AddressAttribute::Address(ip("2001:db8::5"))]),
            address(2, 24, vec![AddressAttribute::Address(ip("192.0.2.5"))]),
            address(9, 24, vec![AddressAttribute::Address(ip("192.0.2.6"))]),
        ];
        let links = assemble(links, addresses);
        assert_eq!(
            links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
            ["eth0", "eth1"]
        );
        assert_eq!(
            links[0].addresses,
            [(ip("192.0.2.5"), 24), (ip("2001:db8::5"), 64)]
        );
        assert_eq!(links[0].mac, MacAddr::new(2, 0, 0, 0, 0, 2));
        assert!(links[0].up && links[0].carrier);
        assert!(links[1].up && !links[1].carrier && links[1].addresses.is_empty());
    }

    #[test]
    fn on_point_to_point_links_the_peer_is_not_ours() {
        let peer = AddressAttribute::Address(ip("10.0.0.2"));
        let local = AddressAttribute::Local(ip("10.0.0.1"));
        for order in [vec![peer.clone(), local.clone()], vec![local, peer]] {
            assert_eq!(own_address(&address(2, 32, order)), Some(ip("10.0.0.1")));
        }
    }

    #[test]
    fn an_address_is_ours_when_nobody_else_has_it() {
        let tentative = AddressFlags::Tentative;
        for (flags, ours) in [
            (AddressFlags::Permanent, true),
            (tentative, false),
            (tentative | AddressFlags::Optimistic, true),
            (AddressFlags::Dadfailed, false),
            (tentative | AddressFlags::Dadfailed, false),
        ] {
            let own = vec![
                AddressAttribute::Address(ip("2001:db8::5")),
                AddressAttribute::Flags(flags),
            ];
            let expected = ours.then(|| ip("2001:db8::5"));
            assert_eq!(own_address(&address(2, 64, own)), expected, "{flags:?}");
        }
    }
}
