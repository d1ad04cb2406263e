//! Many probes at once, in a process of their own: T31 for real, T35, and what a thousand targets cost.

use lbcore::config::{Check, CheckKind, Via};
use lbcore::health::State;
use lbcore::id::{Epoch, RealId};
use lbd::live::Event;
use lbd::probe::{Board, Target};
use prometheus::Registry;
use std::fs::File;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};

const TARGETS: u16 = 1_000;

/// Nothing waits for it unless a test fails.
const DEADLINE: Duration = Duration::from_secs(60);

fn target(number: u16, port: u16, interval: Duration, timeout: Duration) -> Target {
    let [high, low] = number.to_be_bytes();
    Target {
        real: RealId(number),
        epoch: Epoch::new(1),
        service: "web".to_owned(),
        name: format!("rs{number}"),
        address: [127, 1, high, low].into(),
        checks: vec![Check {
            kind: CheckKind::Tcp,
            via: Via::Real,
            source: None,
            port: None,
            interval,
            fast_interval: interval,
            down_interval: interval,
            timeout,
            rise: NonZeroU32::new(2).expect("not 0"),
            fall: NonZeroU32::new(3).expect("not 0"),
        }],
        vips: Vec::new(),
        default_port: port,
        initial: None,
    }
}

/// The probes of these targets, under way.
struct Probes {
    events: mpsc::Receiver<Event>,
    registry: Registry,
    _targets: watch::Sender<Arc<Vec<Target>>>,
}

impl Probes {
    fn start(targets: Vec<Target>) -> Self {
        let registry = Registry::new();
        let board = Arc::new(Board::new(&registry).expect("a fresh registry"));
        let (sender, wanted) = watch::channel(Arc::new(targets));
        let (news, events) = mpsc::channel(4_096);
        let (suspected, _) = mpsc::channel(1);
        let (_, hops) = watch::channel(Arc::default());
        let (_, nows) = mpsc::channel(1);
        tokio::spawn(lbd::probe::run(wanted, hops, board, news, suspected, nows));
        Probes {
            events,
            registry,
            _targets: sender,
        }
    }

    fn results(&self, result: &str) -> u64 {
        let families = self.registry.gather();
        let results = families
            .iter()
            .filter(|family| family.name() == "lbd_check_results_total")
            .flat_map(|family| family.get_metric())
            .filter(|metric| {
                metric
                    .get_label()
                    .iter()
                    .any(|label| label.value() == result)
            });
        results
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }

    async fn until(&self, result: &str, count: u64) {
        let waiting = async {
            while self.results(result) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(
            waited.is_ok(),
            "{} of {count} {result}",
            self.results(result)
        );
    }

    /// The next verdicts and their reasons, of `count` reals.
    async fn verdicts(&mut self, count: u16) -> Vec<(State, String)> {
        let mut verdicts = Vec::new();
        while verdicts.len() < usize::from(count) {
            match tokio::time::timeout(DEADLINE, self.events.recv()).await {
                Ok(Some(Event::Health(news))) => verdicts.push((news.state, news.reason)),
                other => panic!("after {} verdicts: {other:?}", verdicts.len()),
            }
        }
        verdicts
    }
}

/// T35 needs a bound of its own on descriptors: this test runs the next one under it.
#[test]
fn t35_a_thousand_black_holes_and_few_descriptors() {
    let run = "ulimit -n 256 && exec \"$0\" --ignored --exact --nocapture t35_with_256_descriptors";
    let inner = Command::new("/bin/sh")
        .args(["-c", run])
        .arg(std::env::current_exe().expect("this program"))
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(
        inner.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&inner.stderr)
    );
}

