//! Whole configurations by command, and their history.

use super::commands::{FOR_NOW, set_real};
use super::*;
use lbcore::api::{ConfigRequest, Draft, ErrorCode, RevisionResult, RevisionView, SavedState};
use serde_json::json;

fn draft(text: &str) -> Draft {
    Draft {
        name: "new.toml".to_owned(),
        text: text.to_owned(),
    }
}

pub(super) fn apply(text: &str, confirm: Option<Duration>) -> Request {
    Request::Config(ConfigRequest::Apply {
        draft: draft(text),
        confirm,
        force: false,
        dry_run: false,
    })
}

fn undo(revision: Option<u64>) -> Request {
    Request::Config(ConfigRequest::Undo {
        revision,
        force: false,
        dry_run: false,
    })
}

const CONFIRM: Request = Request::Config(ConfigRequest::Confirm { dry_run: false });
pub(super) const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

impl Rig {
    fn reals(&self) -> usize {
        self.me.world.config.services[0].reals.len()
    }

    fn results(&self) -> Vec<(u64, RevisionResult)> {
        let of = |r: &RevisionView| (r.revision, r.result);
        self.me.history.revisions().iter().map(of).collect()
    }
}

#[tokio::test]
async fn an_applied_configuration_is_in_the_file_and_undo_goes_back_and_further_back() {
    let mut rig = Rig::new(&web(&[1])).await;
    for reals in [&[1, 2][..], &[1, 2, 3]] {
        let done = rig.change(apply(&web(reals), None)).await;
        assert_eq!(done.saved.state, SavedState::Yes);
        assert_eq!(rig.file(), web(reals));
    }
    let mut rig = rig.restart().await;
    assert_eq!(rig.me.revision, 3);
    let back = rig.change(undo(None)).await;
    assert_eq!(
        (rig.file(), rig.reals(), back.revision),
        (web(&[1, 2]), 2, 4)
    );
    assert!(
        back.changes[0].contains("revision 2 is back, as revision 4"),
        "{:?}",
        back.changes
    );
    rig.change(undo(None)).await;
    assert_eq!((rig.file(), rig.reals()), (web(&[1]), 1));
    let refused = rig.refused(undo(None)).await;
    assert_eq!(refused.code, ErrorCode::NotFound);
    rig.change(undo(Some(3))).await;
    assert_eq!(
        (rig.file(), rig.reals(), rig.me.revision),
        (web(&[1, 2, 3]), 3, 6)
    );
    let how: Vec<_> = rig
        .me
        .history
        .revisions()
        .iter()
        .map(|r| (r.how.as_str(), r.restores))
        .collect();
    let expected = [
        ("start", None),
        ("apply", None),
        ("apply", None),
        ("undo", Some(2)),
        ("undo", Some(1)),
        ("undo", Some(3)),
    ];
    assert_eq!(how, expected);
    assert!(rig.try_ask(undo(Some(99))).await.is_err());
}

