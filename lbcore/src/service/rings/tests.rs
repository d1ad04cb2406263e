//! The laws of the older ring, over any sequence of changes, waits and restarts.

use super::*;
use proptest::prelude::*;

const SERVICE: ServiceId = ServiceId(7);
const PATIENCE: Duration = Duration::from_secs(100);

fn key() -> HashKey {
    HashKey::new([9; 16])
}

fn wanted(kind: Kind, weights: &[u16], track: Track) -> Wanted {
    let candidate = |(nth, weight): (u8, &u16)| Candidate {
        real: RealId(u16::from(nth)),
        identity: Identity {
            address: IpAddr::from([10, 0, 0, nth]).into(),
            port: 0,
        },
        weight: *weight,
    };
    Wanted {
        kind,
        candidates: (1..).zip(weights).map(candidate).collect(),
        track,
        patience: PATIENCE,
    }
}

/// What a service has: its ring, and the older one with whose it is and its end.
type Has = (Option<Arc<Ring>>, Option<(Kind, Arc<Ring>, Tick)>);

fn asked(rings: &mut Rings, kind: Kind, weights: &[u16], now: Tick) -> Has {
    let wanted = wanted(kind, weights, Track::Changes);
    let built = rings.get(SERVICE, wanted, &key(), now);
    let past = built.past.as_ref();
    (
        built.ring.clone(),
        past.map(|past| (past.ring.kind, past.ring.ring.clone(), past.until)),
    )
}

fn get(rings: &mut Rings, weights: &[u16], now: Tick) -> Has {
    asked(rings, Kind::Maglev, weights, now)
}

fn restarted(rings: &Rings) -> Rings {
    let written = serde_json::to_string(&rings.remembered()).expect("JSON");
    let read = serde_json::from_str(&written).expect("as it was written");
    let again = Rings::recovered(&read, &key());
    assert_eq!(again.remembered(), rings.remembered());
    again
}

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<u16>),
    Schedule(Kind),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    // Few sets, so that one comes back.
    let sets = [
        vec![1, 1, 1],
        vec![1, 0, 1],
        vec![2, 2, 2],
        vec![1, 1, 1, 1],
        vec![0],
    ];
    prop_oneof![
        3 => prop::sample::select(sets.to_vec()).prop_map(Step::Set),
        1 => prop::sample::select(vec![Kind::Maglev, Kind::Sh]).prop_map(Step::Schedule),
        2 => (0u64..150).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The older ring is the one from before the first of all changes that follow each other within
    /// `drain_timeout`; it ends that long after the last of them, restarts or not.
    #[test]
    fn the_older_ring_is_the_oldest_until_drain_timeout_after_the_last_change(
        steps in prop::collection::vec(step(), 1..10),
    ) {
        let (mut rings, mut now) = (Rings::default(), Tick(1_000));
        let (mut weights, mut kind) = (vec![1, 1, 1], Kind::Maglev);
        let (mut ring, mut past): Has = get(&mut rings, &weights, now);
        for step in steps {
            match step {
                Step::Set(set) => weights = set,
                Step::Schedule(by) => kind = by,
                Step::Wait(seconds) => now = now + Duration::from_secs(seconds),
                Step::Restart => rings = restarted(&rings),
            }
            let before = (ring.clone(), past.clone().filter(|(.., until)| now < *until));
            let had = &rings.0[&SERVICE];
            let (was, had) = (had.kind, had.candidates.clone());
            let has = asked(&mut rings, kind, &weights, now);
            let wanted = wanted(kind, &weights, Track::Changes);
            let changed = (was, had) != (kind, wanted.candidates);
            let until = now + PATIENCE;
            let expected = match before {
                (_, past) if !changed => past,
                (_, Some((by, oldest, _))) => Some((by, oldest, until)),
                (ring, None) if was == kind && ring == has.0 => None,
                (ring, None) => ring.map(|ring| (was, ring, until)),
            };
            prop_assert_eq!(&has.1, &expected);
            (ring, past) = has;
        }
    }
}

#[test]
fn a_change_and_its_way_back_move_no_slot() {
    let mut rings = Rings::default();
    let now = Tick(1_000);
    let (first, none) = get(&mut rings, &[1, 1, 1, 1], now);
    assert!(none.is_none());
    get(&mut rings, &[1, 0, 1, 1], now);
    let (ring, past) = get(&mut rings, &[1, 1, 1, 1], now);
    assert_eq!(ring, first);
    assert_eq!(past.map(|(_, ring, _)| Some(ring)), Some(first));
}

