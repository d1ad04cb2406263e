//! Who may look and who may change things.

use crate::sys::peer;
use std::io;
use std::os::fd::AsFd;
use tokio::net::UnixStream;

/// The process at the other end of the control socket, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Process id; 0 if it is in another pid namespace.
    pub pid: i32,
    /// Its primary and supplementary groups.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel (SO_PEERCRED, SO_PEERGROUPS).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let mut groups = peer::supplementary_groups(stream.as_fd())?;
        groups.push(credentials.gid());
        Ok(Peer {
            uid: credentials.uid(),
            pid: credentials.pid().unwrap_or(0),
            groups,
        })
    }
}

/// The rule: root and lbd's own user may do everything, `admin_group` too; `read_group` may look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    own_uid: u32,
    admin_gid: Option<u32>,
    readers: Readers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Readers {
    Everybody,
    Group(Option<u32>),
}

impl Access {
    /// From `admin_group` and `read_group` of the configuration. A group this host does not have
    /// admits nobody; the second value says so, a sentence each.
    pub fn new(admin_group: &str, read_group: Option<&str>) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut id = |key: &str, name: &str, effect: &str| {
            let found = peer::group_id(name);
            match found {
                Ok(None) => warnings.push(format!(
                    "{key} = \"{name}\": this host has no such group, {effect}; \
                     create it (groupadd --system {name}) or name another"
                )),
                Err(ref e) => warnings.push(format!(
                    "{key} = \"{name}\": looking it up failed ({e}), {effect}"
                )),
                Ok(Some(_)) => {}
            }
            found.ok().flatten()
        };
        let admin_gid = id(
            "admin_group",
            admin_group,
            "so only root and lbd's own user may change things",
        );
        let readers = match read_group {
            None => Readers::Everybody,
            Some(name) => Readers::Group(id("read_group", name, "so only administrators may look")),
        };
        (
            Access {
                own_uid: peer::own_uid(),
                admin_gid,
                readers,
            },
            warnings,
        )
    }

    /// The group of administrators, if this host has it.
    pub fn admin_gid(&self) -> Option<u32> {
        self.admin_gid
    }

    /// Whether a group may look that may not change things.
    pub fn has_readers(&self) -> bool {
        matches!(self.readers, Readers::Group(Some(_)))
    }

    /// Whether `peer` may change things.
    pub fn may_change(&self, peer: &Peer) -> bool {
        peer.uid == 0
            || peer.uid == self.own_uid
            || self.admin_gid.is_some_and(|gid| peer.groups.contains(&gid))
    }

    /// Whether `peer` may look. Who may change things may look, too.
    pub fn may_look(&self, peer: &Peer) -> bool {
        let admitted = match self.readers {
            Readers::Everybody => true,
            Readers::Group(gid) => gid.is_some_and(|gid| peer.groups.contains(&gid)),
        };
        admitted || self.may_change(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T60a
    #[test]
    fn t60a_who_may_do_what() {
        const LBD: u32 = 990;
        const ADMINS: u32 = 991;
        const WATCHERS: u32 = 992;
        let access = |admin_gid, readers| Access {
            own_uid: LBD,
            admin_gid,
            readers,
        };
        let open = access(Some(ADMINS), Readers::Everybody);
        let guarded = access(Some(ADMINS), Readers::Group(Some(WATCHERS)));
        let unknown = access(None, Readers::Group(None));
        for (rule, uid, groups, look, change) in [
            (&open, 0, vec![0], true, true),
            (&open, LBD, vec![LBD], true, true),
            (&open, 1000, vec![1000, ADMINS], true, true),
            (&open, 1000, vec![1000], true, false),
            (&open, 65534, vec![65534], true, false),
            (&guarded, 1000, vec![1000, ADMINS], true, true),
            (&guarded, 1000, vec![1000, WATCHERS], true, false),
            (&guarded, 1000, vec![1000], false, false),
            (&guarded, 0, vec![], true, true),
            (&unknown, 0, vec![0], true, true),
            (&unknown, 1000, vec![1000, ADMINS, WATCHERS], false, false),
        ] {
            let peer = Peer {
                uid,
                pid: 1,
                groups,
            };
            assert_eq!(rule.may_look(&peer), look, "look: {peer:?} under {rule:?}");
            assert_eq!(
                rule.may_change(&peer),
                change,
                "change: {peer:?} under {rule:?}"
            );
        }
    }

    #[test]
    fn an_unknown_group_is_said_and_admits_nobody() {
        let (access, warnings) = Access::new("no-such-group-a", Some("no-such-group-b"));
        assert_eq!(access.admin_gid(), None);
        assert_eq!(access.readers, Readers::Group(None));
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("no-such-group-a"), "{warnings:?}");
        let (access, warnings) = Access::new("root", None);
        assert_eq!((access.admin_gid(), warnings.len()), (Some(0), 0));
    }
}
