//! The rooms of the floor below: opened, and wired to the reconciler.

use super::reconciler::Outlets;
use crate::control;
use crate::guard::{self, GuardPlan, GuardState};
use crate::intercept::{self, InterceptPlan, InterceptState};
use crate::live::Event;
use crate::live::event::Link;
use crate::probe::{self, Board};
use crate::proxy::{ProxyPlan, ProxyState};
use crate::{link, neigh, vip};
use lbcore::config::Config;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// News that may wait for the reconciler: more than all reals of a large set at once; senders wait
/// beyond it.
const EVENT_QUEUE: usize = 4096;

/// Suspects that may wait for the neighbour room: one a real is enough.
const SUSPECT_QUEUE: usize = 1024;

/// People who want checks run at once and are not heard yet: more are told to come again.
const CHECKS_NOW: usize = 8;

/// The rooms' tasks and the ends the daemon keeps.
pub(super) struct Rooms {
    pub tasks: Vec<JoinHandle<()>>,
    pub access: watch::Receiver<Arc<control::Access>>,
    pub metrics: watch::Receiver<Option<std::net::SocketAddr>>,
    pub proxy: watch::Receiver<Arc<ProxyPlan>>,
    pub proxied: watch::Sender<ProxyState>,
}

impl Rooms {
    /// Opens them all.
    pub fn open(
        config: &Config,
        links: Arc<Vec<Link>>,
        access: control::Access,
        (guard, intercept): (GuardPlan, InterceptPlan),
        board: &Arc<Board>,
    ) -> (Self, Outlets, mpsc::Receiver<Event>) {
        let (event, events) = mpsc::channel(EVENT_QUEUE);
        let (suspect, suspects) = mpsc::channel(SUSPECT_QUEUE);
        let (link_out, link_in) = watch::channel(links);
        let (targets_out, targets_in) = watch::channel(Arc::default());
        let (hops_out, hops_in) = watch::channel(Arc::default());
        let (neighbors_out, neighbors_in) = watch::channel(Arc::default());
        let (vips_out, vips_in) = watch::channel(Arc::default());
        // The whole plan from the start: what a killed lbd left in force must not be opened.
        let (guard_out, guard_in) = watch::channel(Arc::new(guard));
        let (guarded_out, guarded_in) = watch::channel(GuardState::default());
        let (intercept_out, intercept_in) = watch::channel(Arc::new(intercept));
        let (intercepted_out, intercepted_in) = watch::channel(InterceptState::default());
        let (proxy_out, proxy_in) = watch::channel(Arc::default());
        let (proxied_out, proxied_in) = watch::channel(ProxyState::default());
        let (access_out, access_in) = watch::channel(Arc::new(access));
        let (now_out, now_in) = mpsc::channel(CHECKS_NOW);
        let (metrics_out, metrics_in) = watch::channel(config.lbd.metrics);
        let tasks = vec![
            tokio::spawn(link::run(link_out, event.clone())),
            tokio::spawn(neigh::run(
                neighbors_in,
                link_in.clone(),
                suspects,
                event.clone(),
            )),
            tokio::spawn(guard::run(
                guard_in,
                link_in.clone(),
                guarded_out,
                event.clone(),
            )),
            tokio::spawn(intercept::run(intercept_in, intercepted_out, event.clone())),
            tokio::spawn(vip::run(vips_in, link_in, event.clone())),
            tokio::spawn(probe::run(
                targets_in,
                hops_in,
                board.clone(),
                event,
                suspect,
                now_in,
            )),
        ];
        let out = Outlets {
            targets: targets_out,
            hops: hops_out,
            neighbors: neighbors_out,
            vips: vips_out,
            guard: guard_out,
            guarded: guarded_in,
            intercept: intercept_out,
            intercepted: intercepted_in,
            proxy: proxy_out,
            proxied: proxied_in,
            access: access_out,
            check_now: now_out,
            metrics: metrics_out,
        };
        (
            Rooms {
                tasks,
                access: access_in,
                metrics: metrics_in,
                proxy: proxy_in,
                proxied: proxied_out,
            },
            out,
            events,
        )
    }
}