/// The reals of all slots stay, and yet flows move: the older ring is asked as it was.
#[test]
fn another_scheduler_is_a_change_like_any_other() {
    let mut rings = Rings::default();
    let (now, weights) = (Tick(1_000), [1, 1, 1]);
    let (first, _) = get(&mut rings, &weights, now);
    let (ring, past) = asked(&mut rings, Kind::Sh, &weights, now);
    assert_eq!(ring, first);
    let older = |by| Some((by, first.clone().expect("a ring"), now + PATIENCE));
    assert_eq!(past, older(Kind::Maglev));
    rings = restarted(&rings);
    let (_, past) = asked(&mut rings, Kind::Sh, &weights, now);
    assert_eq!(past, older(Kind::Maglev));
    let later = now + PATIENCE;
    assert_eq!(asked(&mut rings, Kind::Sh, &weights, later).1, None);
}

/// Of ten reals one goes: its slots have another real, of the others few.
#[test]
fn few_slots_differ_but_those_of_the_real_that_went() {
    let mut rings = Rings::default();
    let mut weights = [1; 10];
    get(&mut rings, &weights, Tick(1_000));
    weights[6] = 0;
    let (ring, past) = get(&mut rings, &weights, Tick(1_000));
    let (ring, past) = (ring.expect("a ring"), past.expect("an older one").1);
    let gone = RealId(7).0;
    let slots = past.slots().iter().zip(ring.slots());
    let moved: Vec<_> = slots.filter(|(was, is)| was != is).collect();
    assert_eq!(ring.share(RealId(7)), 0);
    let of_others = moved.iter().filter(|(was, _)| **was != gone).count();
    assert!(of_others < Ring::SIZE / 50, "{of_others}");
    assert_eq!(moved.len() - of_others, past.share(RealId(7)));
}

/// Flows that are all remembered need no older ring, nor do those of before a service tracks changes.
#[test]
fn a_service_that_remembers_its_flows_has_no_older_ring() {
    let mut rings = Rings::default();
    let mut past = |weights: &[u16], track| {
        let wanted = wanted(Kind::Maglev, weights, track);
        let built = rings.get(SERVICE, wanted, &key(), Tick(1_000));
        built.past.is_some()
    };
    assert!(!past(&[1, 1], Track::Flows));
    assert!(!past(&[1, 0], Track::Flows));
    assert!(
        !past(&[1, 1], Track::Changes),
        "they were remembered until now"
    );
    assert!(past(&[1, 0], Track::Changes));
    assert!(!past(&[1, 0], Track::None), "nobody asks for it");
}

/// Flows of the time before a service remembers its flows are not remembered: they follow the older
/// ring as they would have without the switch, however often the set changes since, and no longer.
#[test]
fn what_was_not_remembered_outlives_the_switch_to_remembering() {
    let now = Tick(1_000);
    let flows = |rings: &mut Rings, kind, weights: &[u16], at| {
        let built = rings.get(SERVICE, wanted(kind, weights, Track::Flows), &key(), at);
        let past = built.past.as_ref();
        past.map(|past| (past.ring.kind, past.ring.ring.clone(), past.until))
    };
    let end = now + PATIENCE;
    let later = now + PATIENCE / 2;
    // The scheduler is another one from the switch on.
    let mut rings = Rings::default();
    let first = asked(&mut rings, Kind::Sh, &[1, 1, 1], now)
        .0
        .expect("a ring");
    let older = Some((Kind::Sh, first, end));
    assert_eq!(flows(&mut rings, Kind::Maglev, &[1, 1, 1], now), older);
    rings = restarted(&rings);
    assert_eq!(flows(&mut rings, Kind::Maglev, &[1, 0, 1], later), older);
    assert_eq!(flows(&mut rings, Kind::Maglev, &[1, 0, 1], end), None);
    assert_eq!(flows(&mut rings, Kind::Maglev, &[1, 1, 1], end), None);

    // The set changes some time after the switch.
    let mut rings = Rings::default();
    let first = asked(&mut rings, Kind::Maglev, &[1, 1, 1], now)
        .0
        .expect("a ring");
    assert_eq!(flows(&mut rings, Kind::Maglev, &[1, 1, 1], now), None);
    let past = flows(&mut rings, Kind::Maglev, &[1, 0, 1], later);
    assert_eq!(past, Some((Kind::Maglev, first, end)));
}

#[test]
fn what_an_older_lbd_remembered_is_of_a_service_that_tracks_changes() {
    let mut rings = Rings::default();
    get(&mut rings, &[1, 1], Tick(1_000));
    let mut written = serde_json::to_value(rings.remembered()).expect("JSON");
    let ring = written["7"].as_object_mut().expect("the service's");
    assert!(ring.remove("unremembered_until").is_some());
    let read = serde_json::from_value(written).expect("as an older one wrote it");
    assert_eq!(
        Rings::recovered(&read, &key()).remembered(),
        rings.remembered()
    );
}
