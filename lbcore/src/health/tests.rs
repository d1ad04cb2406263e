#![allow(clippy::unwrap_used)]

use super::*;
use crate::time::Tick;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

const PASS: ProbeResult = ProbeResult::Pass;
const FAIL: ProbeResult = ProbeResult::Fail;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn tracker(rise: u32, fall: u32, state: State) -> Tracker {
    Tracker::new(count(rise), count(fall), state)
}

/// The states after each of `results` (`+` passes, `-` fails, `0` drains), one letter each.
fn states(mut tracker: Tracker, results: &str) -> String {
    results
        .chars()
        .map(|result| {
            let result = match result {
                '+' => PASS,
                '0' => ProbeResult::Drain,
                _ => FAIL,
            };
            tracker.record(result, Tick(0));
            match tracker.state() {
                State::Checking => 'c',
                State::Up => 'u',
                State::Draining => 'D',
                State::Down => 'd',
            }
        })
        .collect()
}

#[test]
fn t28_truth_table() {
    let fresh = |results| states(tracker(2, 3, State::Checking), results);
    assert_eq!(fresh("+"), "u", "the first result decides alone");
    assert_eq!(fresh("-"), "d");
    assert_eq!(fresh("---+++"), "dddduu");
    assert_eq!(fresh("+++---+++"), "uuuuudduu");
    assert_eq!(fresh("+--+--+--"), "uuuuuuuuu", "never three in a row");
    assert_eq!(fresh("-+-+-+-+"), "dddddddd", "never two in a row");

    assert_eq!(
        states(tracker(2, 3, State::Up), "--+---"),
        "uuuuud",
        "what was known stands"
    );
    assert_eq!(states(tracker(2, 3, State::Down), "+-++"), "dddu");
    assert_eq!(states(tracker(1, 1, State::Checking), "+-+-"), "udud");
}

#[test]
fn t28_an_answer_that_asks_to_be_drained_acts_at_once() {
    let fresh = |results| states(tracker(2, 3, State::Checking), results);
    assert_eq!(fresh("0"), "D");
    assert_eq!(fresh("++0++"), "uuDDu", "and only rise takes it back");
    assert_eq!(
        fresh("0---0"),
        "DDDdD",
        "or fall; what is alive again drains"
    );
    assert_eq!(fresh("0-0-0-+0+"), "DDDDDDDDD", "no count runs through");

    let mut drained = tracker(2, 3, State::Checking);
    drained.record(ProbeResult::Drain, Tick(0));
    assert_eq!(drained.tempo(), Tempo::Down);
    drained.record(PASS, Tick(0));
    assert_eq!(drained.tempo(), Tempo::Fast);
}

#[test]
fn one_check_that_drains_drains_the_real_but_a_failure_outranks_it() {
    let two = vec![tracker(1, 1, State::Up), tracker(1, 1, State::Up)];
    let mut real = Real::new(two);
    real.record(0, ProbeResult::Drain, Tick(1));
    assert_eq!(real.verdict(), State::Draining);
    real.record(1, FAIL, Tick(2));
    assert_eq!(real.verdict(), State::Down);
    real.record(1, PASS, Tick(3));
    assert_eq!(real.verdict(), State::Draining);
}

/// Looks back over the whole history instead of counting.
fn model(rise: usize, fall: usize, history: &[ProbeResult]) -> State {
    let ends_with = |seen: &[ProbeResult], result, n| {
        seen.len() >= n && seen[seen.len() - n..].iter().all(|r| *r == result)
    };
    let mut state = if history[0] == PASS {
        State::Up
    } else {
        State::Down
    };
    for end in 2..=history.len() {
        if ends_with(&history[..end], PASS, rise) {
            state = State::Up;
        } else if ends_with(&history[..end], FAIL, fall) {
            state = State::Down;
        }
    }
    state
}

