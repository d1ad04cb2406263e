//! `flows`: what the flow table remembers, and what the proxy has open.

use super::reconciler::Reconciler;
use crate::control::Peer;
use crate::proxy::{Cleared, Clearing, ConnectionRow, ListAsk, Proxy};
use crate::sys::clock;
use lbcore::api::{ApiError, ClearedView, ErrorCode, FlowFilter, FlowView, FlowsView, Response};
use lbcore::config::Mode;
use lbcore::flow::Entry;
use lbcore::id::{RealId, ServiceId};
use lbcore::net::FlowKey;
use lbcore::service::{Member, Service, ServiceTable};
use lbcore::trace::reals_called;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Proxy workers answer between two turns: within milliseconds, if they live.
const WORKERS_ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl Reconciler {
    /// Answers with the flows that fit, remembered ones first.
    pub(super) fn flows(
        &self,
        filter: FlowFilter,
        reply: oneshot::Sender<Result<Response, ApiError>>,
    ) {
        let remembered = match self.remembered(&filter) {
            Ok(remembered) => remembered,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let (table, bound) = (self.live.table(), filter.bound());
        let asks = asks(&filter, remembered.service, &table);
        let proxy = self.proxy.clone();
        let mut view = remembered.view;
        tokio::spawn(async move {
            let listed = match proxy {
                Some(proxy) => {
                    let listing = list(&proxy, asks, &table, bound, &mut view);
                    tokio::time::timeout(WORKERS_ANSWER_WITHIN, listing).await
                }
                None => Ok(()),
            };
            sort(&mut view.flows, &table);
            let _ = reply.send(match listed {
                Ok(()) => Ok(Response::Flows(view)),
                Err(_) => Err(workers_are_silent()),
            });
        });
    }

    fn remembered(&self, filter: &FlowFilter) -> Result<Remembered, ApiError> {
        let table = self.live.table();
        let service = self.service_of(filter, &table)?;
        let meant = Meant::new(filter, service, &table);
        let (now, bound) = (clock::now(), filter.bound());
        let mut flows = Vec::new();
        let mut matched = 0;
        self.live.flows.for_each(|key: FlowKey, entry, created| {
            let Some((of, member)) = meant.owner(&key, &entry) else {
                return;
            };
            matched += 1;
            if flows.len() >= bound {
                return;
            }
            flows.push(FlowView {
                service: of.name.to_string(),
                real: member.name.clone(),
                protocol: key.service.protocol,
                client: SocketAddr::new(key.client.ip(), key.client_port),
                vip: SocketAddr::new(key.service.vip.ip(), key.service.port),
                state: entry.state.word().to_owned(),
                idle_ms: entry.idle_ms(now),
                expires_ms: Some(of.timeouts.left(&entry, now)),
                age_ms: Some(now.since(created)),
                server: None,
                bytes_in: None,
                bytes_out: None,
            });
        });
        let truncated = matched > flows.len() as u64;
        Ok(Remembered {
            view: FlowsView {
                flows,
                matched,
                truncated,
            },
            service,
        })
    }
}

impl Reconciler {
    /// Forgets remembered flows that fit, and ends proxied ones; with `dry_run` only counts them.
    pub(super) fn clear_flows(
        &mut self,
        filter: FlowFilter,
        dry_run: bool,
        peer: &Peer,
        reply: oneshot::Sender<Result<Response, ApiError>>,
    ) {
        let table = self.live.table();
        let service = match self.service_of(&filter, &table) {
            Ok(service) => service,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let meant = Meant::new(&filter, service, &table);
        let mut forgotten = 0;
        if dry_run {
            self.live.flows.for_each(|key, entry, _| {
                forgotten += u64::from(meant.owner(&key, &entry).is_some());
            });
        } else {
            let loads = &self.live.loads;
            self.live.flows.forget(
                |key, entry| meant.owner(key, &entry).is_some(),
                |entry| {
                    loads.sub(entry.real, entry.state.weightiness());
                    forgotten += 1;
                },
            );
            self.note_change(peer, format!("flows cleared: {filter}"));
        }
        let asks = asks(&filter, service, &table);
        let how = if dry_run {
            Clearing::Count
        } else {
            Clearing::End
        };
        let proxy = self.proxy.clone();
        tokio::spawn(async move {
            let clearing = async {
                let mut all = Cleared::default();
                if let Some(proxy) = proxy {
                    for ask in &asks {
                        let some = proxy.clear(ask, how).await;
                        all.connections += some.connections;
                        all.sessions += some.sessions;
                    }
                }
                all
            };
            let cleared = tokio::time::timeout(WORKERS_ANSWER_WITHIN, clearing).await;
            let _ = reply.send(match cleared {
                Ok(Cleared {
                    connections,
                    sessions,
                }) => Ok(Response::Cleared(ClearedView {
                    forgotten,
                    connections,
                    sessions,
                    dry_run,
                })),
                Err(_) => Err(workers_are_silent()),
            });
        });
    }

    /// The service a filter names.
    fn service_of(
        &self,
        filter: &FlowFilter,
        table: &ServiceTable,
    ) -> Result<Option<ServiceId>, ApiError> {
        let Some(wanted) = &filter.service else {
            return Ok(None);
        };
        let name = &self.find_config(wanted)?.name;
        let mut services = table.services.iter();
        Ok(services.find(|s| *s.name == **name).map(|s| s.id))
    }
}

/// Which remembered flows are meant.
struct Meant<'a> {
    filter: &'a FlowFilter,
    table: &'a ServiceTable,
    /// Of the services that are meant. Looked up once a flow, of which there may be a million.
    owners: HashMap<RealId, (&'a Service, &'a Member)>,
}

impl<'a> Meant<'a> {
    fn new(filter: &'a FlowFilter, service: Option<ServiceId>, table: &'a ServiceTable) -> Self {
        let services = table.services.iter();
        let services = services.filter(|s| service.is_none_or(|id| id == s.id));
        let owners = services.flat_map(|s| s.members.iter().map(move |m| (m.id, (s, m))));
        Meant {
            filter,
            table,
            owners: owners.collect(),
        }
    }

    /// Whose flow it is, if it is meant.
    fn owner(&self, key: &FlowKey, entry: &Entry) -> Option<(&'a Service, &'a Member)> {
        // The id may have another owner by now.
        self.table.real_of(entry)?;
        let (service, member) = *self.owners.get(&entry.real)?;
        let FlowFilter {
            real,
            client,
            protocol,
            state,
            ..
        } = self.filter;
        let port = key.service.port;
        let meant = real
            .as_ref()
            .is_none_or(|r| r.matches(&member.name, member.address, port))
            && client.is_none_or(|p| p.contains(key.client.ip()))
            && protocol.is_none_or(|p| p == key.service.protocol)
            && state.as_ref().is_none_or(|s| s == entry.state.word());
        meant.then_some((service, member))
    }
}

fn workers_are_silent() -> ApiError {
    ApiError::new(
        ErrorCode::Timeout,
        format!("the proxy workers did not answer within {WORKERS_ANSWER_WITHIN:?}"),
    )
}

/// What the flow table has, and of which service it was asked.
struct Remembered {
    view: FlowsView,
    service: Option<ServiceId>,
}

/// What to ask the proxy: once for each real that is meant, or once for all.
fn asks(filter: &FlowFilter, service: Option<ServiceId>, table: &ServiceTable) -> Vec<ListAsk> {
    let ask = |real: Option<RealId>| ListAsk {
        service,
        real,
        client: filter.client,
        protocol: filter.protocol,
        state: filter.state.clone(),
        limit: 0,
    };
    let Some(wanted) = &filter.real else {
        return vec![ask(None)];
    };
    let proxied = |id: &RealId| {
        table
            .member(*id)
            .is_some_and(|(s, _)| s.mode == Mode::Tproxy)
    };
    let meant = reals_called(wanted, service, table).into_iter();
    meant.filter(proxied).map(|id| ask(Some(id))).collect()
}

/// Adds what the proxy has, as far as `bound` leaves room.
async fn list(
    proxy: &Arc<Proxy>,
    asks: Vec<ListAsk>,
    table: &ServiceTable,
    bound: usize,
    view: &mut FlowsView,
) {
    for ask in asks {
        let room = bound.saturating_sub(view.flows.len());
        // One more than there is room for tells whether there are more.
        let limit = room + 1;
        let mut rows = proxy.list(&ListAsk { limit, ..ask }).await;
        view.truncated |= rows.len() > room;
        rows.truncate(room);
        let rows = rows.into_iter();
        view.flows.extend(rows.filter_map(|row| shown(row, table)));
    }
}

fn shown(row: ConnectionRow, table: &ServiceTable) -> Option<FlowView> {
    let service = table.services.iter().find(|s| s.id == row.service)?;
    let real = row.real.and_then(|id| table.member(id));
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    // Others end earlier, by rules of their own.
    let lasts = matches!(row.state, "established" | "new").then_some(service.idle_timeout);
    Some(FlowView {
        service: service.name.to_string(),
        real: real.map(|(_, m)| m.name.clone()).unwrap_or_default(),
        protocol: row.vip.protocol,
        client: row.client,
        vip: SocketAddr::new(row.vip.vip.ip(), row.vip.port),
        state: row.state.to_owned(),
        idle_ms: ms(row.idle),
        expires_ms: lasts.map(|lasts| ms(lasts.saturating_sub(row.idle))),
        age_ms: Some(ms(row.age)),
        server: row.server,
        bytes_in: Some(row.bytes_in),
        bytes_out: Some(row.bytes_out),
    })
}

/// By service in file order, real, and client, so that two listings can be compared.
fn sort(flows: &mut [FlowView], table: &ServiceTable) {
    let services = table.services.iter().enumerate();
    let places: HashMap<&str, usize> = services.map(|(at, s)| (&*s.name, at)).collect();
    flows.sort_by(|a, b| {
        let key = |flow: &FlowView| (places.get(flow.service.as_str()).copied(), flow.client);
        let (a_key, b_key) = (key(a), key(b));
        a_key
            .0
            .cmp(&b_key.0)
            .then_with(|| a.real.cmp(&b.real))
            .then(a_key.1.cmp(&b_key.1))
    });
}
