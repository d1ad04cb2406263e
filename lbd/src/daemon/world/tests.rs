use super::super::plans;
use super::*;
use lbcore::load::Weightiness::Active;
use lbcore::service::{Compiled, Rings, Serving, compile};

const MINUTE: Duration = Duration::from_secs(60);

/// A world, and the making of snapshots as the reconciler makes them.
struct Bench {
    world: World,
    loads: Loads,
    rings: Rings,
    now: Tick,
    table: ServiceTable,
}

fn config(interfaces: &str, services: &[(&str, &[u8])]) -> Config {
    let mut toml = format!("[network]\ninterfaces = {interfaces}\n");
    for (index, (name, reals)) in services.iter().enumerate() {
        toml += &format!(
            "[[service]]\nname = \"{name}\"\nvip = \"192.0.2.{}\"\nport = 80\nprotocol = \"tcp\"\n\
             [[service.check]]\ntype = \"tcp\"\n",
            10 + index
        );
        for real in *reals {
            toml += &format!(
                "[[service.real]]\nname = \"rs{real}\"\naddress = \"192.0.2.{}\"\n",
                20 + real
            );
        }
    }
    config::parse(&toml).expect("a good file")
}

fn address(real: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, 20 + real])
}

fn links(of: &[(&str, bool)]) -> Arc<Vec<Link>> {
    let link = |(index, (name, carrier)): (usize, &(&str, bool))| Link {
        ifindex: index as u32 + 2,
        name: (*name).to_owned(),
        mac: MacAddr(2, 0, 0, 0, 0, 1),
        mtu: 1500,
        up: true,
        carrier: *carrier,
        addresses: Vec::new(),
    };
    Arc::new(of.iter().enumerate().map(link).collect())
}

impl Bench {
    /// One service with these reals by `eth0`, seen for the first time.
    fn web(reals: &[u8]) -> Self {
        Self::new(config("[\"eth0\"]", &[("web", reals)]), Set::default())
    }

    /// As it is after a start.
    fn new(config: Config, set: Set) -> Self {
        let key = HashKey::new([7; 16]);
        let now = Tick(10_000_000);
        let wall = SystemTime::now();
        let world = World::new(config, key.clone(), Overrides::default(), set, (now, wall));
        let mut bench = Bench {
            world,
            loads: Loads::default(),
            rings: Rings::default(),
            now,
            table: ServiceTable::empty(key),
        };
        let all: Vec<(&str, bool)> = vec![("eth0", true), ("eth1", true)];
        bench.world.hear_links(links(&all), now);
        bench.refresh();
        bench
    }

    /// All reals are neighbours by eth0, and up.
    fn settle(&mut self) {
        let addresses: Vec<IpAddr> = self.world.reals.values().map(|f| f.address).collect();
        for at in addresses {
            self.neighbor(at);
        }
        let ids: Vec<RealId> = self.world.reals.keys().copied().collect();
        for id in ids {
            self.say(id, HealthState::Up);
        }
        self.refresh();
    }

    fn neighbor(&mut self, address: IpAddr) {
        let IpAddr::V4(v4) = address else {
            panic!("IPv4 here")
        };
        let mac = MacAddr(2, 0, 0, 0, 0, v4.octets()[3]);
        let reach = Reach::Neighbor { ifindex: 2, mac };
        self.world
            .hear_neighbor(NeighborNews { address, reach }, self.now);
    }

    fn say(&mut self, real: RealId, state: HealthState) -> bool {
        let epoch = self.world.reals[&real].epoch;
        let news = HealthNews {
            real,
            epoch,
            state,
            declined: false,
            weight: None,
            reason: "as the test says".to_owned(),
        };
        self.world.hear_health(news, self.now)
    }

