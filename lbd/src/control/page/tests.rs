//! The page as text, and its events as they come.
#![allow(clippy::unwrap_used)]

use super::super::{ASK_QUEUE, Ask};
use super::*;
use http_body_util::BodyExt;
use lbcore::api::{Happening, Rates, RealState, StateChange, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

fn glance() -> Glance {
    let text = include_str!("../../../../lbcore/src/api/fixtures/status.json");
    let change = StateChange {
        from: Some(RealState::Up),
        to: RealState::Down,
        reason: "connection refused".into(),
    };
    let what = Happening::Real {
        service: "web".into(),
        real: "rs2".into(),
        change,
    };
    Glance {
        status: serde_json::from_str(text).unwrap(),
        lately: vec![event(1, what)],
    }
}

fn event(seq: u64, what: Happening) -> EventView {
    let at = Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_710_265));
    EventView { seq, at, what }
}

fn main(glance: &Glance) -> String {
    render::main(glance, &Rates::default())
}

#[test]
fn what_is_exposed_where_it_goes_how_it_does_and_what_changed() {
    let main = main(&glance());
    for text in [
        "data-title=\"▲ degraded · lbd\"",
        "192.0.2.10:443/tcp",
        "[2001:db8::10]:443/tcp",
        "1 of 3 reals is down, 1 draining",
        "192.0.2.21",
        "class=\"state up\"",
        "class=\"state down\"",
        "class=\"state draining\"",
        "class=\"state degraded\"",
        "connection refused",
        "real web/rs2 up -&gt; down: connection refused",
        "datetime=\"2025-11-21T07:31:05.000Z\"",
        "service dns has no checks",
        "VIP 2001:db8::10 conflict",
        "the file says enabled",
    ] {
        assert!(main.contains(text), "{text} in {main}");
    }
}

#[test]
fn t60c_text_from_elsewhere_stays_text() {
    let mut glance = glance();
    let hostile = "<img src=x onerror=alert(1)>\"'&</main>\u{202e}\x1b[31m";
    glance.status.services[0].description = hostile.into();
    glance.status.services[0].name = hostile.into();
    glance.status.services[0].reals[0].name = hostile.into();
    glance.status.services[0].reals[0].reason = hostile.into();
    glance.status.warnings = vec![hostile.into()];
    glance.status.config_file = hostile.into();
    let main = main(&glance);
    assert!(!main.contains("<img"), "{main}");
    assert_eq!(main.matches("</main>").count(), 1);
    assert!(
        !main.contains('\u{202e}') && !main.contains('\x1b'),
        "{main}"
    );
    assert!(main.contains("&lt;img src=x onerror=alert(1)&gt;"));
    let page = render::page("<script>", &main, 0);
    assert!(page.contains("on &lt;script&gt;"), "{page}");
}

#[test]
fn no_client_is_told() {
    let mut glance = glance();
    let change = "flows of 198.51.100.7 to 192.0.2.10 cleared".to_owned();
    let (uid, user, pid) = (0, None, 1);
    let change = Happening::Change {
        uid,
        user,
        pid,
        change,
    };
    glance.lately = vec![event(1, change)];
    glance.status.warnings = vec!["too many from 2001:db8:1::7".into()];
    let main = main(&glance);
    assert!(
        !main.contains("198.51.100.7") && !main.contains("2001:db8:1::7"),
        "{main}"
    );
    assert!(
        main.contains("flows of (an address) to 192.0.2.10 cleared"),
        "{main}"
    );
}

#[test]
fn thousands_of_reals_are_bounded_and_trouble_comes_first() {
    let mut glance = glance();
    let one = glance.status.services[0].reals[0].clone();
    glance.status.services[1].reals = (0..5000u32)
        .map(|n| {
            let mut real = one.clone();
            real.name = format!("rs{n}");
            real.address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            real
        })
        .collect();
    glance.status.services[1].reals[4999].state = RealState::Down;
    let main = main(&glance);
    assert_eq!(main.matches("class=\"r-").count(), 1000);
    assert!(main.contains("4,003 more real servers are not shown"));
    assert!(main.contains(">rs4999<"), "the one that is down is shown");
    assert!(main.len() < 1024 * 1024, "{} bytes", main.len());
}

