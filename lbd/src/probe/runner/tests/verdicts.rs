//! What answers make of a real, and what is told of it.

use super::*;

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
