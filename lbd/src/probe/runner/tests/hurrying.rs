//! Checks that somebody wants answered now.

use super::*;

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