#[tokio::test]
async fn what_is_not_confirmed_rolls_itself_back() {
    let mut rig = Rig::new(&web(&[1])).await;
    rig.change(set_real("rs1", json!({"weight": 5}), FOR_NOW))
        .await;
    let heavy = format!("{}weight = 3\n", web(&[2, 1]));
    let done = rig.change(apply(&heavy, MINUTE)).await;
    let waits = done.unconfirmed.unwrap();
    assert_eq!((waits.revision, waits.back_to), (2, 1));
    assert!((59..=60).contains(&waits.seconds_left), "{waits:?}");
    assert_eq!(done.saved.state, SavedState::Unconfirmed);
    assert_eq!(
        (rig.reals(), rig.file()),
        (2, web(&[1])),
        "in force, and not in the file"
    );
    assert_eq!(rig.me.status().unconfirmed.unwrap().revision, 2);
    for request in [
        apply(&web(&[1]), None),
        set_real("rs1", json!({"weight": 9}), How::default()),
        set_real("rs1", json!({"weight": 9}), FOR_NOW),
        undo(Some(1)),
    ] {
        let refused = rig.refused(request).await;
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.hint.unwrap().contains("lbctl config confirm"));
    }
    let reload = rig
        .me
        .reload(Trigger::Typed { force: true }, false, None)
        .await;
    assert!(reload.unwrap_err().summary.contains("lbctl config confirm"));

    rig.me.keep_deadline().await;
    assert_eq!(rig.reals(), 2, "not yet");
    rig.me.unconfirmed.as_mut().unwrap().deadline = clock::now();
    rig.me.keep_deadline().await;
    assert_eq!(
        (rig.reals(), rig.file(), rig.me.revision),
        (1, web(&[1]), 1)
    );
    assert_eq!(rig.table().services[0].members[0].weight, 5, "as it was");
    assert_eq!(rig.me.status().unconfirmed, None);
    let expected = [(1, RevisionResult::Saved), (2, RevisionResult::RolledBack)];
    assert_eq!(rig.results(), expected);
    let refused = rig.refused_without_words(CONFIRM).await;
    assert_eq!(refused.code, ErrorCode::Conflict);
    let told = told(&mut rig);
    assert!(
        told.iter().any(|t| t.contains("revision 2 rolled back")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_file_that_changes_while_another_is_tried_is_read_afterwards() {
    let changed = || Trigger::Unattended(crate::daemon::watch_file::FILE_CHANGED);
    let mut rig = Rig::new(&web(&[1])).await;
    rig.change(apply(&web(&[1, 2]), MINUTE)).await;
    fs::write(rig.path(), web(&[1, 2, 3])).unwrap();
    rig.me.reload_unattended(changed()).await;
    rig.me.read_late().await;
    assert_eq!(rig.reals(), 2, "what is tried stays");
    assert_eq!(rig.me.tallies.reloads_refused, 0, "nothing is refused");
    rig.me.unconfirmed.as_mut().unwrap().deadline = clock::now();
    rig.me.keep_deadline().await;
    assert_eq!(rig.reals(), 1);
    rig.me.read_late().await;
    assert_eq!(rig.reals(), 3);
    rig.me.read_late().await;
    assert_eq!(rig.me.tallies.reloads_ok, 1, "once");
}

impl Rig {
    async fn refused_without_words(&mut self, request: Request) -> ApiError {
        self.try_ask(request).await.unwrap_err()
    }
}

#[tokio::test]
async fn what_is_confirmed_is_in_the_file_from_then_on() {
    let mut rig = Rig::new(&web(&[1])).await;
    rig.change(apply(&web(&[1, 2]), MINUTE)).await;
    let done = rig.change(CONFIRM).await;
    assert_eq!((done.saved.state, done.revision), (SavedState::Yes, 2));
    assert_eq!(rig.file(), web(&[1, 2]));
    let rig = rig.restart().await;
    assert_eq!((rig.reals(), rig.me.revision), (2, 2));
    assert_eq!(rig.results()[1], (2, RevisionResult::Saved));
}

#[tokio::test]
async fn a_file_edited_meanwhile_is_not_written_over_by_a_confirmation() {
    let mut rig = Rig::new(&web(&[1])).await;
    rig.change(apply(&web(&[1, 2]), MINUTE)).await;
    fs::write(rig.path(), web(&[1, 3])).unwrap();
    let refused = rig.refused(CONFIRM).await;
    assert_eq!(refused.code, ErrorCode::Conflict);
    let back = rig.change(undo(None)).await;
    assert!(
        back.changes[0].contains("rolled back"),
        "{:?}",
        back.changes
    );
    assert_eq!((rig.file(), rig.reals()), (web(&[1, 3]), 1));
}

/// Whatever ends lbd: the next one begins with the file.
#[tokio::test]
async fn an_lbd_that_dies_before_the_confirmation_leaves_the_old_configuration() {
    let mut rig = Rig::new(&web(&[1])).await;
    rig.change(set_real("rs1", json!({"weight": 5}), FOR_NOW))
        .await;
    rig.change(apply(&format!("{}weight = 3\n", web(&[2, 1])), MINUTE))
        .await;
    rig.ask(Request::Vip {
        vip: Some("192.0.2.10".parse().unwrap()),
        verb: VipVerb::Release,
        dry_run: false,
    })
    .await;
    let rig = rig.restart().await;
    assert_eq!((rig.reals(), rig.me.revision), (1, 1));
    assert_eq!(rig.table().services[0].members[0].weight, 5, "as it was");
    let expected = [(1, RevisionResult::Saved), (2, RevisionResult::RolledBack)];
    assert_eq!(rig.results(), expected);
    let warnings = rig.me.status().warnings;
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("revision 2 was rolled back")),
        "{warnings:?}"
    );
    let rig = rig.restart().await;
    assert!(
        !rig.me
            .status()
            .warnings
            .iter()
            .any(|w| w.contains("rolled back")),
        "told once"
    );
}