#[test]
fn t28_ten_thousand_sequences_agree_with_a_model() {
    let mut random = Random::seeded(28);
    for _ in 0..10_000 {
        let (rise, fall) = (1 + random.up_to(4) as u32, 1 + random.up_to(4) as u32);
        let passing = random.up_to(100);
        let mut tracker = tracker(rise, fall, State::Checking);
        let mut history = Vec::new();
        for _ in 0..=random.up_to(40) {
            let before = tracker.state();
            let result = if random.up_to(99) < passing {
                PASS
            } else {
                FAIL
            };
            history.push(result);
            let transition = tracker.record(result, Tick(7));

            let expected = model(rise as usize, fall as usize, &history);
            assert_eq!(
                tracker.state(),
                expected,
                "rise {rise}, fall {fall}: {history:?}"
            );
            let changed = Transition {
                from: before,
                to: expected,
                at: Tick(7),
            };
            assert_eq!(transition, (before != expected).then_some(changed));
        }
    }
}

#[test]
fn t32_flapping_changes_little() {
    let mut alternating = tracker(2, 3, State::Checking);
    let changes = (0..10_000).filter(|n| {
        alternating
            .record(if n % 2 == 0 { PASS } else { FAIL }, Tick(0))
            .is_some()
    });
    assert_eq!(changes.count(), 1, "only the first result");

    let mut random = Random::seeded(32);
    let mut tossed = tracker(2, 3, State::Checking);
    let changes = (0..10_000)
        .filter(|_| {
            tossed
                .record(if random.up_to(1) == 0 { PASS } else { FAIL }, Tick(0))
                .is_some()
        })
        .count();
    assert!(
        (1..=10_000 / 5).contains(&changes),
        "{changes} changes at 50 % loss"
    );
}

#[test]
fn tempo_is_fast_while_results_and_state_disagree() {
    let mut tracker = tracker(2, 2, State::Checking);
    assert_eq!(tracker.tempo(), Tempo::Fast);
    let steps = [
        (PASS, Tempo::Steady),
        (FAIL, Tempo::Fast),
        (PASS, Tempo::Steady),
        (FAIL, Tempo::Fast),
        (FAIL, Tempo::Down),
        (PASS, Tempo::Fast),
        (FAIL, Tempo::Down),
    ];
    for (result, tempo) in steps {
        tracker.record(result, Tick(0));
        assert_eq!(tracker.tempo(), tempo, "after {result:?}");
    }
}

#[test]
fn a_real_is_up_when_all_checks_pass() {
    let two = || {
        vec![
            tracker(1, 1, State::Checking),
            tracker(2, 2, State::Checking),
        ]
    };
    let mut real = Real::new(two());
    assert_eq!(real.verdict(), State::Checking);

    let recorded = real.record(0, PASS, Tick(1));
    assert_eq!(
        (recorded.real, real.verdict()),
        (None, State::Checking),
        "one is not judged yet"
    );
    let recorded = real.record(1, PASS, Tick(2));
    let up = Transition {
        from: State::Checking,
        to: State::Up,
        at: Tick(2),
    };
    assert_eq!(
        recorded,
        Recorded {
            check: Some(up),
            real: Some(up)
        }
    );

    let down = Transition {
        from: State::Up,
        to: State::Down,
        at: Tick(3),
    };
    assert_eq!(
        real.record(0, FAIL, Tick(3)).real,
        Some(down),
        "one failure is enough"
    );
    real.record(1, FAIL, Tick(4));
    let second = real.record(1, FAIL, Tick(5));
    assert!(
        second.check.is_some() && second.real.is_none(),
        "it was down already"
    );
    assert_eq!(
        real.record(9, FAIL, Tick(6)),
        Recorded::default(),
        "no such check"
    );

    let news = real.replace(vec![tracker(1, 1, State::Up)], Tick(7));
    assert_eq!(
        news.map(|n| n.to),
        Some(State::Up),
        "the failing check is gone"
    );
}

fn pace(interval: u64, fast: u64, down: u64) -> Pace {
    Pace {
        interval: Duration::from_millis(interval),
        fast_interval: Duration::from_millis(fast),
        down_interval: Duration::from_millis(down),
    }
}

const PACE: Pace = Pace {
    interval: Duration::from_secs(2),
    fast_interval: Duration::from_millis(500),
    down_interval: Duration::from_secs(2),
};

