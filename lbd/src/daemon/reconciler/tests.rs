#![allow(clippy::unwrap_used)]

mod commands;
mod configurations;
mod restarts;

use super::super::{last_run, reload};
use super::*;
use crate::control::Peer;
use crate::live::event::{NeighborNews, Reach};
use lbcore::api::{ApiError, How, RealRef, Request, Response, ServiceRef, VipVerb};
use lbcore::flow::FlowTable;
use lbcore::load::Weightiness::Active;
use lbcore::service::{Rings, ServiceTable};
use lbcore::vip::Hold;
use std::fs;
use std::sync::atomic::AtomicU64;

const WEB: &str =
    "[[service]]\nname = \"web\"\nvip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\n";

/// A reconciler on a temporary directory; its guard obeys at once, the other rooms are not there.
struct Rig {
    me: Reconciler,
    dir: tempfile::TempDir,
}

fn reals(numbers: &[u8]) -> String {
    let real = |n: &u8| format!("[[service.real]]\nname = \"rs{n}\"\naddress = \"192.0.2.2{n}\"\n");
    numbers.iter().map(real).collect()
}

fn file(interfaces: &str, services: &str) -> String {
    format!("[network]\ninterfaces = {interfaces}\n{services}")
}

/// One service `web` with these reals.
fn web(numbers: &[u8]) -> String {
    file("[\"eth0\"]", &format!("{WEB}{}", reals(numbers)))
}

impl Rig {
    async fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("lbd.toml"), text).unwrap();
        Self::start(dir).await
    }

    /// An lbd that begins with what is in the directory.
    async fn start(dir: tempfile::TempDir) -> Self {
        Self::start_with(dir, &[]).await
    }

    /// The same, with a flow of each of these reals in its table.
    async fn start_with(dir: tempfile::TempDir, flows_of: &[RealId]) -> Self {
        let at = |name: &str| dir.path().join(name);
        let loaded = reload::load(&at("lbd.toml")).unwrap();
        let places = Places {
            run_dir: at("run"),
            state_dir: at("state"),
            hash_key: at("state/hash.key"),
        };
        places.make().unwrap();
        let key = places.hash_key().unwrap();
        let memory = (0..FlowTable::words_for(64)).map(|_| AtomicU64::new(0));
        let flows = FlowTable::create(Vec::leak(memory.collect()), &key).unwrap();
        let now = (clock::now(), SystemTime::now());
        let (set, _) = places.load_set(&key);
        let filed = Filed::read(&loaded);
        let (mut overrides, _) = places.load_overrides();
        let (running, runtime) = compose(&filed.wanted, &overrides.runtime);
        overrides.runtime = runtime;
        let mut world = World::new(
            running.checked.config,
            key.clone(),
            overrides,
            set.unwrap_or_default(),
            now,
        );
        world.pinned = pinned(&filed.wanted.config, &world.config);
        let (guard, mut plans) = watch::channel(Arc::new(plans::guard(&world)));
        let (obeys, guarded) = watch::channel(GuardState::default());
        tokio::spawn(async move {
            loop {
                let in_force = Some(plans.borrow_and_update().clone());
                obeys.send_replace(GuardState {
                    wanted: in_force.clone(),
                    in_force,
                    trouble: None,
                });
                if plans.changed().await.is_err() {
                    return;
                }
            }
        });
        let (intercept, mut plans) = watch::channel(Arc::<InterceptPlan>::default());
        let (obeys, intercepted) = watch::channel(InterceptState::default());
        tokio::spawn(async move {
            loop {
                let in_force = Some(plans.borrow_and_update().clone());
                obeys.send_replace(InterceptState {
                    wanted: in_force.clone(),
                    in_force,
                    trouble: None,
                });
                if plans.changed().await.is_err() {
                    return;
                }
            }
        });
        let live = Live::new(key, flows, Vec::new(), 0);
        for real in flows_of {
            live.loads.add(*real, Active);
        }
        let history = History::load(&places.state_dir);
        last_run::follow(&mut world, &history, &live.loads);
        let me = Reconciler::new(Beginning {
            live: Arc::new(live),
            config_file: at("lbd.toml"),
            history,
            filed,
            board: Arc::new(Board::new(&prometheus::Registry::new()).unwrap()),
            generation: 0,
            fallback: None,
            warnings: Vec::new(),
            out: Outlets {
                targets: watch::Sender::default(),
                hops: watch::Sender::default(),
                neighbors: watch::Sender::default(),
                vips: watch::Sender::default(),
                guard,
                guarded,
                intercept,
                intercepted,
                proxy: watch::Sender::default(),
                proxied: watch::Sender::default().subscribe(),
                access: watch::Sender::new(Arc::new(access_of(&loaded.config).0)),
                check_now: mpsc::channel(1).0,
                metrics: watch::Sender::default(),
            },
            world,
            places,
            proxy: None,
            rings: Rings::default(),
            log: LogFilter::default(),
            engines: crate::xdp::Engines {
                fast_path: None,
                to_sockets: Vec::new(),
                chosen: Vec::new(),
                left: None,
            },
            notifier: Notifier::new(),
        });
        let mut rig = Rig { me, dir };
        rig.me.begin().await;
        rig.me.starting = false;
        rig
    }

    async fn save_and(&mut self, text: &str, trigger: Trigger) -> Result<Reloaded, Refused> {
        fs::write(self.dir.path().join("lbd.toml"), text).unwrap();
        self.me.reload(trigger, false, None).await
    }

    async fn typed(&mut self, text: &str) -> Reloaded {
        let trigger = Trigger::Typed { force: false };
        self.save_and(text, trigger).await.unwrap()
    }

    async fn ask(&mut self, request: Request) -> Response {
        self.try_ask(request).await.unwrap()
    }

    async fn try_ask(&mut self, request: Request) -> Result<Response, ApiError> {
        let (reply, answer) = oneshot::channel();
        let peer = Peer {
            uid: 0,
            pid: 1,
            groups: Vec::new(),
        };
        let ask = Ask::Request {
            request,
            peer,
            reply,
        };
        self.me.answer(ask).await;
        answer.await.unwrap()
    }

    fn table(&self) -> Arc<ServiceTable> {
        self.me.live.table()
    }

    fn id(&self, service: &str, real: u8) -> RealId {
        let address = format!("192.0.2.2{real}").parse().unwrap();
        let known = self
            .me
            .world
            .registry
            .known_real(service, std::net::SocketAddr::new(address, 0));
        known.unwrap()
    }
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_counted() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let before = rig.table();
    let refused = rig.save_and("[[service]]\nnonsense = 1\n", Trigger::Unattended("test"));
    assert!(refused.await.unwrap_err().file_at_fault);
    assert!(Arc::ptr_eq(&rig.table(), &before));
    assert_eq!((rig.me.revision, rig.me.tallies.reloads_refused), (1, 1));
    let (_, last_good) = rig.me.history.last_good().unwrap();
    assert_eq!(last_good.main.text, web(&[1, 2]));
}