#[tokio::test]
#[ignore = "run by t35_a_thousand_black_holes_and_few_descriptors, under its bound"]
async fn t35_with_256_descriptors() {
    // A listener whose queue is full answers no further SYN.
    let socket = TcpSocket::new_v4().expect("socket");
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    socket.bind(any.into()).expect("bind");
    let listener = socket.listen(1).expect("listen");
    let port = listener.local_addr().expect("address").port();
    let mut queued = Vec::new();
    loop {
        let socket = TcpSocket::new_v4().expect("socket");
        let connecting = socket.connect((Ipv4Addr::LOCALHOST, port).into());
        match tokio::time::timeout(Duration::from_millis(300), connecting).await {
            Ok(stream) => queued.push(stream.expect("the listener is there")),
            Err(_) => break,
        }
        assert!(queued.len() < 10, "the queue never fills");
    }

    let timeout = Duration::from_millis(100);
    let interval = Duration::from_secs(1);
    let targets = (0..TARGETS).map(|n| target(n, port, interval, timeout));
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
        assert!(taken.len() < 256, "the bound is in force");
    }
    let mut probes = Probes::start(targets.collect());

    probes.until("own_trouble", 2 * u64::from(TARGETS)).await;
    assert_eq!(probes.results("fail"), 0);
    let none = probes.events.try_recv();
    assert!(none.is_err(), "nobody is down by what we lack");

    drop(taken);
    for (state, reason) in probes.verdicts(TARGETS).await {
        let expected = (State::Down, "no answer within 100ms");
        assert_eq!((state, reason.as_str()), expected);
    }
    let spare = File::open("/dev/null");
    assert!(spare.is_ok(), "probes leave descriptors to others");
}

/// T31, for real: a thousand targets are asked first within one interval and a tenth, and never all
/// at once. The machine may hold this process up for a while, so bursts are counted by the quarter
/// second here; the injected clock counts them by 10 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t31_the_first_probes_of_a_thousand_targets_are_spread_over_an_interval() {
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let listener = TcpListener::bind(any).await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (dialled, mut dials) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() && dialled.send(Instant::now()).is_ok() {}
    });
    let interval = Duration::from_secs(2);
    let targets = (0..TARGETS).map(|n| target(n, port, interval, Duration::from_secs(1)));
    let began = Instant::now();
    let mut probes = Probes::start(targets.collect());
    let verdicts = probes.verdicts(TARGETS).await;
    let took = began.elapsed();
    assert!(verdicts.iter().all(|(state, _)| *state == State::Up));
    assert!(took <= interval.mul_f64(1.1), "all judged after {took:.2?}");
    let mut quarters = [0_u32; 8];
    while let Ok(at) = dials.try_recv() {
        let quarter = (at - began).as_millis() / 250;
        if let Some(count) = quarters.get_mut(quarter as usize) {
            *count += 1;
        }
    }
    let mean = u32::from(TARGETS) / 8;
    assert!(
        quarters.iter().all(|count| *count <= 3 * mean),
        "dials by quarter second: {quarters:?}"
    );
    println!("T31: all judged after {took:.2?}; dials by quarter second: {quarters:?}");
}

/// Processor time of this process so far: user and system, proc(5).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    let spent = fields.skip(11).take(2);
    let ticks: u64 = spent.filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cost_of_a_thousand_targets() {
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    let listener = TcpListener::bind(any).await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    // Their side of it counts, too: what is measured is an upper bound.
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let interval = Duration::from_secs(2);
    let targets = (0..TARGETS).map(|n| target(n, port, interval, Duration::from_secs(1)));
    let mut probes = Probes::start(targets.collect());
    probes.verdicts(TARGETS).await;
    let (began, before) = (Instant::now(), processor_time());
    let counted = probes.results("pass");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (time, spent) = (began.elapsed(), processor_time() - before);
    let share = spent.as_secs_f64() / time.as_secs_f64() * 100.0;
    let count = probes.results("pass") - counted;
    println!("{count} probes in {time:.1?}: {share:.1} % of a core");
    assert!(share < 10.0, "{share:.1} % of a core");
}