/// Runs the timetable until `end`, each probe passing at once; the ticks of all probes.
fn run(table: &mut Timetable<u32>, end: Tick) -> Vec<(Tick, u32)> {
    let mut probes = Vec::new();
    while let Some(now) = table.next_due().filter(|due| *due < end) {
        while let Some(key) = table.take_due(now) {
            probes.push((now, key));
            table.done(key, Tempo::Steady, now);
        }
    }
    probes
}

/// The most probes in any 10 ms; `probes` are in order.
fn fullest(probes: &[(Tick, u32)]) -> usize {
    let mut first = 0;
    let windows = probes.iter().enumerate().map(|(last, (end, _))| {
        while end.since(probes[first].0) >= 10 {
            first += 1;
        }
        last + 1 - first
    });
    windows.max().unwrap_or(0)
}

#[test]
fn t31_a_thousand_targets_never_come_in_bursts() {
    for seed in 0..2 {
        let mut table = Timetable::new(Random::seeded(seed));
        for key in 0..1_000 {
            table.add(key, PACE, Tick(0));
        }
        let start = run(&mut table, Tick(2_000));
        let mut judged: Vec<u32> = start.iter().map(|(_, key)| *key).collect();
        judged.sort_unstable();
        judged.dedup();
        assert_eq!(
            judged.len(),
            1_000,
            "all have a first result within one interval"
        );

        // A reload: 500 go, 500 come, all the others get another pace and back.
        for key in 0..500 {
            table.remove(key);
            table.add(key + 1_000, PACE, Tick(2_000));
        }
        for key in 500..1_000 {
            table.retime(key, pace(4_000, 1_000, 4_000), Tick(2_000));
            table.retime(key, PACE, Tick(2_000));
        }
        let after = run(&mut table, Tick(1_800_000));
        for probes in [&start, &after] {
            // 1,000 targets in 2 s are a mean of 5 in 10 ms.
            assert!(
                fullest(probes) <= 15,
                "seed {seed}: {} in 10 ms",
                fullest(probes)
            );
        }
    }
}

#[test]
fn t31_without_the_choice_of_two_chance_would_bunch_them() {
    let mut random = Random::seeded(1);
    let mut probes: Vec<_> = (0..1_000 * 1_800)
        .map(|n| (Tick(random.up_to(3_600_000)), n))
        .collect();
    probes.sort_unstable();
    assert!(fullest(&probes) > 15, "the test above would find a burst");
}

#[test]
fn jitter_is_a_tenth_and_follows_the_tempo() {
    let mut table = Timetable::new(Random::seeded(3));
    table.add(1, pace(2_000, 500, 10_000), Tick(0));
    let mut now = table.next_due().unwrap();
    let mut seen: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for round in 0..3_000 {
        let (tempo, nominal) = [
            (Tempo::Steady, 2_000),
            (Tempo::Fast, 500),
            (Tempo::Down, 10_000),
        ][round % 3];
        assert_eq!(table.take_due(now), Some(1));
        assert_eq!(table.take_due(now), None, "one probe at a time");
        assert_eq!(table.next_due(), None);
        table.done(1, tempo, now);
        let wait = table.next_due().unwrap().since(now);
        let range = seen.entry(nominal).or_insert((wait, wait));
        *range = (range.0.min(wait), range.1.max(wait));
        now = table.next_due().unwrap();
    }
    for (nominal, (least, most)) in seen {
        assert!(
            least >= nominal * 90 / 100 && least < nominal * 91 / 100,
            "{nominal}: {least}"
        );
        assert!(
            most <= nominal * 110 / 100 && most > nominal * 109 / 100,
            "{nominal}: {most}"
        );
    }
}

#[test]
fn a_reload_moves_nobody_who_stays() {
    let mut table = Timetable::new(Random::seeded(4));
    for key in 0..100 {
        table.add(key, PACE, Tick(0));
    }
    let before = schedule(&table);
    for key in 0..100 {
        table.retime(key, PACE, Tick(10));
    }
    assert_eq!(schedule(&table), before, "the same pace");

    for key in 0..100 {
        table.retime(key, pace(200, 50, 200), Tick(0));
    }
    let expected: Vec<_> = before
        .iter()
        .map(|(due, key)| (Tick(due.0 / 10), *key))
        .collect();
    assert_eq!(
        schedule(&table),
        expected,
        "a tenth of the wait, still as well apart"
    );
}

