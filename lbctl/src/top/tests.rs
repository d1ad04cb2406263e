//! `top` without a terminal: keys in, wishes and screens out.
#![allow(clippy::unwrap_used)]

use super::model::{Mode, Model, Then};
use super::plan::{Action, Wish, consequences};
use super::view::{self, Look};
use crate::failure::Failure;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lbcore::api::{ApiError, ChangeView, ErrorCode, RealState, SavedState, StatusView};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use ratatui::widgets::TableState;
use std::time::{Duration, SystemTime};

fn status() -> StatusView {
    serde_json::from_str(include_str!("../../../lbcore/src/api/fixtures/status.json")).unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_710_265)
}

/// Two pictures a second apart, with traffic between.
fn model() -> Model {
    let mut model = Model::default();
    let mut status = status();
    for second in 0..3 {
        model.heard(status.clone(), Duration::from_secs(second), now());
        let web = &mut status.services[0];
        web.packets = web.packets.map(|n| n + 1000);
        web.bytes += 125_000;
        web.new_flows += 12;
        web.reals[0].packets = web.reals[0].packets.map(|n| n + 1000);
        web.reals[0].bytes += 125_000;
        web.reals[0].new_flows += 12;
    }
    model
}

fn press(model: &mut Model, keys: &str) -> Then {
    let mut then = Then::Draw;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\x08' => KeyCode::Backspace,
            'v' => KeyCode::Down,
            '^' => KeyCode::Up,
            key => KeyCode::Char(key),
        };
        then = model.press(KeyEvent::new(code, KeyModifiers::NONE), now());
    }
    then
}

fn screen(model: &Model, width: u16, height: u16, color: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let look = Look { color, now: now() };
    let mut table = TableState::default();
    terminal
        .draw(|frame| view::draw(frame, model, &mut table, look))
        .unwrap();
    terminal
}

fn text(model: &Model, width: u16, height: u16) -> String {
    screen(model, width, height, true).backend().to_string()
}

