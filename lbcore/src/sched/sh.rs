//! Source hashing: all flows of one client address go to one real. Unlike IPVS's table it is
//! consistent: when a real goes, other clients keep theirs.

use super::Pick;
use crate::id::RealId;

/// The ring, asked with the hash of the client's address.
#[derive(Clone, Debug)]
pub struct Sh;

impl Sh {
    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        pick.ring.map(|ring| ring.pick(pick.source))
    }
}
