//! The ends of a doubly linked list whose links stand in the entries.

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// An entry's neighbours in its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    pub(super) before: u32,
    pub(super) after: u32,
}

impl Default for Links {
    fn default() -> Self {
        Links {
            before: NONE,
            after: NONE,
        }
    }
}

/// First and last entry.
#[derive(Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        List {
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

impl List {
    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first entry.
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Makes `at` the last entry; the one it now follows.
    pub(super) fn push(&mut self, at: u32) -> u32 {
        let before = std::mem::replace(&mut self.last, at);
        if before == NONE {
            self.first = at;
        }
        self.len += 1;
        before
    }

    /// Follows an entry's leaving; `links` were its.
    pub(super) fn unlinked(&mut self, links: Links) {
        if links.before == NONE {
            self.first = links.after;
        }
        if links.after == NONE {
            self.last = links.before;
        }
        self.len -= 1;
    }
}
