//! Changes by command: in force, in the file, or refused with nothing changed.

use super::*;
use lbcore::api::{ErrorCode, SavedState};
use lbcore::config::Keys;
use serde_json::{Value, json};
use std::path::Path;

pub(super) const FOR_NOW: How = How {
    runtime: true,
    now: false,
    force: false,
    dry_run: false,
};

pub(super) const TRIAL: How = How {
    runtime: false,
    now: false,
    force: false,
    dry_run: true,
};

pub(super) fn keys(value: Value) -> Keys {
    value.as_object().unwrap().clone()
}

pub(super) fn set_real(real: &str, value: Value, how: How) -> Request {
    Request::SetReal {
        service: "web".into(),
        real: real.into(),
        keys: keys(value),
        how,
    }
}

impl Rig {
    pub(super) fn file(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("lbd.toml")
    }

    pub(super) async fn change(&mut self, request: Request) -> lbcore::api::ChangeView {
        match self.ask(request).await {
            Response::Changed(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn refused(&mut self, request: Request) -> ApiError {
        let before = (self.file(), self.me.generation, self.me.revision);
        let refused = self.try_ask(request).await.unwrap_err();
        let after = (self.file(), self.me.generation, self.me.revision);
        assert_eq!(after, before, "refused means nothing changed: {refused}");
        assert!(refused.message.contains("nothing was changed"), "{refused}");
        refused
    }

    /// Killed and started again: everything but the files is gone.
    pub(super) async fn restart(self) -> Self {
        let Rig { me, dir } = self;
        drop(me);
        Rig::start(dir).await
    }
}

#[tokio::test]
async fn a_change_is_in_force_in_the_file_and_a_revision() {
    let text = format!("# the shop\n{}", web(&[1, 2]));
    let mut rig = Rig::new(&text).await;
    let done = rig
        .change(set_real("rs1", json!({"weight": 5}), How::default()))
        .await;
    assert_eq!(done.changes, ["web/rs1: weight: 1 -> 5"]);
    assert_eq!((done.revision, done.saved.state), (2, SavedState::Yes));
    assert_eq!(done.saved.files, [rig.path().display().to_string()]);
    assert!(done.diff.contains("\n+weight = 5\n"), "{}", done.diff);
    let expected = text.replace(
        "address = \"192.0.2.21\"\n",
        "address = \"192.0.2.21\"\nweight = 5\n",
    );
    assert_eq!(rig.file(), expected);
    assert_eq!(rig.table().services[0].members[0].weight, 5);
    assert_eq!(rig.me.status().drift, []);
    let last = rig.me.history.revisions().last().unwrap();
    assert_eq!(
        (last.revision, last.uid, last.user.as_deref()),
        (2, Some(0), Some("root"))
    );
    assert_eq!(last.changes, ["web/rs1: weight: 1 -> 5"]);
    // Again: it is so already.
    let again = rig
        .change(set_real("rs1", json!({"weight": 5}), How::default()))
        .await;
    assert!(again.changes.is_empty());
    assert_eq!(
        (again.revision, again.saved.state),
        (2, SavedState::Unchanged)
    );
    // lbd's own writing is no news.
    let (ok, generation) = (rig.me.tallies.reloads_ok, rig.me.generation);
    rig.me
        .reload_unattended(Trigger::Unattended(crate::daemon::watch_file::FILE_CHANGED))
        .await;
    assert_eq!(
        (rig.me.tallies.reloads_ok, rig.me.generation),
        (ok, generation)
    );
}

#[tokio::test]
async fn a_trial_tells_and_changes_nothing() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let (text, generation) = (rig.file(), rig.me.generation);
    let remove = Request::RemoveReal {
        service: "web".into(),
        real: "rs2".into(),
        how: TRIAL,
    };
    let would = rig.change(remove).await;
    assert!(would.dry_run && would.diff.contains("-address = \"192.0.2.22\""));
    assert_eq!(would.saved.state, SavedState::Yes);
    assert_eq!(would.plan.services[0].reals[0].real, "rs2");
    assert_eq!(
        (rig.file(), rig.me.generation, rig.me.revision),
        (text, generation, 1)
    );
    assert_eq!(rig.me.world.config.services[0].reals.len(), 2);
}

#[tokio::test]
async fn all_of_a_change_or_nothing() {
    let two = format!(
        "{}{}",
        web(&[1, 2]),
        "[[service]]\nname = \"dns\"\nvip = \"192.0.2.11\"\nport = 53\nprotocol = \"udp\"\n\
         [[service.real]]\nname = \"d1\"\naddress = \"192.0.2.21\"\n"
    );
    let mut rig = Rig::new(&two).await;
    let node = |value| Request::SetNode {
        address: "192.0.2.21".parse().unwrap(),
        keys: keys(value),
        how: How::default(),
    };
    let done = rig.change(node(json!({"admin": "drain"}))).await;
    assert_eq!(
        done.changes,
        [
            "web/rs1: admin: enabled -> drain",
            "dns/d1: admin: enabled -> drain"
        ]
    );
    assert_eq!(rig.me.revision, 2);
    // rs2 has that name already, in one of the two services.
    let refused = rig.refused(node(json!({"name": "rs2"}))).await;
    assert_eq!(refused.code, ErrorCode::BadRequest);
    assert!(refused.detail.is_some_and(|d| d.contains("lbd.toml:")));
    for (request, code) in [
        (
            set_real("rs1", json!({"weight": 257}), How::default()),
            ErrorCode::BadRequest,
        ),
        (
            set_real("rs1", json!({"wieght": 2}), How::default()),
            ErrorCode::BadRequest,
        ),
        (
            set_real(
                "rs1",
                json!({"weight": 2}),
                How {
                    now: true,
                    ..How::default()
                },
            ),
            ErrorCode::BadRequest,
        ),
    ] {
        assert_eq!(rig.refused(request).await.code, code);
    }
}

#[tokio::test]
async fn what_somebody_edited_meanwhile_is_not_written_over() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    fs::write(rig.path(), web(&[1, 2, 3])).unwrap();
    let request = set_real("rs1", json!({"weight": 5}), How::default());
    let refused = rig.refused(request.clone()).await;
    assert_eq!(refused.code, ErrorCode::Conflict);
    let hint = refused.hint.unwrap();
    for way in ["lbctl config diff", "lbctl reload", "--runtime"] {
        assert!(hint.contains(way), "{hint}");
    }
    let done = rig
        .change(set_real("rs1", json!({"weight": 5}), FOR_NOW))
        .await;
    assert_eq!(done.saved.state, SavedState::Runtime);
    rig.me
        .reload(Trigger::Typed { force: false }, false, None)
        .await
        .unwrap();
    assert_eq!(rig.me.world.config.services[0].reals.len(), 3);
    assert_eq!(rig.change(request).await.saved.state, SavedState::Yes);
    assert!(rig.me.world.overrides.runtime.is_empty(), "for good by now");
}

#[tokio::test]
async fn a_file_that_is_not_to_be_written_is_not() {
    let mut rig = Rig::new(&format!("[lbd]\nwrite_back = false\n{}", web(&[1]))).await;
    let request = set_real("rs1", json!({"weight": 5}), How::default());
    let refused = rig.refused(request).await;
    assert!(refused.message.contains("write_back = false"), "{refused}");
    assert!(refused.hint.unwrap().contains("--runtime"));

    let mut rig = Rig::new(&web(&[1])).await;
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(rig.path(), mode(0o444)).unwrap();
    let request = set_real("rs1", json!({"weight": 5}), How::default());
    let refused = rig.refused(request.clone()).await;
    assert_eq!(refused.code, ErrorCode::Conflict);
    fs::set_permissions(rig.path(), mode(0o640)).unwrap();
    assert_eq!(rig.change(request).await.saved.state, SavedState::Yes);
}

#[tokio::test]
async fn what_cannot_be_saved_is_in_force_and_told_and_saved_later() {
    let mut rig = Rig::new(&web(&[1])).await;
    // A directory where the new file is to be made: as if the disk were full, from here on.
    let obstacle = rig.dir.path().join(".lbd.toml.lbd-new");
    fs::create_dir(&obstacle).unwrap();
    let done = rig
        .change(set_real("rs1", json!({"weight": 5}), How::default()))
        .await;
    assert_eq!(done.saved.state, SavedState::No);
    assert!(
        done.saved
            .reason
            .unwrap()
            .starts_with("in force, but not saved")
    );
    assert_eq!(rig.file(), web(&[1]));
    assert_eq!(rig.table().services[0].members[0].weight, 5);
    let status = rig.me.status();
    assert_eq!(status.drift[0].running, "5");
    assert!(status.warnings.iter().any(|w| w.contains("not saved")));
    // The next one does not lose it.
    fs::remove_dir(&obstacle).unwrap();
    rig.me.filed.unsaved.as_mut().unwrap().next_try = Tick(0);
    rig.me.save_again();
    assert!(rig.file().contains("weight = 5\n"));
    assert_eq!(rig.me.status().drift, []);
    let last = rig.me.history.revisions().last().unwrap();
    assert_eq!(last.result, lbcore::api::RevisionResult::Saved);
}

#[tokio::test]
async fn changes_for_the_moment_survive_a_restart_and_end_by_the_file_or_for_good() {
    let mut rig = Rig::new(&web(&[1, 2])).await;
    rig.change(set_real(
        "rs1",
        json!({"weight": 5, "admin": "drain"}),
        FOR_NOW,
    ))
    .await;
    assert_eq!((rig.file(), rig.me.revision), (web(&[1, 2]), 1));
    let mut rig = rig.restart().await;
    let drift = |rig: &Rig| -> Vec<String> {
        let drift = rig.me.status().drift;
        drift
            .iter()
            .map(|d| format!("{}: {} -> {}", d.key, d.file, d.running))
            .collect()
    };
    assert_eq!(
        drift(&rig),
        ["web/rs1 weight: 1 -> 5", "web/rs1 admin: enabled -> drain"]
    );
    assert_eq!(rig.table().services[0].members[0].weight, 5);
    // For good, with the value the file has already: it is what counts from now on.
    rig.change(set_real("rs1", json!({"weight": 1}), How::default()))
        .await;
    assert_eq!(drift(&rig), ["web/rs1 admin: enabled -> drain"]);
    rig.typed(&format!("# a comment\n{}", web(&[1, 2]))).await;
    assert_eq!(drift(&rig).len(), 1);
    let mut rig = rig.restart().await;
    let drained = web(&[2, 1]) + "admin = \"disabled\"\n";
    rig.typed(&drained).await;
    assert_eq!(drift(&rig), Vec::<String>::new());
    assert_eq!(
        rig.me.world.config.services[0].reals[1].admin.word(),
        "disabled"
    );
}

/// With `track = "changes"` nobody counts the flows of a set that stands.
#[tokio::test]
async fn a_service_whose_flows_nobody_counts_lingers_when_it_is_removed() {
    let tracking = |how: &str| web(&[1, 2]).replace("port = 80", &format!("port = 80\n{how}"));
    let changes = "track = \"changes\"\nscheduler = \"maglev\"\ndrain_timeout = \"1h\"";
    // Also when it remembers its flows from some time before on.
    for last in [changes, "track = \"flows\"\ndrain_timeout = \"1h\""] {
        let mut rig = Rig::new(&tracking(changes)).await;
        rig.me
            .world
            .hear_links(Arc::new(vec![eth0()]), clock::now());
        for n in [1, 2] {
            let news = NeighborNews {
                address: [192, 0, 2, 20 + n].into(),
                reach: Reach::Neighbor {
                    ifindex: 1,
                    mac: lbcore::net::MacAddr::new(2, 0, 0, 0, 0, n),
                },
            };
            rig.me.world.hear_neighbor(news, clock::now());
        }
        rig.me.refresh().await;
        rig.typed(&tracking(last)).await;
        assert!(rig.table().services[0].ring.is_some());
        let id = rig.id("web", 1);
        rig.typed(&file("[\"eth0\"]", "")).await;
        rig.me.chores();
        let table = rig.table();
        let (service, member) = table.member(id).unwrap();
        assert_eq!((service.ring.is_some(), member.lingering), (false, true));
        assert!(service.past.is_some(), "the older ring leads them on");
    }
    let mut rig = Rig::new(&web(&[1, 2])).await;
    let id = rig.id("web", 1);
    rig.typed(&file("[\"eth0\"]", "")).await;
    assert!(rig.table().member(id).is_none(), "who has no flows is gone");
}

#[tokio::test]
async fn what_is_removed_lingers_or_ends_at_once() {
    for (now, state) in [(false, RealState::Draining), (true, RealState::Disabled)] {
        let mut rig = Rig::new(&web(&[1, 2])).await;
        let id = rig.id("web", 1);
        rig.me.live.loads.add(id, Active);
        let remove = Request::RemoveReal {
            service: "web".into(),
            real: "rs1".into(),
            how: How {
                now,
                ..How::default()
            },
        };
        let done = rig.change(remove).await;
        assert_eq!(done.plan.services[0].flows_affected, 1);
        let table = rig.table();
        let (_, member) = table.member(id).unwrap();
        assert_eq!((member.state, member.lingering), (state, true));
        assert!(!rig.file().contains("rs1"));
        rig.me.live.loads.sub(id, Active);
        rig.me.chores();
        assert!(rig.me.world.at_once.is_empty());

        let mut rig = Rig::new(&web(&[1])).await;
        let id = rig.id("web", 1);
        rig.me.live.loads.add(id, Active);
        let remove = Request::RemoveService {
            service: "web".into(),
            how: How {
                now,
                ..How::default()
            },
        };
        rig.change(remove).await;
        let after = |rig: &Rig| rig.table().member(id).unwrap().1.state;
        assert_eq!(after(&rig), state);
        drop(rig.me);
        let rig = Rig::start_with(rig.dir, &[id]).await;
        assert_eq!(after(&rig), state, "after a restart");
    }
}

#[tokio::test]
async fn nobody_has_a_command_run_over_the_socket() {
    let mut rig = Rig::new(&format!("[lbd]\nallow_exec = true\n{}", web(&[1]))).await;
    let check = json!({"check": [{"type": "exec", "command": ["/bin/true"]}]});
    for how in [How::default(), FOR_NOW, TRIAL] {
        let request = Request::SetService {
            service: "web".into(),
            keys: keys(check.clone()),
            how,
        };
        let refused = rig.refused(request).await;
        assert_eq!(refused.code, ErrorCode::NotPermitted);
        assert!(
            refused.message.contains("service[web].check.command"),
            "{refused}"
        );
        assert!(refused.hint.unwrap().contains("lbctl reload"));
    }
}

/// 500 sequences of commands, some for the moment, some refused, with restarts between them: the
/// file and what runs are the same but for what is told as drift, and every comment is there.
#[tokio::test]
async fn t25_after_any_commands_file_and_running_set_are_equal() {
    const COMMENTS: [&str; 3] = ["# ours, since 2019", "# do not touch", "# the shop"];
    // Below a real's keys a comment is that real's, and goes with it.
    let text = format!("{}\n{}", COMMENTS[0], web(&[1, 2]))
        .replace(
            "protocol = \"tcp\"\n",
            "protocol = \"tcp\" # do not touch\n",
        )
        .replace("name = \"web\"\n", "name = \"web\" # the shop\n");
    let mut rig = Rig::new(&text).await;
    let mut random = 88_172_645_463_325_252_u64;
    let mut roll = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut done, mut refused) = (0, 0);
    for sequence in 0..500 {
        for _ in 0..=roll(4) {
            let real = format!("192.0.2.2{}", roll(8) + 1);
            let how = How {
                runtime: roll(4) == 0,
                now: false,
                force: false,
                dry_run: roll(8) == 0,
            };
            let service: ServiceRef = "web".into();
            let request = match roll(7) {
                0 => Request::AddReal {
                    service,
                    keys: keys(json!({"address": real, "weight": roll(5)})),
                    how,
                },
                1 => Request::RemoveReal {
                    service,
                    real: real.as_str().into(),
                    how,
                },
                2 => set_real(&real, json!({"weight": roll(300)}), how),
                3 => set_real(&real, json!({"weight": null, "backup": roll(2) == 0}), how),
                4 => set_real(
                    &real,
                    json!({"admin": (["drain", "enabled"][roll(2) as usize])}),
                    how,
                ),
                5 => Request::SetService {
                    service,
                    keys: keys(json!({"scheduler": (["rr", "maglev"][roll(2) as usize])})),
                    how,
                },
                _ => Request::SetService {
                    service,
                    keys: keys(json!({"idle_timeout": format!("{}s", roll(90) + 10)})),
                    how,
                },
            };
            match rig.try_ask(request).await {
                Ok(_) => done += 1,
                Err(_) => refused += 1,
            }
        }
        if sequence % 50 == 49 {
            rig = rig.restart().await;
        }
        same(&rig, Path::new(&rig.path()));
        let text = rig.file();
        for comment in COMMENTS {
            assert_eq!(text.matches(comment).count(), 1, "{comment}: {text}");
        }
    }
    assert!(
        done > 300 && refused > 100,
        "{done} done, {refused} refused"
    );
}

/// The file says what runs, but for what is told as drift; nothing else lies beside it.
fn same(rig: &Rig, path: &Path) {
    let loaded = reload::load(path).unwrap();
    let drift = lbcore::config::drift(&loaded.config, &rig.me.world.config);
    let told = rig.me.status().drift;
    assert_eq!(drift.len(), told.len(), "{drift:?} {told:?}");
    let runtime = &rig.me.world.overrides.runtime;
    assert_eq!(
        drift.is_empty(),
        runtime.is_empty(),
        "{drift:?} {runtime:?}"
    );
    assert_eq!(loaded.sources, rig.me.filed.wanted.sources);
    let table = rig.table();
    let members = table.services[0].members.iter().filter(|m| !m.lingering);
    let running: Vec<_> = members.map(|m| (m.name.clone(), m.weight)).collect();
    let configured = rig.me.world.config.services[0].reals.iter();
    let configured: Vec<_> = configured.map(|r| (r.name.clone(), r.weight)).collect();
    assert_eq!(running, configured);
}
