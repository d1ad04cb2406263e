use super::fixture::World;
use super::*;
use crate::config::Admin;
use crate::net::Addr;
use std::time::Duration;

fn serving(world: &mut World) -> (Serving, ServiceState, Vec<String>) {
    let table = world.table();
    let service = &table.services[0];
    let names = service
        .members
        .iter()
        .filter(|m| m.why_not.is_none())
        .map(|m| m.name.clone());
    (service.serving, service.state, names.collect())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn all_up_all_serve() {
    let mut world = World::web("", &[1, 1, 1]);
    assert_eq!(
        serving(&mut world),
        (
            Serving::Reals,
            ServiceState::Up,
            names(&["rs1", "rs2", "rs3"])
        )
    );
}

#[test]
fn one_down_the_rest_serve_and_the_service_is_degraded() {
    let mut world = World::web("", &[1, 1, 1]);
    world.down("rs2");
    assert_eq!(
        serving(&mut world),
        (
            Serving::Reals,
            ServiceState::Degraded,
            names(&["rs1", "rs3"])
        )
    );
}

#[test]
fn the_ladder_goes_backup_sorry_last_good_nobody() {
    let mut world = World::web("sorry = \"192.0.2.99\"", &[1, 1, 1]);
    world.config.services[0].reals[2].backup = true;
    world.last_good = names(&["rs1", "rs2"]);
    assert_eq!(serving(&mut world).2, names(&["rs1", "rs2"]));
    world.down("rs1");
    world.down("rs2");
    assert_eq!(
        serving(&mut world),
        (Serving::Backups, ServiceState::Degraded, names(&["rs3"]))
    );
    world.down("rs3");
    assert_eq!(
        serving(&mut world),
        (Serving::Sorry, ServiceState::Degraded, names(&["sorry"]))
    );
    world
        .ways
        .insert("sorry".into(), Way::Unreachable("gone".into()));
    assert_eq!(
        serving(&mut world),
        (
            Serving::LastGood,
            ServiceState::Panic,
            names(&["rs1", "rs2"])
        )
    );
    world.config.services[0].min_healthy = 0;
    assert_eq!(
        serving(&mut world),
        (Serving::Nobody, ServiceState::Down, vec![])
    );
}

#[test]
fn fewer_than_min_healthy_because_of_failures_is_panic_beside_the_living() {
    let mut world = World::web("min_healthy = 3", &[1, 1, 1, 1]);
    world.last_good = names(&["rs1", "rs2", "rs3"]);
    world.down("rs1");
    assert_eq!(serving(&mut world).0, Serving::Reals);
    world.down("rs2");
    world.down("rs4");
    assert_eq!(
        serving(&mut world),
        (
            Serving::LastGood,
            ServiceState::Panic,
            names(&["rs1", "rs2", "rs3"])
        )
    );
}

#[test]
fn drains_disables_and_unreachable_reals_never_panic() {
    let mut world = World::web("", &[1, 1, 1]);
    world.last_good = names(&["rs1", "rs2", "rs3"]);
    world.config.services[0].reals[0].admin = Admin::Drain;
    world.config.services[0].reals[1].admin = Admin::Disabled;
    world
        .ways
        .insert("rs3".into(), Way::Unreachable("behind a gateway".into()));
    assert_eq!(
        serving(&mut world),
        (Serving::Nobody, ServiceState::Down, vec![])
    );
}

#[test]
fn t29_reals_that_say_no_never_panic_beside_one_that_fails_they_get_nothing() {
    let mut world = World::web("", &[1, 1]);
    world.last_good = names(&["rs1", "rs2"]);
    for real in ["rs1", "rs2"] {
        world.health.insert(real.to_owned(), Health::Declined);
    }
    assert_eq!(
        serving(&mut world),
        (Serving::Nobody, ServiceState::Down, vec![])
    );
    world.down("rs2");
    assert_eq!(
        serving(&mut world),
        (Serving::LastGood, ServiceState::Panic, names(&["rs2"]))
    );
}

#[test]
fn weight_zero_gets_nothing_and_is_no_candidate() {
    let mut world = World::web("", &[1, 0]);
    assert_eq!(serving(&mut world).2, names(&["rs1"]));
    let table = world.table();
    let rs2 = &table.services[0].members[1];
    assert_eq!(rs2.why_not, Some(WhyNot::WeightZero));
    assert!(
        table.real(rs2.id).expect("rs2").takes_new,
        "a SYN again on a flow it has stays with it"
    );
    assert_eq!(table.real(rs2.id).expect("rs2").fate, FlowFate::Keep);
}

#[test]
fn flows_of_a_dead_real_stay_for_dead_grace_then_follow_on_dead() {
    for (word, fate) in [
        ("rehash", FlowFate::Rehash),
        ("keep", FlowFate::Keep),
        ("drop", FlowFate::Drop),
    ] {
        let mut world = World::web(
            &format!("on_dead = \"{word}\"\ndead_grace = \"10s\""),
            &[1, 1],
        );
        world.table();
        world.down("rs1");
        let died = world.now;
        let compiled = world.compile();
        assert_eq!(
            compiled.next_change,
            Some(died + Duration::from_secs(10)),
            "{word}"
        );
        let id = compiled.table.services[0].members[0].id;
        assert_eq!(compiled.table.real(id).expect("rs1").fate, FlowFate::Keep);
        world.now = died + Duration::from_secs(10);
        let compiled = world.compile();
        assert_eq!(compiled.table.real(id).expect("rs1").fate, fate);
        assert_eq!(compiled.next_change, None);
    }
}

#[test]
fn a_draining_real_keeps_its_flows_until_drain_timeout() {
    let mut world = World::web("drain_timeout = \"60s\"\non_dead = \"drop\"", &[1, 1]);
    world.table();
    world.config.services[0].reals[0].admin = Admin::Drain;
    let compiled = world.compile();
    let id = compiled.table.services[0].members[0].id;
    assert_eq!(compiled.table.real(id).expect("rs1").fate, FlowFate::Keep);
    world.now = compiled.next_change.expect("an end");
    assert_eq!(world.table().real(id).expect("rs1").fate, FlowFate::Drop);
}

#[test]
fn a_real_that_drains_and_is_dead_gives_its_flows_up_as_the_dead_do() {
    let silent = || Way::Silent {
        last: Some((fixture::IFINDEX, World::mac(21))),
        reason: "no ARP".into(),
    };
    let fate = |world: &mut World| {
        let table = world.table();
        let member = &table.services[0].members[0];
        assert_eq!(member.state, RealState::Draining);
        table.real(member.id).expect("rs1").fate
    };
    for silence in [false, true] {
        for dead_first in [true, false] {
            let mut world = World::web("on_dead = \"rehash\"\ndead_grace = \"10s\"", &[1, 1]);
            let drain = |world: &mut World| {
                world.config.services[0].reals[0].admin = Admin::Drain;
            };
            let die = |world: &mut World| match silence {
                true => drop(world.ways.insert("rs1".into(), silent())),
                false => world.down("rs1"),
            };
            let grace = Duration::from_secs(10);
            if dead_first {
                die(&mut world);
                world.table();
                world.now = world.now + grace;
                drain(&mut world);
            } else {
                drain(&mut world);
                world.table();
                world.now = world.now + Duration::from_secs(3600);
                die(&mut world);
                assert_eq!(fate(&mut world), FlowFate::Keep, "it died just now");
                world.now = world.now + grace;
            }
            assert_eq!(fate(&mut world), FlowFate::Rehash, "{silence} {dead_first}");
            world.health.clear();
            world.ways.clear();
            assert_eq!(fate(&mut world), FlowFate::Keep, "it is back");
        }
    }
}

#[test]
fn a_disabled_real_is_dead_at_once() {
    let mut world = World::web("on_dead = \"rehash\"", &[1, 1]);
    world.config.services[0].reals[0].admin = Admin::Disabled;
    let table = world.table();
    let id = table.services[0].members[0].id;
    assert_eq!(table.real(id).expect("rs1").fate, FlowFate::Rehash);
}

#[test]
fn a_silent_neighbour_is_down_but_keeps_its_path_for_panic() {
    let mut world = World::web("", &[1]);
    world.last_good = names(&["rs1"]);
    let last = Some((fixture::IFINDEX, World::mac(21)));
    world.ways.insert(
        "rs1".into(),
        Way::Silent {
            last,
            reason: "no ARP".into(),
        },
    );
    assert_eq!(
        serving(&mut world),
        (Serving::LastGood, ServiceState::Panic, names(&["rs1"]))
    );
}

#[test]
fn every_vip_and_port_is_found_and_nothing_else() {
    let mut world = World::web("", &[1]);
    let table = world.table();
    for key in &table.services[0].keys {
        assert_eq!(table.service(key).map(|(i, _)| i), Some(0));
        assert!(table.is_vip(&key.vip));
    }
    assert_eq!(table.services[0].keys.len(), 2);
    let mut other = table.services[0].keys[0];
    other.port = 444;
    assert!(table.service(&other).is_none());
    assert!(!table.is_vip(&Addr::v4([192, 0, 2, 21])));
}

#[test]
fn unchanged_candidates_keep_their_ring() {
    let mut world = World::web("", &[1, 1]);
    let (a, b) = (world.table(), world.table());
    let ring = |t: &ServiceTable| t.services[0].ring.clone().expect("a ring");
    assert!(std::sync::Arc::ptr_eq(&ring(&a), &ring(&b)));
    world.down("rs1");
    assert!(!std::sync::Arc::ptr_eq(&ring(&a), &ring(&world.table())));
}

#[test]
fn ids_are_stable_and_reused_last_with_another_epoch() {
    let mut registry = Registry::default();
    let address = |n: u32| std::net::SocketAddr::new(n.to_be_bytes().into(), 0);
    let (first, epoch) = registry.real("web", address(1)).expect("an id");
    assert_eq!(registry.real("web", address(1)), Ok((first, epoch)));
    assert_ne!(registry.real("dns", address(1)).expect("an id").0, first);
    registry.retire_real("web", address(1));
    let (second, _) = registry.real("web", address(2)).expect("an id");
    assert_ne!(second, first, "freed ids rest while unused ones are left");
    for n in 3.. {
        let Ok((id, later)) = registry.real("web", address(n)) else {
            break;
        };
        if id == first {
            assert_eq!(later, epoch.next());
            return;
        }
    }
    panic!("the freed id never came back");
}