/// All that is due, in order.
fn schedule(table: &Timetable<u32>) -> Vec<(Tick, u32)> {
    let mut table = table.clone();
    std::iter::from_fn(|| {
        let due = table.next_due()?;
        Some((due, table.take_due(due)?))
    })
    .collect()
}

#[test]
fn news_of_removed_or_waiting_checks_changes_nothing() {
    let mut table = Timetable::new(Random::seeded(5));
    table.add(1, PACE, Tick(0));
    assert_eq!(table.take_due(Tick(5_000)), Some(1));
    table.remove(1);
    table.done(1, Tempo::Fast, Tick(5_000));
    assert_eq!((table.len(), table.next_due()), (0, None));

    table.add(2, PACE, Tick(6_000));
    let due = table.next_due();
    table.done(2, Tempo::Fast, Tick(6_000));
    table.retime(3, PACE, Tick(6_000));
    assert_eq!((table.len(), table.next_due()), (1, due));
    table.take_due(Tick(9_000));
    table.retime(2, pace(60_000, 500, 500), Tick(9_000));
    table.done(2, Tempo::Steady, Tick(9_000));
    assert!(
        table.next_due().unwrap() >= Tick(9_000 + 54_000),
        "the new pace holds at once"
    );
}

/// A real as the runner drives it, on an injected clock. Until `killed` each probe passes after
/// `answer` ms, then each fails after `failure` ms; the tick of the first transition to down
/// before `end`.
fn detect(seed: u64, killed: Tick, failure: u64, end: Tick) -> Option<Tick> {
    let mut random = Random::seeded(seed);
    let mut table = Timetable::new(Random::seeded(!seed));
    let mut real = Real::new(vec![tracker(2, 3, State::Checking)]);
    table.add((), PACE, Tick(0));
    while let Some(due) = table.next_due().filter(|due| *due < end) {
        table.take_due(due).unwrap();
        let answered = Tick(due.0 + random.up_to(900));
        // What is answered in time before the kill counts.
        let (result, now) = if answered <= killed {
            (PASS, answered)
        } else {
            (FAIL, Tick(due.0 + failure))
        };
        let change = real.record(0, result, now).real;
        if change.is_some_and(|change| change.to == State::Down) {
            return Some(now);
        }
        table.done((), real.trackers()[0].tempo(), now);
    }
    None
}

#[test]
fn t30_detection_time() {
    let mut random = Random::seeded(30);
    for (failure, most) in [(0, 3_500), (1_000, 6_500)] {
        for seed in 0..100 {
            let killed = Tick(10_000 + random.up_to(10_000));
            let down = detect(seed, killed, failure, Tick(60_000)).unwrap();
            // A probe answered just as its real died is followed by a full wait.
            assert!(
                down.since(killed) <= most,
                "seed {seed}: {} ms",
                down.since(killed)
            );
        }
    }
}

#[test]
fn t30_no_false_down_in_an_idle_hour() {
    for seed in 0..10 {
        assert_eq!(detect(seed, Tick(u64::MAX), 0, Tick(3_600_000)), None);
    }
}

#[test]
fn who_is_in_a_hurry_is_due_now_and_keeps_its_pace_afterwards() {
    let mut table = Timetable::new(Random::seeded(7));
    let (now, pace) = (Tick(1_000), PACE);
    for key in 0..3_u32 {
        table.add(key, pace, now);
    }
    assert!(table.hurry(2, now));
    while let Some(key) = table.take_due(now) {
        if key == 2 {
            assert!(!table.hurry(2, now), "it is under way");
        }
        table.done(key, Tempo::Steady, now);
    }
    assert!(table.next_due().is_some_and(|due| due > now));
    assert!(!table.hurry(9, now), "there is none");
    assert_eq!(table.len(), 3);
}