#[tokio::test]
async fn a_reload_that_changes_nothing_changes_nothing() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let before = rig.table();
    let reloaded = rig.typed(&format!("# only words\n{}", web(&[1, 2]))).await;
    assert!(reloaded.changes.is_empty());
    assert!(Arc::ptr_eq(&rig.table(), &before));
    assert_eq!(rig.me.revision, 1);
}

#[tokio::test]
async fn an_emptied_file_is_refused_unless_somebody_typed_it() {
    let mut rig = Rig::new(&web(&[1, 2, 3])).await;
    for text in [file("[\"eth0\"]", ""), web(&[1])] {
        let refused = rig.save_and(&text, Trigger::Unattended("SIGHUP")).await;
        let refused = refused.unwrap_err().summary;
        assert!(refused.contains("lbctl reload --force"), "{refused}");
        assert_eq!(rig.me.world.config.services[0].reals.len(), 3);
    }
    rig.typed(&web(&[1])).await;
    assert_eq!(rig.me.world.config.services[0].reals.len(), 1);
}

#[tokio::test]
async fn what_is_read_at_start_only_stays_and_is_warned_of() {
    let mut rig = Rig::new(&web(&[1])).await;
    let services = format!("{WEB}{}", reals(&[1, 2]));
    let reloaded = rig.typed(&file("[\"eth1\", \"eth0\"]", &services)).await;
    assert_eq!(reloaded.changes.len(), 1, "{:?}", reloaded.changes);
    let warned = |w: &String| w.starts_with("network.interfaces is read at start only");
    assert!(reloaded.warnings.iter().any(warned));
    assert!(rig.me.standing_warnings.iter().any(warned));
    assert_eq!(rig.me.world.config.network.interfaces, ["eth0"]);
}

