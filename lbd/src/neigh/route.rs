//! Is the address on a directly connected network? The kernel's routes say so.

use super::Wanted;
use crate::live::event::Link;
use crate::sys::netlink::to_io;
use futures_util::TryStreamExt;
use lbcore::net::MacAddr;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia,
};
use rtnetlink::{Error, Handle};
use std::io;
use std::net::IpAddr;

/// How this host would send to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Straight out of an interface.
    Direct { oif: u32 },
    /// To a router first.
    Gateway { oif: u32, gateway: IpAddr },
    /// To itself.
    Local,
    /// To more than one machine.
    Group,
    /// Not at all.
    Nowhere,
}

/// Asks the kernel (RTM_GETROUTE) for the way to `address`, by `oif` if given.
pub(super) async fn ask(handle: &Handle, address: IpAddr, oif: Option<u32>) -> io::Result<Route> {
    if oif.is_some() {
        // Told an interface, the kernel takes any address to be on-link there when it knows no
        // route (net/ipv4/route.c, "Apparently, routing tables are wrong"): look for a real one.
        let matched = query(handle, address, oif, RouteFlags::FibMatch).await?;
        if matched == Route::Nowhere {
            return Ok(matched);
        }
    }
    query(handle, address, oif, RouteFlags::empty()).await
}

async fn query(
    handle: &Handle,
    address: IpAddr,
    oif: Option<u32>,
    flags: RouteFlags,
) -> io::Result<Route> {
    let mut message = RouteMessage::default();
    let (family, bits) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.header.flags = flags;
    message
        .attributes
        .push(RouteAttribute::Destination(address.into()));
    message.attributes.extend(oif.map(RouteAttribute::Oif));
    let answer: Result<Vec<RouteMessage>, Error> =
        handle.route().get(message).execute().try_collect().await;
    match answer {
        Ok(routes) => Ok(routes.first().map_or(Route::Nowhere, read)),
        // Every refusal means the same: unreachable, prohibited, blackhole, no such interface.
        Err(Error::NetlinkError(_)) => Ok(Route::Nowhere),
        Err(other) => Err(to_io(other)),
    }
}

fn read(message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Local | RouteType::Anycast => return Route::Local,
        RouteType::Broadcast | RouteType::Multicast => return Route::Group,
        RouteType::Unicast => {}
        _ => return Route::Nowhere,
    }
    let (mut oif, mut gateway) = (0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => oif = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => gateway = Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
            // An IPv4 address behind an IPv6 router (RFC 5549).
            RouteAttribute::Via(RouteVia::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
            _ => {}
        }
    }
    match gateway {
        Some(gateway) => Route::Gateway { oif, gateway },
        None => Route::Direct { oif },
    }
}

/// The interface frames for `wanted` leave by, or why direct routing cannot get there.
pub(super) fn judge(
    wanted: &Wanted,
    route: &Route,
    links: &[Link],
    interfaces: &[String],
) -> Result<u32, String> {
    let address = wanted.address;
    if let Some(own) = links
        .iter()
        .find(|link| link.addresses.iter().any(|(a, _)| *a == address))
    {
        return Err(format!(
            "{address} is this host itself (an address of {}): a real must be another machine",
            own.name
        ));
    }
    let name = |index: u32| {
        let link = links.iter().find(|link| link.ifindex == index);
        link.map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    };
    if let Some(named) = &wanted.interface {
        match links.iter().find(|link| link.name == *named) {
            None => return Err(format!("{address} is not on-link: {named} does not exist")),
            Some(link) if !link.up => {
                return Err(format!("{address} is not on-link: {named} is down"));
            }
            Some(_) => {}
        }
    }
    match route {
        Route::Local => Err(format!(
            "{address} is this host itself: a real must be another machine"
        )),
        Route::Group => Err(format!(
            "{address} is a broadcast or multicast address: a real must be one machine"
        )),
        Route::Nowhere => Err(no_route(wanted, links, interfaces)),
        Route::Gateway { oif, gateway } => Err(format!(
            "{address} is not on-link via {}: it is behind the gateway {gateway}; direct routing reaches only \
             machines on a directly connected network",
            name(*oif)
        )),
        Route::Direct { oif } => {
            let name = name(*oif);
            if !interfaces.contains(&name) {
                return Err(format!(
                    "{address} is reached via {name}, which is not one of lbd's interfaces ({}): add it to \
                     network.interfaces, or give the real an `interface`",
                    interfaces.join(", ")
                ));
            }
            if links
                .iter()
                .any(|link| link.ifindex == *oif && link.mac == MacAddr::zero())
            {
                return Err(format!(
                    "{address} is reached via {name}, which has no MAC address: direct routing needs Ethernet"
                ));
            }
            Ok(*oif)
        }
    }
}

