use super::super::{Found, ProbeError};
use super::*;
use lbcore::config::{Check, CheckKind, Via};
use lbcore::id::Epoch;
use prometheus::Registry;
use std::io;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicU16, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

const FAST: Duration = Duration::from_millis(10);
/// Long enough for a loaded machine; nothing waits for it unless the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn check() -> Check {
    Check {
        kind: CheckKind::Tcp,
        via: Via::Real,
        source: None,
        port: None,
        interval: FAST,
        fast_interval: FAST,
        down_interval: FAST,
        timeout: Duration::from_secs(1),
        rise: NonZeroU32::new(2).expect("not 0"),
        fall: NonZeroU32::new(3).expect("not 0"),
    }
}

fn target(number: u16) -> Target {
    let [high, low] = number.to_be_bytes();
    Target {
        real: RealId(number),
        epoch: Epoch::new(1),
        service: "web".to_owned(),
        name: format!("rs{number}"),
        address: [127, 1, high, low].into(),
        checks: vec![check()],
        vips: vec![[192, 0, 2, 10].into()],
        default_port: 80,
        initial: None,
    }
}

fn answer(outcome: Result<&str, ProbeError>) -> Answer {
    Answer {
        outcome: outcome.map(Found::from),
        took: Duration::from_micros(400),
    }
}

fn pass() -> Answer {
    answer(Ok("connected"))
}

fn errno(errno: i32) -> Answer {
    answer(Err(ProbeError::Io(io::Error::from_raw_os_error(errno))))
}

/// A runner, and all its ends.
struct Rig {
    targets: watch::Sender<Arc<Vec<Target>>>,
    events: mpsc::Receiver<Event>,
    suspects: mpsc::Receiver<IpAddr>,
    board: Arc<Board>,
    registry: Registry,
    nows: mpsc::Sender<CheckNow>,
    task: JoinHandle<()>,
}

impl Rig {
    /// Starts with `targets`; each probe is answered by `ask`.
    fn start<F>(
        targets: Vec<Target>,
        most: usize,
        ask: impl Fn(Question) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let registry = Registry::new();
        let board = Arc::new(Board::new(&registry).expect("a fresh registry"));
        let (targets, wanted) = watch::channel(Arc::new(targets));
        let (news, events) = mpsc::channel(100);
        let (suspected, suspects) = mpsc::channel(100);
        let runner = Runner::new(board.clone(), news, suspected, most, ask);
        let (nows, hurried) = mpsc::channel(4);
        let task = tokio::spawn(runner.run(wanted, hurried));
        Rig {
            targets,
            events,
            suspects,
            board,
            registry,
            nows,
            task,
        }
    }

    /// The next news.
    async fn news(&mut self) -> HealthNews {
        match tokio::time::timeout(DEADLINE, self.events.recv()).await {
            Ok(Some(Event::Health(news))) => news,
            other => panic!("instead of news: {other:?}"),
        }
    }

    /// The value of a counter, histogram count or 0.
    fn results(&self, real: &str, result: &str) -> u64 {
        let families = self.registry.gather();
        let family = families
            .iter()
            .find(|f| f.name() == "lbd_check_results_total");
        let value = family.and_then(|family| {
            let labelled = |metric: &&prometheus::proto::Metric| {
                let is = |name, value| {
                    metric
                        .get_label()
                        .iter()
                        .any(|l| l.name() == name && l.value() == value)
                };
                is("real", real) && is("result", result)
            };
            family
                .get_metric()
                .iter()
                .find(labelled)
                .map(|m| m.get_counter().get_value())
        });
        value.unwrap_or(0.0) as u64
    }

    fn series(&self) -> usize {
        self.registry
            .gather()
            .iter()
            .map(|family| family.get_metric().len())
            .sum()
    }

    fn state(&self, real: u16) -> HealthState {
        self.board.checks(RealId(real))[0].state
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let held = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(held.is_ok(), "still not so: {what}");
}

/// An answer that a test changes while the runner asks.
#[derive(Clone)]
struct Script(Arc<Mutex<fn() -> Answer>>);

impl Script {
    fn new(say: fn() -> Answer) -> Self {
        Script(Arc::new(Mutex::new(say)))
    }

    fn say(&self, say: fn() -> Answer) {
        *self.0.lock().expect("not poisoned") = say;
    }

    fn ask(&self) -> impl Fn(Question) -> std::future::Ready<Answer> + Send + Sync + 'static {
        let script = self.clone();
        move |_| std::future::ready((script.0.lock().expect("not poisoned"))())
    }
}

