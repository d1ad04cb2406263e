//! How many probes run, whom they belong to, and when they end.

use super::*;

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
