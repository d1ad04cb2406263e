//! What people ask over the control socket, and what becomes of it.

use super::changes::About;
use super::reconciler::{Reconciler, Trigger};
use super::reload::Refused;
use crate::control::page::{self, Glance};
use crate::control::{Ask, Peer};
use crate::sys::peer::user_name;
use lbcore::api::{
    ApiError, ErrorCode, Happening, KeyView, NodeView, NodesView, RealRef, RealView, RealsView,
    ReloadView, Request, Response, ServiceRef, ServiceView, ServicesView, TransitionView, VipVerb,
    VipsView,
};
use lbcore::config::{self, Announce, Edit, Keys};
use lbcore::vip::Hold;
use std::net::{IpAddr, SocketAddr};

impl Reconciler {
    /// Answers one question. Nobody may be there any more to hear it.
    pub(super) async fn answer(&mut self, ask: Ask) {
        self.count_fast_path();
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
            Request::AddService { keys, how } => {
                self.change(About::default(), vec![Edit::AddService { keys }], how, peer)
                    .await?
            }
            Request::SetService { service, keys, how } => {
                let service = self.configured(&service)?.name.clone();
                let about = About::service(&service);
                let edits = vec![Edit::SetService { service, keys }];
                self.change(about, edits, how, peer).await?
            }
            Request::RemoveService { service, how } => {
                let service = self.configured(&service)?.name.clone();
                let about = About::service(&service);
                let edits = vec![Edit::RemoveService { service }];
                self.change(about, edits, how, peer).await?
            }
            Request::AddReal { service, keys, how } => {
                let service = self.configured(&service)?.name.clone();
                let about = About::new_real(&service, &keys);
                let edits = vec![Edit::AddReal { service, keys }];
                self.change(about, edits, how, peer).await?
            }
            Request::SetReal {
                service,
                real,
                keys,
                how,
            } => {
                let (about, service, real) = self.configured_real(&service, &real)?;
                let edits = vec![Edit::SetReal {
                    service,
                    real,
                    keys,
                }];
                self.change(about, edits, how, peer).await?
            }
            Request::RemoveReal { service, real, how } => {
                let (about, service, real) = self.configured_real(&service, &real)?;
                let edits = vec![Edit::RemoveReal { service, real }];
                self.change(about, edits, how, peer).await?
            }
            Request::SetNode { address, keys, how } => {
                let edits = self.on_node(address, &keys)?;
                self.change(About::default(), edits, how, peer).await?
            }
            Request::Config(request) => self.configure(request, peer).await?,
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
                let trigger = Trigger::Typed { force };
                let reloaded = self.reload(trigger, dry_run, Some(peer)).await;
                let reloaded = reloaded.map_err(refusal)?;
                Response::Reload(ReloadView {
                    revision: self.revision,
                    generation: self.generation,
                    changes: reloaded.changes,
                    warnings: reloaded.warnings,
                    plan: reloaded.plan,
                    dry_run,
                })
            }
        })
    }

    pub(super) fn find(&self, wanted: &ServiceRef) -> Result<ServiceView, ApiError> {
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
        let user = user_name(uid);
        tracing::info!(uid, user, pid, change, "changed by command");
        self.journal.note(Happening::Change {
            uid,
            user,
            pid,
            change,
        });
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

    /// A service of the configuration: one that only lingers cannot be changed.
    fn configured(&self, wanted: &ServiceRef) -> Result<&config::Service, ApiError> {
        let mut services = self.world.config.services.iter();
        services
            .find(|s| wanted.matches(&s.name, &s.vips, &s.ports, s.protocol))
            .ok_or_else(|| self.no_service(wanted))
    }

    /// A real of it, with its place.
    fn configured_real(
        &self,
        service: &ServiceRef,
        real: &RealRef,
    ) -> Result<(About, String, SocketAddr), ApiError> {
        let config = self.configured(service)?;
        let found = self.find_real(config, real)?;
        let about = About {
            service: Some(config.name.clone()),
            real: Some(RealRef(found.name.clone())),
        };
        Ok((about, config.name.clone(), found.place()))
    }

    /// The same keys for a machine in every service it is a real of.
    fn on_node(&self, address: IpAddr, keys: &Keys) -> Result<Vec<Edit>, ApiError> {
        let services = self.world.config.services.iter();
        let reals = services.flat_map(|s| s.reals.iter().map(move |real| (s, real)));
        let edits: Vec<Edit> = reals
            .filter(|(_, real)| real.address == address)
            .map(|(service, real)| Edit::SetReal {
                service: service.name.clone(),
                real: real.place(),
                keys: keys.clone(),
            })
            .collect();
        if edits.is_empty() {
            let error = format!("no real of any service has the address {address}");
            return Err(
                ApiError::new(ErrorCode::NotFound, error).hint("lbctl node list shows them all")
            );
        }
        Ok(edits)
    }

    async fn set_vip(
        &mut self,
        vip: Option<IpAddr>,
        verb: VipVerb,
        dry_run: bool,
        peer: &Peer,
    ) -> Result<Response, ApiError> {
        let mut meant = self.vips();
        if verb == VipVerb::Auto {
            // A wish may have outlived its VIP's services.
            let held = self.world.overrides.vips.keys().copied();
            meant.extend(held.filter(|vip| !meant.contains(vip)).collect::<Vec<_>>());
        }
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

/// The real that is meant.
pub(super) fn pick(service: ServiceView, wanted: &RealRef) -> Result<RealView, ApiError> {
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

/// A refused configuration, as an answer.
pub(super) fn refusal(refused: Refused) -> ApiError {
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