/// T29: who may be kept by panic mode changes while a real is down.
#[tokio::test]
async fn t29_a_real_that_says_no_after_it_was_silent_is_told_and_the_other_way_round() {
    let script = Script::new(|| errno(libc::ECONNREFUSED));
    let mut rig = Rig::start(vec![target(1)], 8, script.ask());
    for declined in [false, true, false] {
        if declined {
            script.say(|| answer(Err(ProbeError::Status(503))));
        } else {
            script.say(|| errno(libc::ECONNREFUSED));
        }
        let news = rig.news().await;
        assert_eq!((news.state, news.declined), (HealthState::Down, declined));
    }
    until("failed ten times", || rig.results("rs1", "fail") >= 10).await;
    assert!(rig.events.is_empty());
}

/// T33: a node without pods drains at its first answer, and each other weight is news.
#[tokio::test]
async fn t33_a_node_that_asks_for_it_drains_at_once_and_its_weight_is_told() {
    fn weighs(weight: Option<u16>) -> Answer {
        let words = "http 200".to_owned();
        Answer {
            outcome: Ok(Found {
                words,
                weight,
                expires: None,
            }),
            took: Duration::from_micros(400),
        }
    }
    let script = Script::new(|| weighs(Some(3)));
    let mut rig = Rig::start(vec![target(1)], 8, script.ask());
    let expect = async |rig: &mut Rig, state, weight| {
        let news = rig.news().await;
        assert_eq!(
            (news.state, news.weight, news.declined),
            (state, weight, false)
        );
    };
    expect(&mut rig, HealthState::Up, Some(3)).await;
    script.say(|| weighs(Some(1)));
    expect(&mut rig, HealthState::Up, Some(1)).await;
    script.say(|| answer(Err(ProbeError::Drains("no local endpoints".to_owned()))));
    expect(&mut rig, HealthState::Draining, Some(1)).await;
    until("drained five times", || rig.results("rs1", "drain") >= 5).await;
    script.say(|| weighs(None));
    expect(&mut rig, HealthState::Up, Some(1)).await;
    assert_eq!(rig.results("rs1", "fail"), 0);
    assert!(rig.events.is_empty(), "who says nothing keeps its weight");
}

#[tokio::test]
async fn only_changes_of_the_verdict_are_news() {
    let script = Script::new(pass);
    let mut rig = Rig::start(vec![target(1)], 8, script.ask());
    let up = HealthNews {
        real: RealId(1),
        epoch: Epoch::new(1),
        state: HealthState::Up,
        declined: false,
        weight: None,
        reason: "connected in 0.4 ms".to_owned(),
    };
    assert_eq!(rig.news().await, up, "the first verdict is news");

    until("probed ten times", || rig.results("rs1", "pass") >= 10).await;
    assert!(rig.events.is_empty());
    assert!(rig.suspects.is_empty());

    script.say(|| errno(libc::ECONNREFUSED));
    let down = HealthNews {
        state: HealthState::Down,
        reason: "connection refused".to_owned(),
        ..up.clone()
    };
    assert_eq!(rig.news().await, down);
    assert!(rig.results("rs1", "fail") >= 3, "three in a row");
    until("failed ten times", || rig.results("rs1", "fail") >= 10).await;
    assert_eq!(rig.suspects.recv().await, Some(target(1).address));
    assert!(rig.suspects.is_empty(), "the first failure in a row alone");

    script.say(pass);
    assert_eq!(rig.news().await, up);
    let status = &rig.board.checks(RealId(1))[0];
    let last = status.last.as_ref().expect("probed");
    assert_eq!(
        (status.check.as_str(), status.state),
        ("tcp", HealthState::Up)
    );
    assert_eq!(
        (last.result, last.took),
        (CheckResult::Pass, Duration::from_micros(400))
    );
}

/// T35: however long this host lacks descriptors, nobody goes down for it.
#[tokio::test]
async fn t35_own_trouble_takes_nobody_down() {
    let script = Script::new(pass);
    let mut rig = Rig::start(vec![target(1)], 8, script.ask());
    assert_eq!(rig.news().await.state, HealthState::Up);

    script.say(|| errno(libc::EMFILE));
    until("in trouble ten times", || {
        rig.results("rs1", "own_trouble") >= 10
    })
    .await;
    assert!(rig.events.is_empty() && rig.suspects.is_empty());
    assert_eq!(
        (rig.results("rs1", "fail"), rig.state(1)),
        (0, HealthState::Up)
    );
    let last = rig.board.checks(RealId(1))[0].last.clone().expect("probed");
    assert_eq!(last.result, CheckResult::OwnTrouble);

    script.say(|| errno(libc::ECONNREFUSED));
    assert_eq!(rig.news().await.state, HealthState::Down);
}