#[tokio::test]
async fn bad_drafts_and_guarded_keys_are_refused_by_their_own_name() {
    let mut rig = Rig::new(&web(&[1])).await;
    let before = rig.table();
    let bad = rig
        .try_ask(apply("[[service]]\nnonsense = 1\n", None))
        .await
        .unwrap_err();
    assert_eq!(bad.code, ErrorCode::BadConfig);
    assert!(bad.message.starts_with("new.toml:1:1"), "{bad}");
    let detail = bad.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("new.toml:2:1"), "{detail}");
    for guarded in [
        format!("[lbd]\nadmin_group = \"everybody\"\n{}", web(&[1])),
        format!("include = [\"/etc/*\"]\n{}", web(&[1])),
        web(&[1]).replace("[network]\n", "[network]\nhash_key_file = \"/tmp/key\"\n"),
    ] {
        let refused = rig.refused(apply(&guarded, None)).await;
        assert_eq!(refused.code, ErrorCode::NotPermitted, "{refused}");
    }
    assert!(Arc::ptr_eq(&rig.table(), &before));
}

#[tokio::test]
async fn differences_are_told_in_words_and_line_by_line() {
    let mut rig = Rig::new(&web(&[1])).await;
    async fn diff(rig: &mut Rig, text: Option<&str>) -> lbcore::api::ConfigDiffView {
        let draft = text.map(draft);
        match rig
            .ask(Request::Config(ConfigRequest::Diff { draft }))
            .await
        {
            Response::ConfigDiff(view) => *view,
            other => panic!("{other:?}"),
        }
    }
    let none = diff(&mut rig, None).await;
    assert!(none.same && none.diff.is_empty() && none.changes.is_empty());
    rig.change(set_real("rs1", json!({"weight": 5}), FOR_NOW))
        .await;
    let drift = diff(&mut rig, None).await;
    assert_eq!(drift.changes, ["web/rs1: weight: 5 -> 1"]);
    assert!(drift.diff.contains("\n-weight = 5\n"), "{}", drift.diff);
    let other = diff(&mut rig, Some(&web(&[1, 2]))).await;
    assert_eq!((other.same, other.with.as_str()), (false, "new.toml"));
    assert!(other.diff.contains("+address = \"192.0.2.22\""));
    let Response::Config(shown) = rig
        .ask(Request::Config(ConfigRequest::Show { revision: None }))
        .await
    else {
        panic!("a configuration");
    };
    assert!(shown.running && shown.files[0].text.contains("weight = 5\n"));
    let Response::Config(kept) = rig
        .ask(Request::Config(ConfigRequest::Show { revision: Some(1) }))
        .await
    else {
        panic!("a configuration");
    };
    assert_eq!(kept.files[0].text, web(&[1]));
}

#[tokio::test]
async fn a_file_changed_while_lbd_was_down_is_a_revision_of_its_own() {
    let mut rig = Rig::new(&web(&[1])).await;
    rig.typed(&format!("# words\n{}", web(&[1]))).await;
    assert_eq!(rig.me.revision, 1);
    let rig = rig.restart().await;
    assert_eq!(rig.me.revision, 1, "a comment is no revision");
    fs::write(rig.path(), web(&[1, 2])).unwrap();
    let rig = rig.restart().await;
    assert_eq!(rig.me.revision, 2);
    let last = rig.me.history.revisions().last().unwrap();
    assert_eq!((last.how.as_str(), last.uid), ("start", None));
    assert_eq!(last.changes, ["service web: real rs2 (192.0.2.22) added"]);
}
