//! Rules and routes in the kernel: reading, making and removing them.

use super::object::{
    ASK_PRIORITY, LOCAL_PRIORITY, LOCAL_TABLE, MAIN_TABLE, Object, PROTOCOL, Stack, wanted,
};
use super::{InterceptError, MARK, MARK_MASK};
use crate::sys::netlink::{self, attributes, messages, to_io};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion};
use std::io;

/// What hears of changes (RTNLGRP_*).
pub(super) const GROUPS: [u32; 4] = [
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];

/// Its index in every network namespace (LOOPBACK_IFINDEX).
const LO: u32 = 1;

/// What `stacks` need and the kernel lacks.
pub(super) async fn missing(stacks: &[Stack]) -> Result<Vec<Object>, InterceptError> {
    let handle = connect()?;
    let mut missing = wanted(stacks);
    for &stack in stacks {
        let found = found(&handle, stack).await?;
        missing.retain(|object| !found.iter().any(|found| found.is == Some(*object)));
    }
    Ok(missing)
}

/// Makes what `stacks` need and the kernel lacks, and gives back what that was.
pub(super) async fn put(stacks: &[Stack]) -> Result<Vec<Object>, InterceptError> {
    let missing = missing(stacks).await?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let handle = connect()?;
    let mut failed = None;
    for &object in &missing {
        if let Err(error) = make(&handle, object).await {
            failed.get_or_insert(object.failed(error));
        }
    }
    failed.map_or(Ok(missing), Err)
}

/// Removes what any lbd has left, beside one of each of what `keep` needs, and says what that was;
/// with `dry_run` it only says.
pub(super) async fn clear(keep: &[Stack], dry_run: bool) -> Result<Vec<String>, InterceptError> {
    let handle = connect()?;
    let mut removed = Vec::new();
    for stack in [Stack::V4, Stack::V6] {
        let mut kept = Vec::new();
        // Rules before the route they lead to.
        for found in found(&handle, stack).await? {
            let needed = found.is.filter(|object| {
                keep.contains(&stack) && object.stack() == Some(stack) && !kept.contains(object)
            });
            kept.extend(needed);
            if needed.is_some() || !found.ours {
                continue;
            }
            let words = match found.is {
                Some(object) => object.to_string(),
                None => format!("{} rule or route of an earlier lbd", stack.ip()),
            };
            if !dry_run {
                unmake(&handle, found.what).await.map_err(|source| {
                    let command = words.clone();
                    InterceptError::Routing { command, source }
                })?;
            }
            removed.push(words);
        }
    }
    Ok(removed)
}

/// Whether a datagram of [`GROUPS`] says that something went that might have been ours.
pub(super) fn tells_of_loss(datagram: &[u8]) -> bool {
    /// Lengths of struct rtmsg and struct fib_rule_hdr.
    const HEADER: usize = 12;
    /// FRA_TABLE has the same number.
    const RTA_TABLE: u16 = 15;
    messages(datagram).any(|(kind, payload)| match kind {
        libc::RTM_DELRULE => true,
        libc::RTM_DELROUTE => attributes(payload.get(HEADER..).unwrap_or_default())
            .any(|(kind, value)| kind == RTA_TABLE && value == LOCAL_TABLE.to_ne_bytes()),
        _ => false,
    })
}

/// A rule or route that is of interest.
struct Found {
    /// Which of the wanted ones it is, whoever made it.
    is: Option<Object>,
    /// Made by an lbd.
    ours: bool,
    what: What,
}

enum What {
    Rule(RuleMessage),
    Route(RouteMessage),
}

fn connect() -> Result<Handle, InterceptError> {
    netlink::rtnetlink_strict().map_err(|source| InterceptError::Routing {
        command: "ip rule".into(),
        source,
    })
}

/// What is there of one family, rules first.
async fn found(handle: &Handle, stack: Stack) -> Result<Vec<Found>, InterceptError> {
    let version = match stack {
        Stack::V4 => IpVersion::V4,
        Stack::V6 => IpVersion::V6,
    };
    let rules: Result<Vec<RuleMessage>, _> =
        handle.rule().get(version).execute().try_collect().await;
    let mut question = route(stack);
    question.header.kind = RouteType::Unspec;
    question.header.scope = RouteScope::Universe;
    question.header.protocol = RouteProtocol::Unspec;
    question.attributes = vec![RouteAttribute::Table(LOCAL_TABLE)];
    let routes: Result<Vec<RouteMessage>, _> =
        handle.route().get(question).execute().try_collect().await;
    let rules = or_none(rules).map_err(|error| Object::LocalRule(stack).failed(error))?;
    let routes = or_none(routes).map_err(|error| Object::Route(stack).failed(error))?;
    let rules = rules.into_iter().filter_map(|rule| found_rule(rule, stack));
    let routes = routes
        .into_iter()
        .filter_map(|route| found_route(route, stack));
    Ok(rules.chain(routes).collect())
}

