//! What people ask over the control socket, and what becomes of it.

use super::persist::Changed;
use super::reconciler::{Reconciler, Trigger};
use super::reload::Refused;
use crate::control::page::{self, Glance};
use crate::control::{Ask, Peer};
use crate::sys::clock;
use lbcore::api::{
    ApiError, ChangeView, ErrorCode, Happening, How, KeyView, NodeView, NodesView, RealRef,
    RealView, RealsView, ReloadView, Request, Response, SavedState, SavedView, ServiceRef,
    ServiceView, ServicesView, TransitionView, VipVerb, VipsView,
};
use lbcore::config::{self, Announce, Keys};
use lbcore::vip::Hold;
use std::net::IpAddr;

impl Reconciler {
    /// Answers one question. Nobody may be there any more to hear it.
    pub(super) async fn answer(&mut self, ask: Ask) {
        match ask {
            // These wait for others, and the reconciler for nobody.
            Ask::Request {
                request: Request::Flows { filter },
                reply,
                ..
            } => self.flows(filter, reply),
            Ask::Request {
                request:
                    Request::ClearFlows {
                        filter, dry_run, ..
                    },
                peer,
                reply,
            } => self.clear_flows(filter, dry_run, &peer, reply),
            Ask::Request {
                request: Request::Doctor { client },
                reply,
                ..
            } => self.doctor(client, reply),
            Ask::Request {
                request,
                peer,
                reply,
            } => {
                let _ = reply.send(self.request(request, &peer).await);
            }
            Ask::CheckNow { ask, peer, reply } => {
                let _ = reply.send(self.check_now(ask, &peer));
            }
            Ask::Events { follow, reply } => {
                let _ = reply.send(self.journal.stream(follow));
            }
            Ask::Trace { ask, reply } => {
                let _ = reply.send(self.trace(ask));
            }
            Ask::Metrics { reply } => {
                let _ = reply.send(self.metrics());
            }
            Ask::Glance { reply } => {
                let _ = reply.send(Glance {
                    status: self.status(),
                    lately: self.journal.latest(page::LATELY),
                });
            }
            Ask::Ready { reply } => {
                let _ = reply.send(self.readiness());
            }
        }
    }

    async fn request(&mut self, request: Request, peer: &Peer) -> Result<Response, ApiError> {
        Ok(match request {
            Request::Status => Response::Status(Box::new(self.status())),
            Request::Services => {
                let services = self.service_views(&self.live.table());
                Response::Services(ServicesView { services })
            }
            Request::Service { service } => Response::Service(Box::new(self.find(&service)?)),
            Request::Reals { service } => {
                let found = self.find(&service)?;
                Response::Reals(RealsView {
                    service: found.name,
                    reals: found.reals,
                })
            }
            Request::Real { service, real } => {
                let found = self.find(&service)?;
                let service = found.name.clone();
                let mut view = pick(found, &real)?;
                view.history = self.history_of(&service, &view);
                Response::Real(Box::new(view))
            }
            Request::SetReal {
                service,
                real,
                keys,
                how,
            } => {
                let change = RealChange::of(keys)?;
                self.set_real(&service, &real, change, how, peer).await?
            }
            Request::AddService { .. }
            | Request::SetService { .. }
            | Request::RemoveService { .. }
            | Request::AddReal { .. }
            | Request::RemoveReal { .. }
            | Request::SetNode { .. } => return Err(not_by_command()),
            Request::Vips => Response::Vips(VipsView {
                vips: self.vip_views(),
                changes: Vec::new(),
                dry_run: false,
            }),
            Request::Vip { vip, verb, dry_run } => self.set_vip(vip, verb, dry_run, peer).await?,
            Request::Nodes => Response::Nodes(self.nodes()),
            Request::Node { address } => Response::Node(self.node(address)?),
            Request::Maintenance => Response::Maintenance(Box::new(self.maintenance())),
            Request::SetMaintenance { on, dry_run } => {
                self.set_maintenance(on, dry_run, peer).await
            }
            Request::Log => self.log(),
            Request::SetLog {
                filter,
                for_ms,
                dry_run,
            } => self.set_log(filter, for_ms, dry_run, peer)?,
            Request::Key => Response::Key(KeyView {
                fingerprint: self.world.key.fingerprint(),
                file: self.places.hash_key.display().to_string(),
            }),
            Request::Flows { .. }
            | Request::ClearFlows { .. }
            | Request::CheckNow { .. }
            | Request::Doctor { .. }
            | Request::Events { .. }
            | Request::Trace { .. } => {
                let error = ApiError::new(ErrorCode::Internal, "asked at the wrong door");
                return Err(error);
            }
            Request::Explain {
                protocol,
                client,
                vip,
                packet,
            } => Response::Explain(Box::new(self.explain(protocol, client, vip, packet))),
            Request::Reload { force, dry_run } => {
                if !dry_run {
                    self.note_change(peer, "reload".to_owned());
                }
                let reloaded = self.reload(Trigger::Typed { force }, dry_run).await;
                let reloaded = reloaded.map_err(refusal)?;
                Response::Reload(ReloadView {
                    revision: self.revision,
                    generation: self.generation,
                    changes: reloaded.changes,
                    warnings: reloaded.warnings,
                    dry_run,
                })
            }
        })
    }

