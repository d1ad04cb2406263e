use super::*;
use proptest::prelude::*;

/// What the table promises, written as a list that is searched from end to end.
#[derive(Default)]
struct Model(Vec<Known>);

#[derive(Clone, Debug)]
struct Known {
    key: u8,
    group: u16,
    heard: Tick,
    answered: bool,
    established: bool,
}

impl Model {
    fn get(&mut self, key: u8) -> Option<&mut Known> {
        self.0.iter_mut().find(|known| known.key == key)
    }

    fn silent_longest(
        &self,
        group: Option<u16>,
        established: bool,
        silent: impl Fn(&Known) -> bool,
    ) -> Option<Tick> {
        self.0
            .iter()
            .filter(|k| group.is_none_or(|group| k.group == group) && k.established == established)
            .filter(|k| silent(k))
            .map(|k| k.heard)
            .min()
    }

    /// Rank and time of the one that makes room: within a tick and between groups any will do.
    fn victim(&self, group: Option<u16>, now: Tick) -> Option<(bool, Tick)> {
        let find = |established, grace| {
            self.silent_longest(group, established, |k| now.since(k.heard) >= grace)
                .map(|heard| (established, heard))
        };
        find(false, NEWCOMER_GRACE_MS)
            .or_else(|| find(true, ESTABLISHED_GRACE_MS))
            .or_else(|| find(false, 0))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u8, group: u16 },
    Heard { key: u8, side: Side },
    Remove { key: u8 },
    MakeRoom { group: Option<u16> },
    Expire { group: u16, idle_ms: u64 },
    Wait { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..24;
    let group = 0u16..3;
    let side = prop_oneof![Just(Side::Client), Just(Side::Real)];
    let step = prop_oneof![
        4 => (key.clone(), group.clone()).prop_map(|(key, group)| Step::Insert { key, group }),
        6 => (key.clone(), side).prop_map(|(key, side)| Step::Heard { key, side }),
        1 => key.prop_map(|key| Step::Remove { key }),
        2 => proptest::option::of(group.clone()).prop_map(|group| Step::MakeRoom { group }),
        1 => (group, 0u64..40_000).prop_map(|(group, idle_ms)| Step::Expire { group, idle_ms }),
        3 => prop_oneof![Just(1u64), 0u64..20_000].prop_map(|ms| Step::Wait { ms }),
    ];
    proptest::collection::vec(step, 0..400)
}

const CAPACITY: usize = 16;

/// Few different hashes, so that keys collide.
fn hash(key: u8) -> FlowHash {
    FlowHash(u64::from(key % 5) << 60)
}

proptest! {
    #[test]
    fn t42_does_what_the_model_does(steps in steps()) {
        let mut table = Sessions::new(CAPACITY);
        let mut model = Model::default();
        let mut now = Tick(1_000_000);
        for step in steps {
            match step {
                Step::Insert { key, group } => {
                    let full = model.0.len() == CAPACITY;
                    prop_assert_eq!(table.is_full(), full);
                    let may = !full && model.get(key).is_none();
                    let done = table.insert(hash(key), key, group, u32::from(key), now);
                    prop_assert_eq!(done.is_ok(), may);
                    if may {
                        model.0.push(Known {
                            key,
                            group,
                            heard: now,
                            answered: false,
                            established: false,
                        });
                    }
                }
                Step::Heard { key, side } => {
                    let slot = table.find(hash(key), &key);
                    prop_assert_eq!(slot.is_some(), model.get(key).is_some());
                    if let (Some(slot), Some(known)) = (slot, model.get(key)) {
                        table.heard(slot, side, now);
                        match side {
                            Side::Client => known.established |= known.answered,
                            Side::Real => known.answered = true,
                        }
                        known.heard = now;
                    }
                }
                Step::Remove { key } => {
                    let slot = table.find(hash(key), &key);
                    let removed = slot.and_then(|slot| table.remove(slot));
                    prop_assert_eq!(removed, model.get(key).map(|k| u32::from(k.key)));
                    model.0.retain(|k| k.key != key);
                }
                Step::MakeRoom { group } => {
                    let victim = table.victim(group, now);
                    let told = victim.and_then(|slot| table.standing(slot)).map(|(heard, rank)| {
                        (rank == Rank::Established, heard)
                    });
                    prop_assert_eq!(told, model.victim(group, now));
                    if let Some(slot) = victim {
                        let key = *table.key(slot).expect("a victim is there");
                        prop_assert!(group.is_none_or(|g| model.get(key).is_some_and(|k| k.group == g)));
                        table.remove(slot);
                        model.0.retain(|k| k.key != key);
                    }
                }
                Step::Expire { group, idle_ms } => {
                    while let Some(slot) = table.expired(group, idle_ms, now) {
                        let key = *table.key(slot).expect("it is there");
                        let known = model.get(key).expect("known").clone();
                        prop_assert!(known.group == group && now.since(known.heard) >= idle_ms);
                        table.remove(slot);
                        model.0.retain(|k| k.key != key);
                    }
                    let left = |k: &Known| k.group == group && now.since(k.heard) >= idle_ms;
                    prop_assert!(!model.0.iter().any(left));
                }
                Step::Wait { ms } => now = Tick(now.0 + ms),
            }
            prop_assert_eq!(table.len(), model.0.len());
            for group in 0..3 {
                let of = model.0.iter().filter(|k| k.group == group).count();
                prop_assert_eq!(table.len_of(group), of);
            }
            let mut held: Vec<u8> = table.iter().map(|(_, key, _)| *key).collect();
            let mut known: Vec<u8> = model.0.iter().map(|k| k.key).collect();
            held.sort_unstable();
            known.sort_unstable();
            prop_assert_eq!(held, known);
        }
    }
}

fn fill(table: &mut Sessions<u32, ()>, keys: std::ops::Range<u32>, now: Tick) {
    for key in keys {
        while table.is_full() {
            let slot = table.victim(None, now).expect("somebody makes room");
            table.remove(slot);
        }
        let hash = FlowHash(u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        table.insert(hash, key, 0, (), now).expect("room");
    }
}

fn slot(table: &Sessions<u32, ()>, key: u32) -> Option<Slot> {
    let hash = FlowHash(u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    table.find(hash, &key)
}

#[test]
fn t42_a_flood_pushes_out_newcomers_only() {
    let mut table = Sessions::new(1000);
    let mut now = Tick(0);
    fill(&mut table, 0..100, now);
    for key in 0..100 {
        let slot = slot(&table, key).expect("there");
        table.heard(slot, Side::Real, now);
        table.heard(slot, Side::Client, now);
    }
    for wave in 1..=100 {
        now = Tick(now.0 + 200);
        fill(&mut table, wave * 1000..(wave + 1) * 1000, now);
        assert_eq!(table.len(), 1000);
    }
    for key in 0..100 {
        assert!(
            slot(&table, key).is_some(),
            "session {key} was pushed out, {now:?}"
        );
    }
}

#[test]
fn a_table_of_active_sessions_refuses_and_one_silent_for_long_makes_room() {
    let mut table = Sessions::new(2);
    fill(&mut table, 0..2, Tick(0));
    for key in 0..2 {
        let slot = slot(&table, key).expect("there");
        table.heard(slot, Side::Real, Tick(5));
        table.heard(slot, Side::Client, Tick(5 + u64::from(key)));
    }
    assert_eq!(table.victim(None, Tick(5 + ESTABLISHED_GRACE_MS - 1)), None);
    let now = Tick(5 + ESTABLISHED_GRACE_MS);
    assert_eq!(table.victim(None, now), slot(&table, 0));
}

#[test]
fn a_young_newcomer_waits_for_its_answer_while_others_are_silent_for_long() {
    let mut table = Sessions::new(2);
    fill(&mut table, 0..1, Tick(0));
    let old = slot(&table, 0).expect("there");
    table.heard(old, Side::Real, Tick(0));
    table.heard(old, Side::Client, Tick(0));
    let now = Tick(ESTABLISHED_GRACE_MS);
    fill(&mut table, 1..2, now);
    assert_eq!(table.victim(None, now), Some(old));
    let later = Tick(now.0 + NEWCOMER_GRACE_MS);
    assert_eq!(table.victim(None, later), slot(&table, 1));
}

#[test]
fn an_answer_alone_proves_nothing() {
    let mut table = Sessions::new(1);
    fill(&mut table, 0..1, Tick(0));
    let only = slot(&table, 0).expect("there");
    table.heard(only, Side::Client, Tick(1));
    table.heard(only, Side::Real, Tick(2));
    assert_eq!(table.standing(only), Some((Tick(2), Rank::Newcomer)));
    table.heard(only, Side::Client, Tick(2));
    assert_eq!(table.standing(only), Some((Tick(2), Rank::Established)));
}