/// A family the kernel does not have, and a table that nothing is in, are empty.
fn or_none<T>(dump: Result<Vec<T>, rtnetlink::Error>) -> io::Result<Vec<T>> {
    match dump.map_err(to_io) {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
            ) =>
        {
            Ok(Vec::new())
        }
        other => other,
    }
}

fn found_rule(rule: RuleMessage, stack: Stack) -> Option<Found> {
    let table = |id: u32| rule.attributes.contains(&RuleAttribute::Table(id));
    let priority = |value: u32| rule.attributes.contains(&RuleAttribute::Priority(value));
    let (local, ask) = (Object::LocalRule(stack), Object::AskRule(stack));
    let is = [(local, false), (ask, true)]
        .into_iter()
        .find(|&(object, from_lo)| {
            let (table_id, priority_value) = numbers(object);
            table(table_id) && priority(priority_value) && matches_marked(&rule, from_lo)
        })
        .map(|(object, _)| object);
    let made_by_us = rule
        .attributes
        .contains(&RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)));
    let ours = made_by_us
        && rule.header.family == stack.family()
        && (priority(LOCAL_PRIORITY) || priority(ASK_PRIORITY) || table(LOCAL_TABLE));
    (ours || is.is_some()).then_some(Found {
        is,
        ours,
        what: What::Rule(rule),
    })
}

/// Table and priority of a rule.
fn numbers(rule: Object) -> (u32, u32) {
    match rule {
        Object::AskRule(_) => (MAIN_TABLE, ASK_PRIORITY),
        _ => (LOCAL_TABLE, LOCAL_PRIORITY),
    }
}

/// Whether a rule looks a table up for packets with our mark, and asks for nothing more than that
/// they come from `lo`, if `from_lo`.
fn matches_marked(rule: &RuleMessage, from_lo: bool) -> bool {
    let header = &rule.header;
    let plain = header.dst_len == 0
        && header.src_len == 0
        && header.tos == 0
        && header.action == RuleAction::ToTable
        && header.flags.is_empty();
    let mut seen = [false; 3];
    plain
        && rule.attributes.iter().all(|attribute| match attribute {
            RuleAttribute::FwMark(mark) => {
                seen[0] = true;
                *mark == MARK
            }
            RuleAttribute::FwMask(mask) => {
                seen[1] = true;
                *mask == MARK_MASK
            }
            RuleAttribute::Iifname(name) => {
                seen[2] = true;
                name == "lo"
            }
            RuleAttribute::SuppressPrefixLen(length) => *length == u32::MAX,
            RuleAttribute::Table(_) | RuleAttribute::Priority(_) | RuleAttribute::Protocol(_) => {
                true
            }
            _ => false,
        })
        && seen == [true, true, from_lo]
}

fn found_route(route: RouteMessage, stack: Stack) -> Option<Found> {
    let has = |attribute| route.attributes.contains(&attribute);
    let header = &route.header;
    if !has(RouteAttribute::Table(LOCAL_TABLE)) || header.address_family != stack.family() {
        return None;
    }
    let stands = header.kind == RouteType::Local
        && header.destination_prefix_length == 0
        && has(RouteAttribute::Oif(LO));
    Some(Found {
        is: stands.then_some(Object::Route(stack)),
        ours: header.protocol == RouteProtocol::Other(PROTOCOL),
        what: What::Route(route),
    })
}

/// Makes one. One that is there already is as good.
async fn make(handle: &Handle, object: Object) -> io::Result<()> {
    let made = match object {
        Object::Table => Ok(()),
        Object::AskRule(stack) | Object::LocalRule(stack) => {
            let (table, priority) = numbers(object);
            let mut request = handle
                .rule()
                .add()
                .table_id(table)
                .priority(priority)
                .fw_mark(MARK)
                .action(RuleAction::ToTable);
            if object == Object::AskRule(stack) {
                request = request.input_interface("lo");
            }
            let message = request.message_mut();
            message.header.family = stack.family();
            message.attributes.extend([
                RuleAttribute::FwMask(MARK_MASK),
                RuleAttribute::Protocol(RouteProtocol::Other(PROTOCOL)),
            ]);
            request.execute().await
        }
        Object::Route(stack) => handle.route().add(route(stack)).execute().await,
    };
    match made.map_err(to_io) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// `local default dev lo`.
fn route(stack: Stack) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = stack.family();
    route.header.protocol = RouteProtocol::Other(PROTOCOL);
    route.header.kind = RouteType::Local;
    route.header.scope = RouteScope::Host;
    route.attributes = vec![RouteAttribute::Table(LOCAL_TABLE), RouteAttribute::Oif(LO)];
    route
}

/// Removes one. One that is gone already is as good.
async fn unmake(handle: &Handle, what: What) -> io::Result<()> {
    let removed = match what {
        What::Rule(rule) => handle.rule().del(rule).execute().await,
        What::Route(route) => handle.route().del(route).execute().await,
    };
    match removed.map_err(to_io) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(()),
        other => other,
    }
}