#[test]
fn the_page_is_small_and_brings_nothing_in_line() {
    let page = render::page("edge1", &main(&glance()), 0);
    let all = page.len() + STYLE.len() + SCRIPT.len();
    assert!(all < 40 * 1024, "{all} bytes");
    for inline in ["<style", " style=", " onclick=", " onload=", " oninput="] {
        assert!(!page.contains(inline), "{inline}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert!(
        page.contains("<script src=\"page.js\" defer></script>"),
        "{page}"
    );
    for outside in ["http://", "https://", "//cdn", "@import", "url("] {
        assert!(
            !page.contains(outside) && !STYLE.contains(outside),
            "{outside}"
        );
        assert!(!SCRIPT.contains(outside), "{outside}");
    }
    let headers = style().headers().clone();
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

/// Answers with a revision of `number`.
fn daemon(number: Arc<AtomicU64>) -> mpsc::Sender<Ask> {
    let (asks, mut queue) = mpsc::channel(ASK_QUEUE);
    tokio::spawn(async move {
        while let Some(ask) = queue.recv().await {
            if let Ask::Glance { reply } = ask {
                let mut glance = glance();
                glance.status.revision = number.load(Ordering::Relaxed);
                drop(reply.send(glance));
            }
        }
    });
    asks
}

fn hub(number: &Arc<AtomicU64>) -> Arc<Hub> {
    let hub = Arc::new(Hub::new(daemon(number.clone())));
    let running = hub.clone();
    tokio::spawn(async move { running.run().await });
    hub
}

async fn listen(hub: &Hub) -> Option<Lines> {
    let response = hub.events().await.unwrap()?;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Some(response.into_body())
}

/// The next event; `None` after the last.
async fn next(lines: &mut Lines) -> Option<String> {
    let frame = lines.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_listener_gets_the_picture_what_changes_and_signs_of_life() {
    let number = Arc::new(AtomicU64::new(7));
    let hub = hub(&number);
    let mut lines = listen(&hub).await.unwrap();
    let first = next(&mut lines).await.unwrap();
    assert!(
        first.starts_with("retry: 2000\n\nevent: page\nid: "),
        "{first}"
    );
    assert!(
        first.contains("\ndata: <main") && first.ends_with("</main>\n\n"),
        "{first}"
    );
    assert!(first.contains("revision 7"), "{first}");
    // Nothing changes: only signs of life come.
    let beat = next(&mut lines).await.unwrap();
    assert!(beat.starts_with("event: beat\n"), "{beat}");
    let began = tokio::time::Instant::now();
    let beat = next(&mut lines).await.unwrap();
    assert!(beat.starts_with("event: beat\n"), "{beat}");
    assert_eq!(began.elapsed().as_secs(), 5);
    number.store(8, Ordering::Relaxed);
    let news = next(&mut lines).await.unwrap();
    assert!(
        news.starts_with("event: page\n") && news.contains("revision 8"),
        "{news}"
    );
    // Whoever comes now has seen it already; both hear what is next.
    let mut other = listen(&hub).await.unwrap();
    assert!(next(&mut other).await.unwrap().contains("revision 8"));
    number.store(9, Ordering::Relaxed);
    assert!(next(&mut other).await.unwrap().contains("revision 9"));
    let mut news = next(&mut lines).await.unwrap();
    if news.starts_with("event: beat") {
        news = next(&mut lines).await.unwrap();
    }
    assert!(news.contains("revision 9"), "{news}");
}

#[tokio::test(start_paused = true)]
async fn listeners_are_bounded_and_who_does_not_read_is_dropped() {
    let number = Arc::new(AtomicU64::new(0));
    let hub = hub(&number);
    let mut all = Vec::new();
    for _ in 0..LISTENERS {
        all.push(listen(&hub).await.unwrap());
    }
    assert!(listen(&hub).await.is_none(), "one too many");
    // A place comes back with who leaves.
    drop(all.pop());
    let mut reader = listen(&hub).await.unwrap();
    // Everything changes all the time, one reads, the others never do.
    for n in 1..30 {
        number.store(n, Ordering::Relaxed);
        assert!(next(&mut reader).await.is_some());
    }
    let mut slow = all.pop().unwrap();
    let mut got = 0;
    while next(&mut slow).await.is_some() {
        got += 1;
    }
    assert!(got < 10, "what was queued, then the end: {got}");
    assert!(listen(&hub).await.is_some(), "their places are free");
}
