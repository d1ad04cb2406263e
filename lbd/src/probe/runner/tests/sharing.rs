//! Checks that ask the same of the same machine.

use super::*;

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
