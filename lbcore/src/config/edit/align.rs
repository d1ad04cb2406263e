//! Which items of a list are which of another one.

use serde_json::Value;

/// More comparisons than this are not worth a comment that stays beside its item.
const MAX_COMPARISONS: usize = 250_000;

/// What becomes of a list, in the order of the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Old item, new item: the same one, perhaps with other values.
    Keep(usize, usize),
    /// This old item goes.
    Remove(usize),
    /// This new item comes.
    Insert(usize),
}

/// The steps from `old` to `new`. Items that are alike stay, in the longest order common to both;
/// between those, items take each other's places one by one.
pub(super) fn align(old: &[Value], new: &[Value]) -> Vec<Step> {
    let both = old.iter().zip(new);
    let prefix = both.take_while(|(old, new)| alike(old, new)).count();
    let both = old[prefix..].iter().rev().zip(new[prefix..].iter().rev());
    let suffix = both.take_while(|(old, new)| alike(old, new)).count();
    let (old_end, new_end) = (old.len() - suffix, new.len() - suffix);

    let mut anchors: Vec<(usize, usize)> = (0..prefix).map(|at| (at, at)).collect();
    let between = common(&old[prefix..old_end], &new[prefix..new_end]);
    anchors.extend(between.into_iter().map(|(o, n)| (o + prefix, n + prefix)));
    anchors.extend((0..suffix).map(|at| (old_end + at, new_end + at)));
    anchors.push((old.len(), new.len()));

    let mut steps = Vec::with_capacity(old.len() + new.len());
    let (mut o, mut n) = (0, 0);
    for (anchor_old, anchor_new) in anchors {
        while o < anchor_old && n < anchor_new {
            steps.push(Step::Keep(o, n));
            (o, n) = (o + 1, n + 1);
        }
        steps.extend((o..anchor_old).map(Step::Remove));
        steps.extend((n..anchor_new).map(Step::Insert));
        if anchor_old < old.len() {
            steps.push(Step::Keep(anchor_old, anchor_new));
        }
        (o, n) = (anchor_old + 1, anchor_new + 1);
    }
    steps
}

/// Whether two items are the same one: a real by its place, a service by its name, all else by what
/// it says.
fn alike(old: &Value, new: &Value) -> bool {
    let same = |key: &str| old.get(key) == new.get(key);
    let has = |key: &str| old.get(key).is_some();
    old == new
        || match has("address") {
            true => same("address") && same("port"),
            false => has("name") && same("name"),
        }
}

/// A longest common subsequence.
fn common(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    if old.len() * new.len() > MAX_COMPARISONS {
        return Vec::new();
    }
    let width = new.len() + 1;
    // The length of the longest one of what begins at (o, n).
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for o in (0..old.len()).rev() {
        for n in (0..new.len()).rev() {
            longest[o * width + n] = match alike(&old[o], &new[n]) {
                true => longest[(o + 1) * width + n + 1] + 1,
                false => longest[(o + 1) * width + n].max(longest[o * width + n + 1]),
            };
        }
    }
    let (mut o, mut n) = (0, 0);
    let mut pairs = Vec::new();
    while o < old.len() && n < new.len() {
        if alike(&old[o], &new[n]) {
            pairs.push((o, n));
            (o, n) = (o + 1, n + 1);
        } else if longest[(o + 1) * width + n] >= longest[o * width + n + 1] {
            o += 1;
        } else {
            n += 1;
        }
    }
    pairs
}
