//! What lies beneath an interface: members of a bond, ports of a bridge, the parent of a VLAN or
//! macvlan.

use crate::sys::netlink;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use std::collections::HashSet;
use std::io;

/// How deep interfaces are stacked at most: the kernel's own bound (MAX_NEST_DEV, netdevice.h).
const DEEPEST: usize = 8;

/// Every interface beneath `name`, however deep; nothing where it is not there.
///
/// # Errors
/// What the kernel says.
pub async fn beneath(name: &str) -> io::Result<Vec<String>> {
    let handle = netlink::rtnetlink()?;
    let links: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(io::Error::other)?;
    Ok(below(&links, name))
}

fn below(links: &[LinkMessage], name: &str) -> Vec<String> {
    let upper = links.iter().find(|link| name_of(link) == Some(name));
    let mut found = Vec::new();
    let mut known = HashSet::new();
    let mut level: Vec<&LinkMessage> = upper.into_iter().collect();
    for _ in 0..DEEPEST {
        let under = |upper: &&LinkMessage| {
            let (index, parent) = (upper.header.index, parent_of(upper));
            links.iter().filter(move |lower| {
                controller_of(lower) == Some(index) || parent == Some(lower.header.index)
            })
        };
        level = level.iter().flat_map(under).collect();
        level.retain(|link| known.insert(link.header.index));
        found.extend(level.iter().filter_map(|link| name_of(link)));
    }
    found.into_iter().map(str::to_owned).collect()
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn controller_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

/// Of kinds that stand on another interface; a veth's IFLA_LINK is its peer.
fn parent_of(link: &LinkMessage) -> Option<u32> {
    let stands = |info: &LinkInfo| {
        use InfoKind::{IpVlan, MacVlan, MacVtap, Vlan};
        matches!(info, LinkInfo::Kind(Vlan | MacVlan | MacVtap | IpVlan))
    };
    let attributes = &link.attributes;
    let stands = attributes
        .iter()
        .any(|a| matches!(a, LinkAttribute::LinkInfo(infos) if infos.iter().any(stands)));
    attributes.iter().find_map(|a| match a {
        LinkAttribute::Link(index) if stands => Some(*index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netns::Netns;

    #[test]
    fn ports_and_parents_are_found_and_a_veths_peer_is_none() {
        let Some(netns) = Netns::new() else { return };
        netns.ip("link add lbdb0 type bridge");
        netns.ip("link add lbdv0 type veth peer name lbdv1");
        netns.ip("link set lbdv0 master lbdb0");
        netns.ip("link add lbdm0 link lbdb0 type macvlan mode bridge");
        netns.block_on(|| async {
            for (name, wanted) in [
                ("lbdm0", vec!["lbdb0", "lbdv0"]),
                ("lbdb0", vec!["lbdv0"]),
                ("lbdv1", vec![]),
                ("nowhere", vec![]),
            ] {
                assert_eq!(beneath(name).await.expect("links"), wanted, "{name}");
            }
        });
    }
}