/// T35: more targets than slots wait their turn, and each gets it.
#[tokio::test]
async fn t35_a_storm_of_silent_targets_is_bounded() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let slots = Arc::new(Semaphore::new(0));
    let targets: Vec<_> = (0..300).map(target).collect();
    let ask = {
        let (running, most, slots) = (running.clone(), most.clone(), slots.clone());
        move |_| {
            let (running, most, slots) = (running.clone(), most.clone(), slots.clone());
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                slots.acquire().await.expect("open").forget();
                running.fetch_sub(1, SeqCst);
                errno(libc::ETIMEDOUT)
            }
        }
    };
    let mut rig = Rig::start(targets, 16, ask);
    until("all slots are taken", || running.load(SeqCst) == 16).await;
    slots.add_permits(1_000);
    for _ in 0..300 {
        assert_eq!(rig.news().await.state, HealthState::Down);
    }
    assert!((0..300).all(|number| rig.state(number) == HealthState::Down));
    assert_eq!(most.load(SeqCst), 16);
}

#[tokio::test]
async fn a_target_that_is_gone_leaves_nothing() {
    let script = Script::new(pass);
    let mut rig = Rig::start(vec![target(1), target(2)], 8, script.ask());
    rig.news().await;
    rig.news().await;
    let series = rig.series();

    rig.targets.send_replace(Arc::new(vec![target(2)]));
    until("rs1's series are gone", || rig.series() == series / 2).await;
    assert!(rig.board.checks(RealId(1)).is_empty());

    let next = Target {
        epoch: Epoch::new(2),
        ..target(2)
    };
    rig.targets.send_replace(Arc::new(vec![next]));
    let news = rig.news().await;
    assert_eq!(
        (news.epoch, news.state),
        (Epoch::new(2), HealthState::Up),
        "another real"
    );

    let unchecked = Target {
        checks: Vec::new(),
        ..target(2)
    };
    rig.targets.send_replace(Arc::new(vec![unchecked]));
    until("nothing is checked", || rig.series() == 0).await;
    assert!(rig.events.is_empty());
}

#[tokio::test]
async fn a_restart_or_a_reload_is_no_reason_to_judge_anew() {
    let script = Script::new(|| errno(libc::ECONNREFUSED));
    let known = Target {
        initial: Some(HealthState::Up),
        ..target(1)
    };
    let mut rig = Rig::start(vec![known.clone()], 8, script.ask());
    assert_eq!(rig.news().await.state, HealthState::Down);
    assert!(
        rig.results("rs1", "fail") >= 3,
        "the first result did not decide"
    );

    script.say(pass);
    assert_eq!(rig.news().await.state, HealthState::Up);
    let second = Check {
        port: Some(8080),
        ..check()
    };
    let checks = vec![second, check()];
    rig.targets.send_replace(Arc::new(vec![Target {
        checks,
        ..known.clone()
    }]));
    until("both are probed", || {
        let checks = rig.board.checks(RealId(1));
        checks.len() == 2 && checks.iter().all(|check| check.last.is_some())
    })
    .await;
    assert!(
        rig.events.is_empty(),
        "a check was added, the real stayed up"
    );
    let labels: Vec<_> = rig
        .board
        .checks(RealId(1))
        .into_iter()
        .map(|c| c.check)
        .collect();
    assert_eq!(labels, ["tcp", "tcp#2"]);
}

#[tokio::test]
async fn the_last_failing_check_may_go_without_a_probe() {
    let asked = |question: Question| {
        std::future::ready(match question.to.port() {
            80 => pass(),
            _ => errno(libc::ECONNREFUSED),
        })
    };
    let checks = vec![
        check(),
        Check {
            port: Some(8080),
            ..check()
        },
    ];
    let both = Target {
        checks,
        ..target(1)
    };
    let mut rig = Rig::start(vec![both.clone()], 8, asked);
    assert_eq!(rig.news().await.state, HealthState::Down);
    until("the other was probed", || rig.results("rs1", "pass") > 0).await;

    rig.targets.send_replace(Arc::new(vec![target(1)]));
    let news = rig.news().await;
    assert_eq!(
        (news.state, news.reason.as_str()),
        (HealthState::Up, "its checks were changed")
    );
}