#[tokio::test]
async fn a_renamed_service_keeps_its_flows() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let before = [rig.id("web", 1), rig.id("web", 2)];
    rig.me.live.loads.add(before[0], Active);
    let renamed = web(&[1, 2]).replace("\"web\"", "\"shop\"");
    rig.typed(&renamed).await;
    assert_eq!([rig.id("shop", 1), rig.id("shop", 2)], before);
    assert_eq!(rig.table().services.len(), 1);
    assert!(rig.table().real(before[0]).is_some());
}

#[tokio::test]
async fn a_change_for_the_moment_outlives_reloads_until_the_file_changes_that_key() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let request = Request::SetReal {
        service: ServiceRef::Name("web".to_owned()),
        real: RealRef("rs1".to_owned()),
        keys: [("weight".to_owned(), 7.into())].into_iter().collect(),
        how: How {
            runtime: true,
            ..How::default()
        },
    };
    let answer = rig.ask(request).await;
    assert!(matches!(answer, Response::Changed(_)));
    let weight = |rig: &Rig| rig.table().services[0].members[0].weight;
    assert_eq!(weight(&rig), 7);
    let (kept, _) = rig.me.places.load_overrides();
    assert_eq!(kept, rig.me.world.overrides);
    rig.typed(&web(&[1, 2, 3])).await;
    assert_eq!(weight(&rig), 7, "the file says nothing new of it");
    let with_weight = format!("{}weight = 3\n", web(&[2, 1]));
    rig.typed(&with_weight).await;
    assert_eq!(rig.table().services[0].members[1].weight, 3);
    assert!(rig.me.world.overrides.runtime.is_empty());
    assert_eq!(rig.me.status().drift, []);
}

#[tokio::test]
async fn snapshot_guard_and_filter_are_whole_before_anything_runs() {
    let rig = Rig::new(&web(&[1])).await;
    assert_eq!(rig.table().services.len(), 1);
    assert_eq!(rig.me.live.filter().vips.len(), 1);
    assert_eq!(rig.me.out.guard.borrow().endpoints.len(), 1);
    assert!(
        rig.me.out.vips.borrow().vips.is_empty(),
        "announced once the guard is in force"
    );
}

#[tokio::test]
async fn a_released_vip_is_told_until_it_is_taken_back() {
    let mut rig = Rig::new(&web(&[1])).await;
    let vip: std::net::IpAddr = "192.0.2.10".parse().unwrap();
    let ask = |verb, dry_run| Request::Vip {
        vip: (verb != VipVerb::Auto).then_some(vip),
        verb,
        dry_run,
    };
    for (verb, told, changes) in [
        (VipVerb::Release, 1, 1),
        (VipVerb::Release, 1, 0),
        (VipVerb::Take, 0, 1),
        (VipVerb::Release, 1, 1),
        (VipVerb::Auto, 0, 1),
        (VipVerb::Auto, 0, 0),
    ] {
        let before = rig.me.world.overrides.clone();
        let dry = rig.ask(ask(verb, true)).await;
        assert_eq!(rig.me.world.overrides, before, "{verb} as a dry run");
        let wet = rig.ask(ask(verb, false)).await;
        for (answer, dry) in [(dry, true), (wet, false)] {
            let Response::Vip(view) = answer else {
                panic!("VIPs");
            };
            assert_eq!((view.changes.len(), view.dry_run), (changes, dry), "{verb}");
        }
        assert_eq!(rig.me.status().drift.len(), told, "{verb}");
    }
    assert!(rig.me.world.overrides.vips.is_empty());
}