    fn refresh(&mut self) {
        let (rings, now) = (&mut self.rings, self.now);
        let generation = self.table.generation + 1;
        let compiled: Compiled = self
            .world
            .with_inputs(&self.loads, now, |inputs| {
                compile(inputs, rings, generation)
            })
            .expect("ids");
        self.table = compiled.table;
        self.world.learn(&self.table, now, SystemTime::now());
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn id(&self, service: &str, real: u8) -> RealId {
        let known = self
            .world
            .registry
            .known_real(service, std::net::SocketAddr::new(address(real), 0));
        known.expect("an id")
    }

    fn state(&self, real: RealId) -> RealState {
        self.table.member(real).expect("a member").1.state
    }

    fn serving(&self) -> (Serving, usize) {
        let service = &self.table.services[0];
        let candidates = service.members.iter().filter(|m| m.why_not.is_none());
        (service.serving, candidates.count())
    }

    /// The next lbd after a kill, `later`, with this `config`.
    fn successor(&self, config: Config, later: Duration) -> Self {
        let set = self.world.set(self.table.generation, &self.rings);
        let mut next = Self::new(config, set);
        next.now = self.now + later;
        next
    }
}

#[test]
fn t19_t22_a_successor_forwards_by_its_first_snapshot_as_the_last_one_did() {
    let mut bench = Bench::web(&[1, 2, 3]);
    bench.settle();
    let dead = bench.id("web", 2);
    assert!(bench.say(dead, HealthState::Down));
    bench.refresh();
    let next = bench.successor(bench.world.config.clone(), Duration::ZERO);
    assert_eq!(next.serving(), (Serving::Reals, 2));
    for real in [1, 2, 3] {
        let id = bench.id("web", real);
        assert_eq!(next.id("web", real), id);
        let (old, new) = (bench.table.real(id), next.table.real(id));
        assert_eq!(old, new, "path, fate and all");
    }
    assert_eq!(next.state(dead), RealState::Down);
}

#[test]
fn dead_grace_and_drain_timeout_go_on_over_a_restart() {
    let mut bench = Bench::web(&[1, 2]);
    bench.settle();
    let dead = bench.id("web", 1);
    bench.say(dead, HealthState::Down);
    bench.refresh();
    let since = bench.world.reals[&dead].last;
    let next = bench.successor(bench.world.config.clone(), Duration::ZERO);
    assert_eq!(next.world.reals[&dead].last, since);
}

#[test]
fn a_lasting_lack_of_carrier_elsewhere_excuses_nobody() {
    let mut bench = Bench::new(
        config("[\"eth0\", \"eth1\"]", &[("web", &[1, 2])]),
        Set::default(),
    );
    bench.settle();
    bench
        .world
        .hear_links(links(&[("eth0", true), ("eth1", false)]), bench.now);
    assert!(bench.say(bench.id("web", 1), HealthState::Down));
    bench.refresh();
    assert_eq!(bench.state(bench.id("web", 1)), RealState::Down);
}

#[test]
fn t35_failures_without_carrier_and_just_after_wait_and_are_taken_back_by_a_success() {
    let mut bench = Bench::web(&[1, 2]);
    bench.settle();
    let (first, second) = (bench.id("web", 1), bench.id("web", 2));
    bench.world.hear_links(links(&[("eth0", false)]), bench.now);
    assert!(!bench.say(first, HealthState::Down) && !bench.say(second, HealthState::Down));
    bench.wait(MINUTE);
    assert!(!bench.world.release_held(bench.now), "no carrier");
    bench.world.hear_links(links(&[("eth0", true)]), bench.now);
    assert!(!bench.world.release_held(bench.now), "only just again");
    assert!(bench.say(second, HealthState::Up));
    bench.wait(bench.world.config.network.link_holddown);
    assert!(bench.world.release_held(bench.now));
    bench.refresh();
    assert_eq!(bench.state(first), RealState::Down);
    assert_eq!(bench.state(second), RealState::Up);
}

#[test]
fn silence_of_a_neighbour_just_after_carrier_waits_too() {
    let mut bench = Bench::web(&[1]);
    bench.settle();
    bench.world.hear_links(links(&[("eth0", false)]), bench.now);
    bench.world.hear_links(links(&[("eth0", true)]), bench.now);
    let silence = NeighborNews {
        address: address(1),
        reach: Reach::Unresolved {
            ifindex: 2,
            no_room: false,
        },
    };
    assert!(!bench.world.hear_neighbor(silence.clone(), bench.now));
    bench.wait(bench.world.config.network.link_holddown);
    assert!(bench.world.release_held(bench.now));
    bench.refresh();
    assert_eq!(bench.state(bench.id("web", 1)), RealState::Down);
}

#[test]
fn t29_reals_that_fail_one_after_the_other_are_all_the_last_good_set() {
    let mut bench = Bench::web(&[1, 2, 3, 4]);
    bench.settle();
    bench.say(bench.id("web", 4), HealthState::Down);
    bench.refresh();
    // Down for good, long before.
    bench.wait(MINUTE);
    for real in [1, 2, 3] {
        bench.say(bench.id("web", real), HealthState::Down);
        bench.refresh();
        bench.wait(Duration::from_secs(2));
    }
    assert_eq!(bench.serving(), (Serving::LastGood, 3));
    bench.wait(10 * MINUTE);
    bench.refresh();
    assert_eq!(bench.serving(), (Serving::LastGood, 3), "it stays");
    let next = bench.successor(bench.world.config.clone(), Duration::ZERO);
    assert_eq!(next.serving(), (Serving::LastGood, 3), "over a restart too");
}

#[test]
fn a_real_that_nobody_asked_for_a_while_begins_anew() {
    let mut bench = Bench::web(&[1, 2]);
    bench.settle();
    let admin = |bench: &mut Bench, admin| {
        bench.world.config.services[0].reals[0].admin = admin;
        bench.refresh();
        (
            bench.state(bench.id("web", 1)),
            plans::targets(&bench.world).len(),
        )
    };
    use config::Admin::{Disabled, Drain, Enabled};
    assert_eq!(admin(&mut bench, Drain), (RealState::Draining, 2));
    assert_eq!(admin(&mut bench, Enabled), (RealState::Up, 2));
    assert_eq!(admin(&mut bench, Disabled), (RealState::Disabled, 1));
    assert_eq!(admin(&mut bench, Enabled), (RealState::Checking, 2));
}

#[test]
fn t20_a_removed_real_lingers_until_its_last_flow_ends() {
    let mut bench = Bench::web(&[1, 2]);
    bench.settle();
    let (gone, stays) = (bench.id("web", 1), bench.id("web", 2));
    bench.loads.add(gone, Active);
    bench.loads.add(stays, Active);
    bench.world.config = config("[\"eth0\"]", &[("web", &[2])]);
    bench.refresh();
    assert_eq!(bench.state(gone), RealState::Draining);
    assert!(bench.table.real(gone).expect("still there").path.is_some());
    assert!(!bench.world.forget_the_gone(&bench.loads, &bench.table));
    bench.loads.sub(gone, Active);
    assert!(bench.world.forget_the_gone(&bench.loads, &bench.table));
    bench.refresh();
    assert!(bench.table.real(gone).is_none());
    assert!(!bench.world.ways.contains_key(&address(1)));
    assert!(
        !bench.world.forget_the_gone(&bench.loads, &bench.table),
        "only once"
    );
    assert_eq!(bench.state(stays), RealState::Up);
}

#[test]
fn a_removed_service_lingers_with_the_reals_that_have_flows_and_is_forgotten_with_the_last() {
    let mut bench = Bench::web(&[1, 2]);
    bench.settle();
    let busy = bench.id("web", 1);
    bench.loads.add(busy, Active);
    let old = std::mem::replace(&mut bench.world.config, config("[\"eth0\"]", &[]));
    bench.world.linger(&old, &bench.loads);
    bench.refresh();
    assert_eq!(bench.state(busy), RealState::Draining);
    assert_eq!(bench.table.services[0].members.len(), 1);
    assert!(
        bench.world.forget_the_gone(&bench.loads, &bench.table),
        "the idle one"
    );
    bench.refresh();
    assert!(!bench.world.forget_the_gone(&bench.loads, &bench.table));
    bench.loads.sub(busy, Active);
    assert!(bench.world.forget_the_gone(&bench.loads, &bench.table));
    bench.refresh();
    assert!(bench.table.services.is_empty() && bench.world.lingering.is_empty());
    assert_eq!(bench.world.registry.services().count(), 0);
}

impl Bench {
    /// Nodes of a Kubernetes cluster that say how many pods they have.
    fn nodes(weight: &str, reals: &[u8]) -> Self {
        let mut config = config("[\"eth0\"]", &[("web", reals)]);
        let text = format!(
            "[network]\ninterface = \"eth0\"\n[[service]]\nname = \"x\"\nvip = \"192.0.2.9\"\n\
             port = 80\n[[service.check]]\ntype = \"kubernetes\"\nport = 32000\n\
             service = \"default/web\"\nweight = \"{weight}\"\n"
        );
        let checks = &config::parse(&text).expect("a good file").services[0].checks;
        config.services[0].checks.clone_from(checks);
        let mut bench = Self::new(config, Set::default());
        bench.settle();
        bench
    }

