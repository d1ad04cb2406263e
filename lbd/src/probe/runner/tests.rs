mod hurrying;
mod running;
mod sharing;
mod verdicts;

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
