//! What `track` promises when the set changes and in a flood of SYNs: `flows` remembers every flow,
//! `changes` only those that begin in a moved slot while a change is under way.

use super::*;
use crate::config::Admin;
use rstest::rstest;

fn bench(track: &str, scheduler: &str, reals: usize, capacity: usize) -> Bench {
    let extra = format!("track = \"{track}\"\nscheduler = \"{scheduler}\"");
    let mut world = World::web(&extra, &vec![1; reals]);
    Bench::with_capacity(&mut world, capacity).into_bench(world)
}

impl Bench {
    /// The set has changed: as the daemon, asks whether anything is remembered.
    fn changed(&mut self) {
        self.world.remembers = !self.flows.is_empty();
        self.recompile();
    }
}

/// T15: of 2,000 flows on ten reals one real's alone may move when it is removed; later ones stay, too.
#[rstest]
fn t15_removing_one_of_ten_moves_no_flow_of_another(
    #[values("flows", "changes")] track: &str,
    #[values("maglev", "sh")] scheduler: &str,
) {
    let mut bench = bench(track, scheduler, 10, 8192);
    let mut flows: Vec<_> = (0..2000)
        .map(|nth| (nth, bench.flow(nth, "S").expect("forwarded")))
        .collect();
    let remembered = bench.flows.len();
    assert_eq!(remembered, if track == "flows" { 2000 } else { 0 });
    let gone = bench.table.services[0].members[6].id;
    bench.world.config.services[0].reals.remove(6);
    bench.changed();
    let survivors = flows.iter().filter(|(_, real)| *real != gone).count();
    assert!((1700..1900).contains(&survivors), "{survivors}");
    flows.retain(|(_, real)| *real != gone);
    flows.extend((2000..3000).map(|nth| (nth, bench.flow(nth, "S").expect("forwarded"))));
    for (nth, real) in flows {
        assert_eq!(bench.flow(nth, "A"), Some(real), "flow {nth}");
    }
    if track == "changes" {
        let remembered = bench.flows.len();
        assert!((60..140).contains(&remembered), "a tenth: {remembered}");
    }
}

/// T16: no flow moves when an eleventh real comes, and it gets its share of the next 5,000.
#[rstest]
fn t16_adding_one_to_ten_moves_no_flow_and_gives_it_its_share(
    #[values("flows", "changes")] track: &str,
    #[values("maglev", "sh")] scheduler: &str,
) {
    let mut bench = bench(track, scheduler, 11, 16_384);
    let new = bench.table.services[0].members[10].id;
    bench.world.config.services[0].reals[10].admin = Admin::Drain;
    // A change before any flow: what is counted below comes of the next one.
    bench.changed();
    bench.now = bench.now + bench.world.config.services[0].idle_timeout;
    bench.changed();
    assert!(bench.table.services[0].past.is_none());
    let before: Vec<_> = (0..2000).map(|nth| bench.flow(nth, "S")).collect();
    assert!(!before.contains(&Some(new)));
    let remembered = bench.flows.len();
    bench.world.config.services[0].reals[10].admin = Admin::Enabled;
    bench.changed();
    let after: Vec<_> = (2000..7000).map(|nth| bench.flow(nth, "S")).collect();
    let moved = (0..).zip(before.iter().chain(&after));
    let moved = moved.filter(|(nth, real)| bench.flow(*nth, "A") != **real);
    assert_eq!(moved.count(), 0);
    let share = after.iter().filter(|real| **real == Some(new)).count();
    assert!((380..=530).contains(&share), "9.1 % +- 1.5 points: {share}");
    let stored = bench.flows.len() - remembered;
    match track {
        "flows" => assert_eq!((remembered, stored), (2000, 5000)),
        // Few slots but those of the new real move with it.
        _ => assert!(remembered == 0 && (share..share + 120).contains(&stored)),
    }
}

/// T51: 200 flows in a flood of SYNs. Without memory nothing is stored; with it the table has its bound.
#[rstest]
fn t51_a_flood_of_syns_moves_no_flow(#[values("flows", "changes")] track: &str) {
    let mut bench = bench(track, "maglev", 10, 512);
    let mut gauge = Flood::new(bench.flows.capacity());
    let flows: Vec<_> = (0..200)
        .map(|nth| (nth, bench.flow(nth, "S").expect("forwarded")))
        .collect();
    for nth in 0..200 {
        bench.flow(nth, "A");
    }
    let mut flooded = false;
    for second in 0..20u32 {
        for nth in 0..500 {
            let real = bench.flow(10_000 + second * 500 + nth, "S");
            assert!(real.is_some(), "nobody is refused");
            gauge.began();
        }
        bench.now = bench.now + Duration::from_secs(1);
        gauge.tick(bench.now, || bench.flows.len());
        bench.flood = gauge.is_on();
        flooded |= gauge.is_on();
        for (nth, real) in &flows {
            assert_eq!(bench.flow(*nth, "A"), Some(*real), "flow {nth}");
        }
    }
    assert!(bench.flows.len() <= bench.flows.capacity());
    assert_eq!(flooded, track == "flows");
    if track == "changes" {
        assert!(bench.flows.is_empty());
        return;
    }
    // Two seconds after the flood flows are remembered as before.
    for _ in 0..2 {
        bench.now = bench.now + Duration::from_secs(1);
        gauge.tick(bench.now, || bench.flows.len());
    }
    assert!(!gauge.is_on());
}

/// A flow that begins in a moved slot and finds no room, or a flood, goes where its next packets will.
#[rstest]
fn a_flow_that_cannot_be_remembered_while_the_set_changes_stays_together(
    #[values(true, false)] flood: bool,
) {
    let mut bench = bench("changes", "maglev", 3, 8);
    bench.world.config.services[0].reals[2].admin = Admin::Drain;
    bench.changed();
    bench.flood = flood;
    for nth in 0..400 {
        let first = bench.flow(nth, "S");
        for flags in ["A", "A", "FA"] {
            assert_eq!(bench.flow(nth, flags), first, "flow {nth}");
        }
    }
    assert!(bench.counters.unremembered.get() > 50);
}

/// Where nobody takes new flows, none is let in by a flood; older ones go on.
#[test]
fn a_flood_leads_no_flow_to_a_real_that_drains() {
    let mut bench = bench("changes", "maglev", 1, 64);
    let old = bench.flow(1, "S");
    bench.world.config.services[0].reals[0].admin = Admin::Drain;
    bench.changed();
    bench.flood = true;
    assert_eq!(bench.flow(2, "S"), None);
    assert_eq!(bench.drops(DropReason::NoReal), 1);
    assert!(old.is_some() && bench.flow(1, "A") == old);
}