/// Two checks: one fails, then the other as well, then the first passes again. And what passes says
/// nothing of why the real is down, though it tells a weight.
#[tokio::test]
async fn the_reason_is_what_a_check_said_that_fails() {
    static ANSWERS: [AtomicU16; 2] = [AtomicU16::new(0), AtomicU16::new(1)];
    let asked = |question: Question| {
        let at = usize::from(question.to.port() == 8080);
        std::future::ready(match ANSWERS[at].load(Relaxed) {
            0 => errno(libc::ECONNREFUSED),
            1 => errno(libc::ETIMEDOUT),
            weight => Answer {
                outcome: Ok(Found {
                    words: "http 200".to_owned(),
                    weight: Some(weight),
                    expires: None,
                }),
                took: Duration::from_micros(400),
            },
        })
    };
    ANSWERS[1].store(5, Relaxed);
    let other = Check {
        port: Some(8080),
        ..check()
    };
    let both = Target {
        checks: vec![check(), other],
        ..target(1)
    };
    let mut rig = Rig::start(vec![both], 8, asked);
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    let refused = ProbeError::Io(refused).to_string();
    let is_weighed = |news: &HealthNews| news.weight == Some(5);
    let mut news = rig.news().await;
    while !(news.state == HealthState::Down && is_weighed(&news)) {
        news = rig.news().await;
    }
    assert_eq!(news.reason, refused);
    ANSWERS[1].store(6, Relaxed);
    let news = rig.news().await;
    assert_eq!((news.weight, news.reason), (Some(6), refused));
    ANSWERS[1].store(1, Relaxed);
    let failures = rig.results("rs1", "fail");
    until("both fail", || {
        rig.board
            .checks(RealId(1))
            .iter()
            .all(|c| c.state == HealthState::Down)
    })
    .await;
    assert!(rig.results("rs1", "fail") > failures && rig.events.is_empty());
    ANSWERS[0].store(7, Relaxed);
    let mut news = rig.news().await;
    while news.weight != Some(7) {
        news = rig.news().await;
    }
    until("the first passes", || {
        rig.board.checks(RealId(1))[0].state == HealthState::Up
    })
    .await;
    let news = rig.news().await;
    assert_eq!(news.state, HealthState::Down);
    let timed_out = io::Error::from_raw_os_error(libc::ETIMEDOUT);
    assert_eq!(news.reason, ProbeError::Io(timed_out).to_string());
}

#[tokio::test]
async fn a_panic_in_a_probe_is_not_the_end() {
    let asked = Arc::new(AtomicUsize::new(0));
    let ask = move |_| {
        let count = asked.fetch_add(1, SeqCst);
        async move {
            assert!(count > 2, "a fault");
            pass()
        }
    };
    let mut rig = Rig::start(vec![target(1)], 8, ask);
    assert_eq!(rig.news().await.state, HealthState::Up);
}

#[tokio::test]
async fn the_runner_ends_with_its_listeners() {
    let rig = Rig::start(vec![target(1)], 8, Script::new(pass).ask());
    drop(rig.targets);
    let ended = tokio::time::timeout(DEADLINE, rig.task).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok()));

    let rig = Rig::start(vec![target(1)], 8, Script::new(pass).ask());
    drop(rig.events);
    let ended = tokio::time::timeout(DEADLINE, rig.task).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok()));
}

/// A probe of a target that was removed while it ran says nothing of the next owner of its id.
#[tokio::test]
async fn late_answers_find_no_owner() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = Arc::new(AtomicUsize::new(0));
    let ask = {
        let (begun, go) = (begun.clone(), go.clone());
        move |_| {
            let (begun, go, count) = (begun.clone(), go.clone(), first.fetch_add(1, SeqCst));
            async move {
                if count > 0 {
                    return pass();
                }
                begun.notify_one();
                go.notified().await;
                errno(libc::ECONNREFUSED)
            }
        }
    };
    let mut rig = Rig::start(vec![target(1)], 8, ask);
    begun.notified().await;
    let next = Target {
        epoch: Epoch::new(2),
        ..target(1)
    };
    rig.targets.send_replace(Arc::new(vec![next]));
    assert_eq!(rig.news().await.state, HealthState::Up);
    go.notify_one();
    until("probed on", || rig.results("rs1", "pass") >= 10).await;
    assert_eq!(rig.results("rs1", "fail"), 0);
    assert!(rig.events.is_empty());
}