#[tokio::test]
async fn maintenance_leaves_what_was_said_of_vips_and_is_kept() {
    let mut rig = Rig::new(&web(&[1])).await;
    rig.me
        .world
        .hear_links(Arc::new(vec![eth0()]), clock::now());
    let vip: std::net::IpAddr = "192.0.2.10".parse().unwrap();
    let take = Request::Vip {
        vip: Some(vip),
        verb: VipVerb::Take,
        dry_run: false,
    };
    rig.ask(take).await;
    let set = |on, dry_run| Request::SetMaintenance { on, dry_run };
    let held = |rig: &Rig| {
        let plan = plans::vips(&rig.me.world, &rig.table());
        plan.vips.iter().map(|w| w.held).collect::<Vec<_>>()
    };
    let before = held(&rig);
    rig.ask(set(true, true)).await;
    assert!(!rig.table().maintenance, "a dry run");
    let Response::Maintenance(view) = rig.ask(set(true, false)).await else {
        panic!("maintenance");
    };
    assert!(view.maintenance && rig.table().maintenance);
    assert_eq!(view.changes, ["maintenance: off -> on"]);
    assert_eq!(view.generation, rig.table().generation);
    assert!(!rig.me.readiness().ready && rig.me.status().maintenance.is_some());
    assert!(held(&rig).iter().all(|held| *held == Hold::Release));
    assert!(rig.me.places.load_maintenance().0.is_some());
    let again = rig.ask(set(true, false)).await;
    assert!(matches!(again, Response::Maintenance(view) if view.changes.is_empty()));
    rig.ask(set(false, false)).await;
    assert!(!rig.table().maintenance);
    assert_eq!(held(&rig), before);
    assert_eq!(rig.me.places.load_maintenance(), (None, None));
    let told = told(&mut rig);
    let changes = told.iter().filter(|t| t.contains("maintenance:")).count();
    assert_eq!(changes, 2, "{told:#?}");
}

#[tokio::test]
async fn flows_are_cleared_with_their_loads() {
    use lbcore::flow::{Coarse, Entry, Outcome, State};
    use lbcore::net::{Addr, FlowKey, Protocol, ServiceKey};
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let table = rig.table();
    let now = clock::now();
    for n in 0..4_u8 {
        let real = rig.id("web", 1 + n % 2);
        let key = FlowKey {
            client: Addr::v4([198, 51, 100, n]),
            client_port: 40_000,
            service: ServiceKey {
                vip: Addr::v4([192, 0, 2, 10]),
                port: 80,
                protocol: Protocol::Tcp,
            },
        };
        let entry = Entry {
            real,
            epoch: table.real(real).unwrap().epoch,
            state: State::Established,
            seen: Coarse::at(now),
        };
        let live = &rig.me.live;
        let hash = table.key.flow(&key);
        let inserted = live.flows.insert(hash, &key, entry, now, |_| false);
        assert!(matches!(inserted.outcome, Outcome::Stored(_)));
        live.loads.add(real, Active);
    }
    let clear = |real: Option<&str>, dry_run| Request::ClearFlows {
        filter: lbcore::api::FlowFilter {
            real: real.map(RealRef::from),
            ..Default::default()
        },
        all: real.is_none(),
        dry_run,
    };
    for (request, forgotten, left) in [
        (clear(Some("rs1"), true), 2, [2, 2]),
        (clear(Some("rs1"), false), 2, [0, 2]),
        (clear(None, false), 2, [0, 0]),
        (clear(None, false), 0, [0, 0]),
    ] {
        let Response::Cleared(view) = rig.ask(request).await else {
            panic!("flows");
        };
        assert_eq!(view.forgotten, forgotten);
        let loads = [1, 2].map(|n| rig.me.live.loads.flows(rig.id("web", n)));
        assert_eq!(loads, left);
    }
    assert!(rig.me.live.flows.is_empty());
}