fn no_route(wanted: &Wanted, links: &[Link], interfaces: &[String]) -> String {
    let address = wanted.address;
    let named = wanted
        .interface
        .as_ref()
        .map_or(interfaces, std::slice::from_ref);
    let missing = named
        .iter()
        .find(|name| !links.iter().any(|link| link.name == **name && link.up));
    match missing {
        Some(name) => format!("{address} is not on-link: {name} does not exist or is down"),
        None => format!(
            "{address} is not on-link via {}: this host has no address in its network, and no route to it",
            named.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn link(ifindex: u32, name: &str, address: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            mac: MacAddr::new(2, 0, 0, 0, 0, ifindex as u8),
            mtu: 1500,
            up: true,
            carrier: true,
            addresses: vec![(ip(address), 24)],
        }
    }

    fn judged(address: &str, interface: Option<&str>, route: Route) -> Result<u32, String> {
        let links = [
            link(2, "eth0", "192.0.2.5"),
            link(3, "eth1", "198.51.100.5"),
            Link {
                mac: MacAddr::zero(),
                ..link(4, "tun0", "203.0.113.1")
            },
            Link {
                up: false,
                ..link(5, "eth2", "10.0.0.5")
            },
        ];
        let wanted = Wanted {
            address: ip(address),
            interface: interface.map(String::from),
            mac: None,
        };
        judge(
            &wanted,
            &route,
            &links,
            &["eth0".into(), "tun0".into(), "eth2".into()],
        )
    }

    #[test]
    fn only_a_direct_way_out_of_our_interfaces_will_do() {
        use Route::*;
        assert_eq!(judged("192.0.2.21", None, Direct { oif: 2 }), Ok(2));
        assert_eq!(judged("192.0.2.21", Some("eth0"), Direct { oif: 2 }), Ok(2));
        let gateway = Gateway {
            oif: 2,
            gateway: ip("192.0.2.1"),
        };
        for (address, interface, route, words) in [
            (
                "10.9.0.7",
                None,
                gateway,
                "10.9.0.7 is not on-link via eth0: it is behind the gateway 192.0.2.1; direct routing \
                 reaches only machines on a directly connected network",
            ),
            (
                "192.0.2.5",
                None,
                Local,
                "192.0.2.5 is this host itself (an address of eth0)",
            ),
            (
                "127.0.0.9",
                None,
                Local,
                "127.0.0.9 is this host itself: a real must be another machine",
            ),
            (
                "192.0.2.255",
                None,
                Group,
                "192.0.2.255 is a broadcast or multicast address",
            ),
            (
                "198.51.100.9",
                None,
                Direct { oif: 3 },
                "reached via eth1, which is not one of lbd's interfaces",
            ),
            (
                "203.0.113.2",
                None,
                Direct { oif: 4 },
                "tun0, which has no MAC address",
            ),
            (
                "10.9.0.7",
                Some("eth0"),
                Nowhere,
                "10.9.0.7 is not on-link via eth0: this host has no address",
            ),
            (
                "10.9.0.7",
                Some("eth7"),
                Nowhere,
                "10.9.0.7 is not on-link: eth7 does not exist",
            ),
            (
                "10.9.0.7",
                Some("eth2"),
                Nowhere,
                "10.9.0.7 is not on-link: eth2 is down",
            ),
            (
                "10.9.0.7",
                None,
                Nowhere,
                "10.9.0.7 is not on-link: eth2 does not exist or is down",
            ),
        ] {
            let said = judged(address, interface, route).expect_err(words);
            assert!(said.contains(words), "{said:?} lacks {words:?}");
        }
    }
}