    fn find(&self, wanted: &ServiceRef) -> Result<ServiceView, ApiError> {
        let config = self.find_config(wanted)?;
        let views = self.service_views(&self.live.table());
        views
            .into_iter()
            .find(|s| s.name == config.name)
            .ok_or_else(|| self.no_service(wanted))
    }

    fn nodes(&self) -> NodesView {
        NodesView::of(&self.service_views(&self.live.table()))
    }

    fn node(&self, address: IpAddr) -> Result<NodeView, ApiError> {
        let mut nodes = self.nodes().nodes.into_iter();
        nodes.find(|node| node.address == address).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("no real has the address {address}"),
            )
            .hint("lbctl node list shows them all")
        })
    }

    pub(super) fn note_change(&mut self, peer: &Peer, change: String) {
        let (uid, pid) = (peer.uid, peer.pid);
        self.journal.note(Happening::Change { uid, pid, change });
    }

    fn history_of(&self, service: &str, real: &RealView) -> Vec<TransitionView> {
        let table = self.live.table();
        let mut services = table.services.iter();
        let Some(service) = services.find(|s| *s.name == *service) else {
            return Vec::new();
        };
        let mut members = service.members.iter();
        let same = members.find(|m| m.name == real.name && m.lingering == real.removed);
        same.map(|m| self.journal.history(m.id)).unwrap_or_default()
    }

    pub(super) fn find_config(&self, wanted: &ServiceRef) -> Result<&config::Service, ApiError> {
        let mut services = self.world.services();
        services
            .find(|s| wanted.matches(&s.name, &s.vips, &s.ports, s.protocol))
            .ok_or_else(|| self.no_service(wanted))
    }

    /// The real that is meant among those configured.
    pub(super) fn find_real<'a>(
        &self,
        service: &'a config::Service,
        wanted: &RealRef,
    ) -> Result<&'a config::Real, ApiError> {
        let first_port = service.ports.first().copied().unwrap_or_default();
        let reals = service.reals.iter();
        let reals = reals.map(|r| (r.name.as_str(), r.address, r.port.unwrap_or(first_port)));
        Ok(&service.reals[which(reals, wanted, &service.name)?])
    }

    pub(super) fn no_service(&self, wanted: &ServiceRef) -> ApiError {
        let known: Vec<&str> = self.world.services().map(|s| s.name.as_str()).collect();
        ApiError::no_such_service(wanted, &known)
    }

    async fn set_real(
        &mut self,
        service: &ServiceRef,
        real: &RealRef,
        change: RealChange,
        how: How,
        peer: &Peer,
    ) -> Result<Response, ApiError> {
        let config = self.find_config(service)?;
        let found = self.find_real(config, real)?;
        if change.weight.is_some_and(|w| w > 256) {
            let error = ApiError::new(ErrorCode::BadRequest, "a weight is 0 to 256");
            return Err(error);
        }
        let (name, place) = (config.name.clone(), found.place());
        let called = RealRef(found.name.clone());
        let (admin, weight) = (found.admin, found.weight);
        let all = self.world.overrides.reals.get(&name);
        let mut held = all
            .and_then(|reals| reals.get(&place))
            .copied()
            .unwrap_or_default();
        let mut changes = Vec::new();
        if let Some(wish) = change.admin {
            let before = held.admin.map_or(admin, |c| c.running);
            if before != wish {
                changes.push(format!("admin: {} -> {}", before.word(), wish.word()));
            }
            held.admin = (wish != admin).then_some(Changed {
                running: wish,
                file: admin,
            });
        }
        if let Some(wish) = change.weight {
            let before = held.weight.map_or(weight, |c| c.running);
            if before != wish {
                changes.push(format!("weight: {before} -> {wish}"));
            }
            held.weight = (wish != weight).then_some(Changed {
                running: wish,
                file: weight,
            });
        }
        let enabled = change.admin == Some(config::Admin::Enabled) && !how.dry_run;
        if enabled && self.world.pardon(&name, place, clock::now()) {
            changes.push("no longer held down".to_owned());
        }
        for change in &mut changes {
            *change = format!("{name}/{}: {change}", called.0);
        }
        if !changes.is_empty() && !how.dry_run {
            let all = &mut self.world.overrides.reals;
            let reals = all.entry(name.clone()).or_default();
            match held.is_empty() {
                true => reals.remove(&place),
                false => reals.insert(place, held),
            };
            all.retain(|_, reals| !reals.is_empty());
            self.save_overrides();
            for change in &changes {
                self.note_change(peer, change.clone());
            }
            self.refresh().await;
        }
        let real = pick(self.find(service)?, &called)?;
        Ok(Response::Changed(Box::new(ChangeView {
            service: Some(name),
            saved: SavedView {
                state: match changes.is_empty() {
                    true => SavedState::Unchanged,
                    false => SavedState::Runtime,
                },
                ..SavedView::default()
            },
            changes,
            revision: self.revision,
            generation: self.generation,
            dry_run: how.dry_run,
            real: Some(Box::new(real)),
            ..ChangeView::default()
        })))
    }

    async fn set_vip(
        &mut self,
        vip: Option<IpAddr>,
        verb: VipVerb,
        dry_run: bool,
        peer: &Peer,
    ) -> Result<Response, ApiError> {
        let mut meant = self.vips();
        if let Some(vip) = vip {
            meant.retain(|known| *known == vip);
            if meant.is_empty() {
                let words = format!("no service has the VIP {vip}; nothing was changed");
                let error = ApiError::new(ErrorCode::NotFound, words);
                return Err(error.hint("lbctl vip list shows them all"));
            }
        }
        let hold = match verb {
            VipVerb::Take => Hold::Take,
            VipVerb::Release => Hold::Release,
            VipVerb::Auto => Hold::Default,
        };
        let mut changes = Vec::new();
        for vip in &meant {
            let before = self.world.overrides.vips.get(vip).copied();
            let before = before.unwrap_or_default();
            if before != hold {
                let announce = self.announce_of(*vip);
                let words = |hold| hold_words(hold, announce);
                changes.push(format!("vip {vip}: {} -> {}", words(before), words(hold)));
            }
        }
        if !dry_run {
            for vip in &meant {
                match hold {
                    Hold::Default => self.world.overrides.vips.remove(vip),
                    hold => self.world.overrides.vips.insert(*vip, hold),
                };
            }
            self.save_overrides();
            for change in &changes {
                self.note_change(peer, change.clone());
            }
            self.refresh().await;
        }
        let vips = self
            .vip_views()
            .into_iter()
            .filter(|v| meant.contains(&v.vip))
            .collect();
        Ok(Response::Vip(VipsView {
            vips,
            changes,
            dry_run,
        }))
    }
}