#[tokio::test]
async fn a_real_listener_that_closes_goes_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let target = Target {
        address: address.ip(),
        default_port: address.port(),
        ..target(1)
    };
    let mut rig = Rig::start(vec![target], 8, Question::ask);
    assert!(rig.news().await.reason.starts_with("connected in "));
    drop(listener);
    let news = rig.news().await;
    assert_eq!(
        (news.state, news.reason.as_str()),
        (HealthState::Down, "connection refused")
    );
}

/// The certificate's end is a metric, and a warning while there is time to act.
#[tokio::test]
async fn certificates_that_end_soon_are_told() {
    const DAY: i64 = 24 * 3600;
    fn ends_in(days: i64) -> Answer {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("after 1970");
        Answer {
            outcome: Ok(Found {
                words: "https 200".to_owned(),
                weight: None,
                expires: Some(now.as_secs() as i64 + days * DAY + 60),
            }),
            took: Duration::from_micros(400),
        }
    }
    let script = Script::new(|| ends_in(20));
    let mut rig = Rig::start(vec![target(1)], 8, script.ask());
    rig.news().await;
    assert_eq!(rig.board.certificate_warnings(), Vec::<String>::new());
    script.say(|| ends_in(13));
    until("told", || !rig.board.certificate_warnings().is_empty()).await;
    let expected = "web/rs1: the certificate of its tcp check ends in 13 days";
    assert_eq!(rig.board.certificate_warnings(), [expected]);
    script.say(|| errno(libc::ECONNREFUSED));
    rig.news().await;
    assert_eq!(
        rig.board.certificate_warnings(),
        [expected],
        "it still ends then"
    );
    let families = rig.registry.gather();
    let gauge = "lbd_check_certificate_expiry_timestamp_seconds";
    assert!(families.iter().any(|family| family.name() == gauge));
    rig.targets.send_replace(Arc::new(Vec::new()));
    until("forgotten", || rig.series() == 0).await;
}

/// Services of one machine, each with its own real.
fn alike(services: u16) -> Vec<Target> {
    let of = |number| Target {
        address: [127, 1, 0, 1].into(),
        service: format!("web{number}"),
        ..target(number)
    };
    (1..=services).map(of).collect()
}

#[test]
fn checks_that_ask_the_same_share_one_probe() {
    let board = Board::new(&Registry::new()).expect("a fresh registry");
    let mut roster = Roster::new(Random::seeded(1));
    let now = Tick(1_000);
    let mut targets = alike(100);
    roster.update(&targets, &board, now);
    assert_eq!(roster.len(), 1);

    let changes: [fn(&mut Target); 6] = [
        |t| t.checks[0].port = Some(81),
        |t| t.checks[0].source = Some([127, 0, 0, 9].into()),
        |t| t.checks[0].timeout = Duration::from_secs(3),
        |t| t.checks[0].interval = Duration::from_secs(3),
        |t| t.checks[0].kind = CheckKind::Icmp,
        |t| t.address = [127, 1, 0, 2].into(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        change(&mut targets[at]);
        roster.update(&targets, &board, now);
        assert_eq!(roster.len(), 2 + at, "another question, or another pace");
    }
    targets[7].checks[0].rise = NonZeroU32::new(9).expect("not 0");
    let port = targets[0].checks[0].clone();
    targets[8].checks = vec![port.clone(), port];
    roster.update(&targets, &board, now);
    assert_eq!(roster.len(), 7, "counts are each real's own");

    targets[8].checks[0].timeout = Duration::from_secs(4);
    roster.update(&targets, &board, now);
    assert_eq!(roster.len(), 8, "one of two that shared goes its own way");
    targets[8].checks[0].timeout = targets[8].checks[1].timeout;
    roster.update(&targets[8..9], &board, now);
    assert_eq!(roster.len(), 1);
    let Some((id, _)) = roster.take_due(now + FAST) else {
        panic!("due within its interval")
    };
    assert_eq!(roster.owners(id), [(RealId(9), 0), (RealId(9), 1)]);
    roster.update(&[], &board, now);
    assert_eq!(roster.len(), 0);
    assert_eq!(roster.owners(id), []);
}

#[test]
fn exec_checks_are_each_services_own() {
    let board = Board::new(&Registry::new()).expect("a fresh registry");
    let mut roster = Roster::new(Random::seeded(1));
    let mut targets = alike(3);
    for target in &mut targets {
        let command = vec!["/bin/true".to_owned()];
        target.checks[0].kind = CheckKind::Exec(lbcore::config::ExecCheck { command });
    }
    roster.update(&targets, &board, Tick(0));
    assert_eq!(roster.len(), 3, "the program is told which");
}

/// One answer is every sharer's: the verdicts follow, and whoever is in transition sets the pace.
#[tokio::test]
async fn a_shared_probes_answer_is_for_all() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let mut rig = Rig::start(alike(20), 8, move |_| {
        count.fetch_add(1, SeqCst);
        std::future::ready(pass())
    });
    let mut up = Vec::new();
    for _ in 0..20 {
        let news = rig.news().await;
        assert_eq!(news.state, HealthState::Up);
        up.push(news.real.0);
    }
    up.sort_unstable();
    assert_eq!(up, (1..=20).collect::<Vec<u16>>());
    until("asked often", || asked.load(SeqCst) >= 20).await;
    let passed = rig.results("rs7", "pass");
    let asked = asked.load(SeqCst) as u64;
    assert!(passed + 1 >= 19 && passed <= asked, "{passed} of {asked}");
}

