//! What people ask over the control socket, and what becomes of it.

use super::persist::Changed;
use super::reconciler::{Reconciler, Trigger};
use super::reload::Refused;
use crate::control::Ask;
use crate::sys::clock;
use lbcore::api::{
    ApiError, ChangeView, ErrorCode, FlowFilter, FlowView, FlowsView, RealChange, RealRef,
    RealView, RealsView, ReloadView, Request, Response, ServiceRef, ServiceView, ServicesView,
    VipVerb, VipsView,
};
use lbcore::config;
use lbcore::net::FlowKey;
use lbcore::vip::Hold;
use std::net::{IpAddr, SocketAddr};

impl Reconciler {
    /// Answers one question. Nobody may be there any more to hear it.
    pub(super) async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Request { request, reply, .. } => {
                let _ = reply.send(self.request(request).await);
            }
            Ask::Metrics { reply } => {
                let _ = reply.send(self.metrics());
            }
            Ask::Ready { reply } => {
                let _ = reply.send(self.readiness());
            }
        }
    }

    async fn request(&mut self, request: Request) -> Result<Response, ApiError> {
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
                Response::Real(Box::new(pick(found, &real)?))
            }
            Request::SetReal {
                service,
                real,
                change,
            } => self.set_real(&service, &real, change).await?,
            Request::Vips => Response::Vips(VipsView {
                vips: self.vip_views(),
            }),
            Request::Vip { vip, verb } => self.set_vip(vip, verb).await?,
            Request::Flows { filter } => Response::Flows(self.flows(&filter)?),
            Request::Explain {
                protocol,
                client,
                vip,
            } => Response::Explain(Box::new(self.explain(protocol, client, vip))),
            Request::Reload { force, dry_run } => {
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

    fn find_config(&self, wanted: &ServiceRef) -> Result<&config::Service, ApiError> {
        let mut services = self.world.services();
        services
            .find(|s| wanted.matches(&s.name, &s.vips, &s.ports, s.protocol))
            .ok_or_else(|| self.no_service(wanted))
    }

    fn no_service(&self, wanted: &ServiceRef) -> ApiError {
        let known: Vec<&str> = self.world.services().map(|s| s.name.as_str()).collect();
        ApiError::no_such_service(wanted, &known)
    }

    async fn set_real(
        &mut self,
        service: &ServiceRef,
        real: &RealRef,
        change: RealChange,
    ) -> Result<Response, ApiError> {
        let config = self.find_config(service)?;
        let found = config
            .reals
            .iter()
            .find(|r| real.matches(&r.name, r.address));
        let found = found.ok_or_else(|| {
            let known: Vec<&str> = config.reals.iter().map(|r| r.name.as_str()).collect();
            ApiError::no_such_real(real, &config.name, &known)
        })?;
        if change.weight.is_some_and(|w| w > 256) {
            let error = ApiError::new(ErrorCode::BadRequest, "a weight is 0 to 256");
            return Err(error);
        }
        let (name, place) = (config.name.clone(), found.place());
        let called = RealRef(found.name.clone());
        let (admin, weight) = (found.admin, found.weight);
        let mut changes = Vec::new();
        let reals = self.world.overrides.reals.entry(name.clone()).or_default();
        let held = reals.entry(place).or_default();
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
        if held.is_empty() {
            reals.remove(&place);
        }
        self.world
            .overrides
            .reals
            .retain(|_, reals| !reals.is_empty());
        if !changes.is_empty() {
            self.save_overrides();
            self.refresh().await;
        }
        let real = pick(self.find(service)?, &called)?;
        Ok(Response::Changed(Box::new(ChangeView {
            service: name,
            changes,
            generation: self.generation,
            warnings: Vec::new(),
            real,
        })))
    }

    async fn set_vip(&mut self, vip: IpAddr, verb: VipVerb) -> Result<Response, ApiError> {
        if !self.world.services().any(|s| s.vips.contains(&vip)) {
            let error = ApiError::new(ErrorCode::NotFound, format!("no service has the VIP {vip}"));
            return Err(error.hint("lbctl vip list shows them all"));
        }
        let hold = match verb {
            VipVerb::Take => Hold::Take,
            VipVerb::Release => Hold::Release,
        };
        self.world.overrides.vips.insert(vip, hold);
        self.save_overrides();
        self.refresh().await;
        let vips = self
            .vip_views()
            .into_iter()
            .filter(|v| v.vip == vip)
            .collect();
        Ok(Response::Vip(VipsView { vips }))
    }

    fn flows(&self, filter: &FlowFilter) -> Result<FlowsView, ApiError> {
        let table = self.live.table();
        let service = match &filter.service {
            Some(wanted) => Some(self.find_config(wanted)?.name.clone()),
            None => None,
        };
        let (now, bound) = (clock::now(), filter.bound());
        let mut flows = Vec::new();
        let mut truncated = false;
        self.live.flows.for_each(|key: FlowKey, entry, _created| {
            let Some((of, member)) = table.member(entry.real) else {
                return;
            };
            let wanted = table.real_of(&entry).is_some()
                && service.as_ref().is_none_or(|name| **name == *of.name)
                && filter
                    .real
                    .as_ref()
                    .is_none_or(|r| r.matches(&member.name, member.address))
                && filter
                    .client
                    .as_ref()
                    .is_none_or(|p| p.contains(key.client.ip()));
            if !wanted {
                return;
            }
            if flows.len() >= bound {
                truncated = true;
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
            });
        });
        Ok(FlowsView { flows, truncated })
    }
}

fn pick(service: ServiceView, wanted: &RealRef) -> Result<RealView, ApiError> {
    let (name, mut reals) = (service.name, service.reals);
    match reals
        .iter()
        .position(|r| wanted.matches(&r.name, r.address))
    {
        Some(at) => Ok(reals.swap_remove(at)),
        None => {
            let known: Vec<&str> = reals.iter().map(|r| r.name.as_str()).collect();
            Err(ApiError::no_such_real(wanted, &name, &known))
        }
    }
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