fn hold_words(hold: Hold, announce: Option<Announce>) -> String {
    match (hold, announce) {
        (Hold::Take, _) => "taken".to_owned(),
        (Hold::Release, _) => "released".to_owned(),
        (Hold::Default, Some(announce)) => format!("as announce says ({})", announce.word()),
        (Hold::Default, None) => "as announce says".to_owned(),
    }
}

fn pick(service: ServiceView, wanted: &RealRef) -> Result<RealView, ApiError> {
    let (name, mut reals) = (service.name, service.reals);
    let all = reals.iter().map(|r| (r.name.as_str(), r.address, r.port));
    let at = which(all, wanted, &name)?;
    Ok(reals.swap_remove(at))
}

/// The place of the one real that is wanted among `reals` of `service`.
fn which<'a>(
    reals: impl Iterator<Item = (&'a str, IpAddr, u16)> + Clone,
    wanted: &RealRef,
    service: &str,
) -> Result<usize, ApiError> {
    wanted.find(reals.clone()).map_err(|meant| {
        let names: Vec<&str> = reals.map(|(name, ..)| name).collect();
        if meant.is_empty() {
            return ApiError::no_such_real(wanted, service, &names);
        }
        let meant: Vec<&str> = meant.into_iter().map(|at| names[at]).collect();
        ApiError::which_real(wanted, service, &meant)
    })
}

/// What of a real can be changed while lbd runs; what is `None` stays.
#[derive(Clone, Copy, Default)]
struct RealChange {
    weight: Option<u16>,
    admin: Option<config::Admin>,
}

impl RealChange {
    fn of(keys: Keys) -> Result<Self, ApiError> {
        let wrong =
            |e: serde_json::Error| ApiError::new(ErrorCode::BadRequest, format!("no value: {e}"));
        let mut change = RealChange::default();
        for (key, value) in keys {
            match key.as_str() {
                "weight" => change.weight = Some(serde_json::from_value(value).map_err(wrong)?),
                "admin" => change.admin = Some(serde_json::from_value(value).map_err(wrong)?),
                _ => return Err(not_by_command()),
            }
        }
        Ok(change)
    }
}

fn not_by_command() -> ApiError {
    ApiError::new(
        ErrorCode::BadRequest,
        "this cannot be changed while lbd runs; nothing was changed",
    )
    .hint("write it into the configuration file, then: lbctl reload")
}

fn refusal(refused: Refused) -> ApiError {
    let code = if refused.file_at_fault {
        ErrorCode::BadConfig
    } else {
        ErrorCode::Conflict
    };
    let mut error = ApiError::new(code, format!("{}; nothing was changed", refused.summary));
    if !refused.detail.is_empty() {
        error = error.detail(refused.detail);
    }
    error
}