/// Checks that are run at once say so to whoever asked, and rise and fall count as always; what was
/// under way when somebody asked does not count as an answer.
#[tokio::test]
async fn checks_run_at_once_answer_whoever_asked() {
    let slow = Target {
        checks: target(1)
            .checks
            .into_iter()
            .map(|check| Check {
                interval: Duration::from_secs(3600),
                fast_interval: Duration::from_secs(3600),
                down_interval: Duration::from_secs(3600),
                ..check
            })
            .collect(),
        ..target(1)
    };
    let script = Script::new(pass);
    let rig = Rig::start(vec![slow], 8, script.ask());
    for (said, result, state) in [
        (pass as fn() -> Answer, CheckResult::Pass, HealthState::Up),
        (
            || errno(libc::ECONNREFUSED),
            CheckResult::Fail,
            HealthState::Up,
        ),
        (
            || errno(libc::ECONNREFUSED),
            CheckResult::Fail,
            HealthState::Up,
        ),
        (
            || errno(libc::ECONNREFUSED),
            CheckResult::Fail,
            HealthState::Down,
        ),
    ] {
        script.say(said);
        let (answers, mut heard) = mpsc::channel(1);
        let reals = vec![RealId(1), RealId(9)];
        let asked = rig.nows.send(CheckNow { reals, answers }).await;
        asked.expect("the runner listens");
        let answer = tokio::time::timeout(DEADLINE, heard.recv()).await;
        let answer = answer.expect("in time").expect("an answer");
        assert_eq!((answer.real, answer.index), (RealId(1), 0));
        assert_eq!(
            (answer.result, answer.check, answer.together),
            (result, state, state)
        );
        let over = tokio::time::timeout(DEADLINE, heard.recv()).await;
        assert_eq!(over, Ok(None), "one line each, and then the end");
    }
}

#[tokio::test]
async fn a_probe_under_way_is_no_answer_to_who_asks_now() {
    let (go, gate) = watch::channel(0_u32);
    let began = Arc::new(Mutex::new(0_u32));
    let count = began.clone();
    // The n-th probe ends when the gate is at n; only the first one passes.
    let ask = move |_| {
        let nth = {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            *count
        };
        let mut gate = gate.clone();
        async move {
            let _ = gate.wait_for(|at| *at >= nth).await;
            match nth {
                1 => pass(),
                _ => errno(libc::ECONNREFUSED),
            }
        }
    };
    let rig = Rig::start(vec![target(1)], 8, ask);
    until("asked", || *began.lock().expect("not poisoned") == 1).await;
    let (answers, mut heard) = mpsc::channel(1);
    let reals = vec![RealId(1)];
    let asked = rig.nows.send(CheckNow { reals, answers }).await;
    asked.expect("the runner listens");
    // Taken before the probe ends: the runner empties its mailbox in order with nothing else to do.
    until("heard", || rig.nows.capacity() == rig.nows.max_capacity()).await;
    tokio::task::yield_now().await;
    go.send_replace(1);
    until("asked again", || *began.lock().expect("not poisoned") == 2).await;
    assert!(heard.try_recv().is_err(), "the first was from before");
    go.send_replace(9);
    let answer = tokio::time::timeout(DEADLINE, heard.recv()).await;
    let answer = answer.expect("in time").expect("an answer");
    assert_eq!(answer.result, CheckResult::Fail);
}