    fn weighs(&mut self, real: u8, weight: u16) {
        let real = self.id("web", real);
        let news = HealthNews {
            real,
            epoch: self.world.reals[&real].epoch,
            state: HealthState::Up,
            declined: false,
            weight: Some(weight),
            reason: format!("http 200, {weight} endpoints"),
        };
        self.world.hear_health(news, self.now);
        self.refresh();
    }

    fn weights(&self) -> Vec<u16> {
        let members = &self.table.services[0].members;
        members.iter().map(|m| m.effective_weight).collect()
    }
}

/// T33: the weight of a node is its count of pods, the configured one where it never said any.
#[test]
fn t33_a_nodes_count_of_pods_is_its_weight() {
    let mut bench = Bench::nodes("endpoints", &[1, 2, 3]);
    assert_eq!(bench.weights(), [1, 1, 1]);
    bench.weighs(1, 3);
    bench.weighs(2, 0);
    assert_eq!(
        bench.weights(),
        [3, 0, 1],
        "the first ones are in force at once"
    );

    bench.weighs(1, 4);
    assert_eq!(
        bench.weights(),
        [3, 0, 1],
        "a rollout does not thrash the table"
    );
    bench.wait(Duration::from_secs(10));
    bench.refresh();
    assert_eq!(bench.weights(), [4, 0, 1]);

    let id = bench.id("web", 1);
    bench.say(id, HealthState::Down);
    bench.refresh();
    assert_eq!(
        bench.weights(),
        [4, 0, 1],
        "who stops reporting keeps its last weight"
    );

    let mut next = bench.successor(bench.world.config.clone(), Duration::ZERO);
    assert_eq!(next.weights(), [4, 0, 1], "and the next lbd knows it");
    next.weighs(2, 2);
    assert_eq!(next.weights(), [4, 2, 1]);
}

#[test]
fn the_operators_weight_goes_before_the_nodes_own() {
    let mut bench = Bench::nodes("endpoints", &[1, 2]);
    bench.weighs(1, 3);
    bench.weighs(2, 3);
    let place = std::net::SocketAddr::new(address(1), 0);
    bench.world.pinned.insert(("web".to_owned(), place));
    bench.world.config.services[0].reals[0].weight = 7;
    bench.refresh();
    assert_eq!(bench.weights(), [7, 3]);
    bench.world.config.services[0].reals[1].weight = 0;
    bench.refresh();
    assert_eq!(bench.weights(), [7, 0]);
}

#[test]
fn weights_that_are_only_observed_are_shown_and_not_used() {
    for mode in ["observe", "static"] {
        let mut bench = Bench::nodes(mode, &[1, 2]);
        bench.weighs(1, 3);
        assert_eq!(bench.weights(), [1, 1], "{mode}");
        let id = bench.id("web", 1);
        assert_eq!(bench.world.reals[&id].observed_weight, Some(3));
    }
}

/// T33: a node without pods drains: its flows stay, and nothing has failed.
#[test]
fn t33_nodes_that_drain_keep_their_flows_and_never_panic() {
    let mut bench = Bench::nodes("endpoints", &[1, 2]);
    for real in [1, 2] {
        let id = bench.id("web", real);
        bench.say(id, HealthState::Draining);
        bench.refresh();
        assert_eq!(bench.state(id), RealState::Draining);
        let real = bench.table.real(id).expect("a real");
        assert_eq!(real.fate, lbcore::service::FlowFate::Keep);
        assert!(!real.takes_new);
    }
    assert_eq!(bench.serving(), (Serving::Nobody, 0));
    bench.wait(Duration::from_secs(3600));
    bench.refresh();
    let real = bench.table.real(bench.id("web", 1)).expect("a real");
    assert_eq!(real.fate, lbcore::service::FlowFate::Keep);
    let next = bench.successor(bench.world.config.clone(), Duration::ZERO);
    assert_eq!(next.state(next.id("web", 1)), RealState::Draining);
}

/// T32: a real that flaps is held down after its checks pass, unless it is the last, and an
/// operator's `enable` lets it go.
#[test]
fn t32_who_flaps_is_held_down() {
    let mut bench = Bench::web(&[1, 2]);
    bench.world.config.services[0].damping = true;
    bench.settle();
    let flap = |bench: &mut Bench| {
        let rs1 = bench.id("web", 1);
        for state in [HealthState::Down, HealthState::Up] {
            bench.wait(Duration::from_secs(5));
            bench.say(rs1, state);
            bench.refresh();
        }
    };
    let state = |bench: &Bench| bench.table.services[0].members[0].state;
    for _ in 0..2 {
        flap(&mut bench);
        assert_eq!(state(&bench), RealState::Up);
    }
    flap(&mut bench);
    assert_eq!(state(&bench), RealState::Down);
    let reason = bench.table.services[0].members[0].reason.clone();
    assert_eq!(reason, "held down: went down 3 times in 25 s");
    // One failure meanwhile, and the time begins anew.
    flap(&mut bench);
    bench.wait(Duration::from_secs(29));
    bench.refresh();
    assert_eq!(state(&bench), RealState::Down);
    bench.wait(Duration::from_secs(1));
    bench.refresh();
    assert_eq!(state(&bench), RealState::Up);

    flap(&mut bench);
    assert_eq!(state(&bench), RealState::Down);
    let place = std::net::SocketAddr::new(address(1), 0);
    assert!(bench.world.pardon("web", place, bench.now));
    bench.refresh();
    assert_eq!(state(&bench), RealState::Up);
    assert!(!bench.world.pardon("web", place, bench.now));

    for _ in 0..3 {
        flap(&mut bench);
    }
    assert_eq!(state(&bench), RealState::Down);
    let rs2 = bench.id("web", 2);
    bench.say(rs2, HealthState::Down);
    bench.refresh();
    assert_eq!(state(&bench), RealState::Up, "the last one is never held");
}