/// Asserts that `shown` has all these words.
fn shows(shown: &str, words: &[&str]) {
    for words in words {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
}

#[test]
fn everything_at_a_glance() {
    let shown = text(&model(), 120, 30);
    shows(
        &shown,
        &[
            "lbd 0.1.0, ready, 1 of 2 services not up, revision 7",
            "1,000 packets/s",
            "1.00 Mbit/s from clients",
            "12 new flows/s",
            "▲ degraded",
            "192.0.2.10:443/tcp +1",
            "● up",
            "✖ down",
            "▼ draining",
            "○ unchecked",
            "connection refused",
            "service dns has no checks",
            "d drain",
        ],
    );
}

#[test]
fn a_small_screen_shows_what_matters() {
    let shown = text(&model(), 80, 16);
    shows(
        &shown,
        &["▲ degraded", "✖ down", "rs2", "192.0.2.22", "service dns"],
    );
    assert!(!shown.contains("from clients"), "{shown}");
}

#[test]
fn any_size_can_be_drawn() {
    let mut model = model();
    for keys in ["", "?", "xd", "nw", "\x1b/"] {
        press(&mut model, keys);
        for width in [1, 2, 10, 40, 79, 200, 500] {
            for height in [1, 2, 3, 5, 10, 60] {
                text(&model, width, height);
            }
        }
    }
}

#[test]
fn what_it_will_do_is_said_first_and_only_y_does_it() {
    let mut model = model();
    // The cursor starts at the first real.
    assert_eq!(press(&mut model, "d"), Then::Draw);
    shows(
        &text(&model, 100, 24),
        &[
            "drain web/rs1?",
            "It gets no new flows.",
            "Its 1,222 flows stay until they end, or until drain_timeout.",
            "NOBODY ELSE is up: the backups or the sorry server answer.",
            "y  do it",
        ],
    );
    assert_eq!(press(&mut model, "d e\n"), Then::Draw, "neither yes nor no");
    assert!(matches!(model.mode, Mode::Confirm { .. }));
    let action = Action {
        service: "web".into(),
        real: "rs1".into(),
        wish: Wish::Drain,
    };
    assert_eq!(press(&mut model, "y"), Then::Do(action.clone()));
    let changed = |changes: &[&str]| ChangeView {
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        ..ChangeView::default()
    };
    model.done(&action, Ok(changed(&["admin: enabled -> drain"])), now());
    model.done(&action, Ok(changed(&[])), now());
    let may_not = ApiError::new(ErrorCode::NotPermitted, "user id 1000 may not");
    model.done(&action, Err(may_not.into()), now());
    let text = text(&model, 100, 24);
    assert!(
        text.contains("07:31:05 drain web/rs1: admin: enabled -> drain"),
        "{text}"
    );
    assert!(text.contains("drain web/rs1: it was so already"), "{text}");
    assert!(
        text.contains("drain web/rs1: FAILED, nothing was changed: user id 1000 may not"),
        "{text}"
    );
    let lost = Failure::BadAnswer {
        socket: "lbd.sock".into(),
        reason: "it ended".into(),
    };
    model.done(&action, Err(lost), now());
    let last = model.log.back().unwrap();
    assert!(
        !last.ok
            && last
                .words
                .contains("look whether it was done: no usable answer")
    );
    let mut full = changed(&[]);
    full.saved.state = SavedState::No;
    full.saved.reason = Some("no space left".into());
    model.done(&action, Ok(full), now());
    let last = model.log.back().unwrap();
    assert!(
        !last.ok
            && last
                .words
                .ends_with("NOT SAVED, only running: no space left")
    );
    press(&mut model, "x");
    assert_eq!(press(&mut model, "n"), Then::Draw);
    assert!(model.log.back().unwrap().words.ends_with("left as it is"));
}

#[test]
fn a_weight_is_typed_checked_and_confirmed() {
    let mut model = model();
    press(&mut model, "w12\x083\n");
    let Mode::Confirm { action, words } = model.mode.clone() else {
        panic!("{:?}", model.mode);
    };
    assert_eq!(action.wish, Wish::Weight(13));
    assert_eq!(words, ["Its share of new flows goes from 100 % to 100 %."]);
    assert_eq!(press(&mut model, "y"), Then::Do(action));
    for keys in ["w999\n", "w\n"] {
        assert_eq!(press(&mut model, keys), Then::Draw);
        assert_eq!(model.mode, Mode::Look);
        assert!(model.log.back().unwrap().words.contains("0 to 256"));
    }
}

#[test]
fn consequences_are_told_as_they_are() {
    let mut status = status();
    let web = &mut status.services[0];
    web.sorry = None;
    web.reals[1].state = RealState::Up;
    web.reals[1].effective_weight = 3;
    let [rs1, rs2, rs3] = [0, 1, 2].map(|n| web.reals[n].clone());
    let of = |real, wish| consequences(web, real, wish).join(" ");
    assert_eq!(
        of(&rs1, Wish::Drain),
        "It gets no new flows. Its 1,222 flows stay until they end, or until drain_timeout. \
         One other real takes its part."
    );
    assert_eq!(
        of(&rs1, Wish::Disable),
        "It gets no new flows. Its 1,222 flows are treated as after its death, at once (on_dead). \
         One other real takes its part."
    );
    assert_eq!(
        of(&rs1, Wish::Weight(9)),
        "Its share of new flows goes from 25 % to 75 %."
    );
    assert_eq!(
        of(&rs3, Wish::Weight(9)),
        "It is draining: the weight counts when it is up."
    );
    assert_eq!(
        of(&rs2, Wish::Drain),
        "It gets no new flows. It has no flows. One other real takes its part."
    );
    let mut alone = web.clone();
    alone.reals.truncate(1);
    let last = consequences(&alone, &rs1, Wish::Drain).join(" ");
    assert!(
        last.ends_with("NOBODY ELSE is up: without backups the service goes down."),
        "{last}"
    );
}

#[test]
fn what_is_asked_follows_the_picture() {
    let mut model = model();
    press(&mut model, "d");
    let mut later = status();
    later.services[0].reals[1].state = RealState::Up;
    later.services[0].reals[0].flows = 1;
    model.heard(later.clone(), Duration::from_secs(9), now());
    let Mode::Confirm { words, .. } = &model.mode else {
        panic!("{:?}", model.mode);
    };
    assert!(
        words[1].starts_with("Its one flow stays until it ends"),
        "{words:?}"
    );
    assert_eq!(words[2], "One other real takes its part.");
    later.services[0].reals.remove(0);
    model.heard(later, Duration::from_secs(10), now());
    assert_eq!(model.mode, Mode::Look, "it is gone, nothing is asked");
}

#[test]
fn a_filter_sifts_and_the_cursor_stays_with_its_line() {
    let mut model = model();
    press(&mut model, "/down\n");
    let names: Vec<_> = model
        .rows()
        .iter()
        .map(|r| r.real.map(|r| r.name.clone()))
        .collect();
    assert_eq!(names, [None, Some("rs2".to_owned())]);
    press(&mut model, "w5\n");
    assert!(matches!(&model.mode, Mode::Confirm { action, .. } if action.real == "rs2"));
    press(&mut model, "n\x1b");
    assert_eq!(model.rows().len(), 6);
    press(&mut model, "ss");
    assert_eq!(model.order.word(), "by flows");
    let rows = model.rows();
    let at = model.cursor(&rows).unwrap();
    assert_eq!(rows[at].real.unwrap().name, "rs2");
    drop(rows);
    press(&mut model, "/nothing has this\n");
    assert!(text(&model, 100, 24).contains("nothing has all these words"));
    assert_eq!(press(&mut model, "d"), Then::Draw);
    assert!(
        model
            .log
            .back()
            .unwrap()
            .words
            .contains("choose a real server")
    );
}

#[test]
fn a_removed_real_is_nobody_to_change() {
    let mut model = Model::default();
    let mut status = status();
    status.services[0].reals.truncate(1);
    status.services[0].reals[0].removed = true;
    model.heard(status, Duration::ZERO, now());
    press(&mut model, "d");
    assert_eq!(model.mode, Mode::Look);
}

#[test]
fn a_lost_lbd_is_told_and_forgotten_when_it_is_back() {
    let mut model = model();
    model.lost("lbd does not answer on /run/lbd/lbd.sock".into(), now());
    model.lost("still".into(), now() + Duration::from_secs(7));
    let shown = text(&model, 100, 24);
    assert!(
        shown.contains("lbd does not answer for 0s: still"),
        "{shown}"
    );
    assert!(shown.contains("rs1"), "the last picture stays: {shown}");
    assert!(model.rates.total().is_none(), "no rate is made up");
    model.heard(status(), Duration::from_secs(60), now());
    assert!(!text(&model, 100, 24).contains("does not answer"));
}

#[test]
fn t60c_nothing_from_elsewhere_moves_the_cursor() {
    let mut model = Model::default();
    let mut status = status();
    status.services[0].reals[0].reason = "\x1b[2Jboo\u{202e}".into();
    status.warnings = vec!["a\nb\x07".into()];
    model.heard(status, Duration::ZERO, now());
    let shown = text(&model, 140, 30);
    assert!(shown.contains("\\u{1b}[2Jboo\\u{202e}"), "{shown}");
    assert!(shown.contains("a\\nb\\u{7}"), "{shown}");
}

#[test]
fn without_colours_words_and_marks_tell_the_state() {
    let terminal = screen(&model(), 120, 30, false);
    let buffer = terminal.backend().buffer();
    assert!(
        buffer
            .content()
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
    let text = terminal.backend().to_string();
    for state in ["▲ degraded", "● up", "✖ down", "▼ draining", "○ unchecked"] {
        assert!(text.contains(state), "{state}: {text}");
    }
}

#[test]
fn control_c_and_q_end_it() {
    let mut model = model();
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut model, "/");
    assert_eq!(model.press(key, now()), Then::Quit);
    let mut model = Model::default();
    assert_eq!(press(&mut model, "q"), Then::Quit);
}