#[tokio::test]
async fn a_log_filter_that_is_none_is_refused_in_words() {
    let mut rig = Rig::new(&web(&[1])).await;
    let peer = Peer {
        uid: 0,
        pid: 1,
        groups: Vec::new(),
    };
    let mut set = |filter: &str, for_ms| {
        let filter = Some(filter.to_owned());
        rig.me.set_log(filter, for_ms, true, &peer)
    };
    let error = set("loud", None).unwrap_err();
    assert!(
        error.message.contains("`loud` is not a log filter"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("debug"));
    assert!(set("debug", Some(0)).is_err());
    assert!(set("debug", Some(u64::MAX)).is_err());
    let Response::Log(view) = set("debug", Some(60_000)).unwrap() else {
        panic!("the log");
    };
    assert_eq!((&*view.filter, &*view.configured), ("debug", "info"));
    assert!(view.until.is_some() && view.dry_run);
    let Response::Log(now) = rig.me.log() else {
        panic!("the log");
    };
    assert_eq!((&*now.filter, now.until), ("info", None));
}

/// What the journal has, in words.
fn told(rig: &mut Rig) -> Vec<String> {
    let past = rig.me.journal.stream(false).unwrap().past;
    let words = |line: &str| {
        let event: lbcore::api::EventView = serde_json::from_str(line).unwrap();
        event.what.to_string()
    };
    past.lines().map(words).collect()
}

#[tokio::test]
async fn what_happens_is_told_and_a_real_keeps_its_history() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let set = Request::SetReal {
        service: ServiceRef::from("web"),
        real: RealRef::from("rs1"),
        keys: [("admin".to_owned(), "drain".into())].into_iter().collect(),
        how: How::default(),
    };
    rig.ask(set).await;
    rig.me.hear(Event::Restored { kind: "nft" });
    let _ = rig
        .save_and("nonsense", Trigger::Unattended("SIGHUP"))
        .await;
    let told = told(&mut rig);
    let expected = [
        "lbd ",
        "real web/rs1 new -> checking",
        "real web/rs2 new -> checking",
        "service web new -> down",
        "change by uid 0 root (pid 1): web/rs1: admin: enabled -> drain",
        "real web/rs1 checking -> draining",
        "host nft of lbd removed by somebody, put back",
        "reload by SIGHUP refused, nothing was changed, revision 2",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
    let show = Request::Real {
        service: ServiceRef::from("web"),
        real: RealRef::from("rs1"),
    };
    let Response::Real(real) = rig.ask(show).await else {
        panic!("a real");
    };
    let states: Vec<_> = real.history.iter().map(|t| t.change.to).collect();
    assert_eq!(states, [RealState::Draining, RealState::Checking]);
    assert_eq!(real.history[0].change.from, Some(RealState::Checking));
}

#[tokio::test]
async fn a_real_that_leaves_most_clients_without_an_answer_is_ejected_for_a_while() {
    let all: Vec<u8> = (0..10).collect();
    let passive = web(&all).replace("port = 80\n", "port = 80\npassive = true\n");
    let mut rig = Rig::new(&passive).await;
    let now = clock::now();
    for n in &all {
        rig.me.world.hear_neighbor(
            NeighborNews {
                address: format!("192.0.2.2{n}").parse().unwrap(),
                reach: Reach::Neighbor {
                    ifindex: 1,
                    mac: lbcore::net::MacAddr::new(2, 0, 0, 0, 0, *n),
                },
            },
            now,
        );
    }
    rig.me.world.hear_links(Arc::new(vec![eth0()]), now);
    rig.me.refresh().await;
    let silent = [rig.id("web", 3), rig.id("web", 4)];
    for (id, unanswered) in [(silent[0], 100), (silent[1], 50)] {
        let mut notes = lbcore::health::Handshakes::default();
        notes.note(0, 0, now);
        notes.note(0, unanswered, now + Duration::from_secs(60));
        rig.me.handshakes.insert(id, notes);
    }
    let (table, before) = (rig.table(), rig.me.generation);
    rig.me.eject(&table, now);
    assert!(rig.me.dirty);
    rig.me.refresh().await;
    assert_eq!(rig.me.generation, before + 1);
    let table = rig.table();
    let out: Vec<RealId> = table.services[0]
        .members
        .iter()
        .filter(|m| m.why_not.is_some())
        .map(|m| m.id)
        .collect();
    assert_eq!(out.len(), 1, "one in ten, not both: {out:?}");
    assert!(silent.contains(&out[0]));
    let (_, member) = table.member(out[0]).unwrap();
    assert!(member.ejected_until.is_some_and(|until| until > now));
    assert!(rig.me.next_change.is_some(), "it comes back by itself");
    assert!(
        !rig.me.handshakes.contains_key(&out[0]),
        "it is judged anew when it is back"
    );
}

fn eth0() -> crate::live::event::Link {
    crate::live::event::Link {
        ifindex: 1,
        name: "eth0".into(),
        mac: lbcore::net::MacAddr::new(2, 0, 0, 0, 0, 0xff),
        mtu: 1500,
        up: true,
        carrier: true,
        addresses: Vec::new(),
    }
}
