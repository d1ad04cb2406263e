//! Maglev hashing of the flow: what any peer with the same key and set would choose.

use super::Pick;
use crate::id::RealId;

/// The ring, asked with the hash of the flow.
#[derive(Clone, Debug)]
pub struct Maglev;

impl Maglev {
    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        pick.ring.map(|ring| ring.pick(pick.flow))
    }
}
