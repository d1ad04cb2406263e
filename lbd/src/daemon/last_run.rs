//! What ran before this lbd: services that the file has no more, under that name or at all.

use super::history::History;
use super::reload;
use super::world::World;
use lbcore::api::{RevisionResult, RevisionView};
use lbcore::load::Loads;
use tracing::info;

/// Follows what was renamed or removed while no lbd ran, and what lingered when the last one ended, as a reload
/// does: the revisions, the newest first, tell what those services were.
pub fn follow(world: &mut World, history: &History, loads: &Loads) {
    let mut missing = world.missing();
    // One that was given up ran before what it was given up for.
    let given_up = |about: &&RevisionView| about.result == RevisionResult::RolledBack;
    let newest = || history.revisions().iter().rev();
    let kept = newest().filter(|about| !given_up(about));
    for about in kept.chain(newest().filter(given_up)) {
        if missing.is_empty() {
            break;
        }
        let sources = history.sources(about.revision).ok();
        let ran = sources.and_then(|sources| reload::judge(sources).ok());
        let Some(mut ran) = ran.map(|loaded| loaded.config) else {
            continue;
        };
        // Each as it was when it ran last.
        ran.services.retain(|service| missing.remove(&service.name));
        world.follow_renames(&ran);
        world.linger(&ran, loads);
    }
    for service in &world.lingering {
        info!(
            service = service.name,
            "is not configured any more: its flows go on until they end"
        );
    }
}
