//! The status page, as a browser shows it.

use integration::browser::Browser;
use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::stage::{PORT, Stage, web};
use integration::topology::{CLIENT, Offloads};
use integration::{isolated, isolated_within};
use nix::sys::signal::Signal;
use std::time::Duration;

const PAGE: &str = "http://127.0.0.1:9380/";

/// Text that would do harm if it were more than text.
const HOSTILE: &str = "<img src=x onerror=document.title=1><script>document.title=2</script>";

/// What takes a moment in a browser gets this long on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

fn conf() -> Conf {
    let hostile = format!("\"{HOSTILE}\"");
    Conf::one(web(3).check(FAST_TCP_CHECK).with("description", &hostile))
        .service(ServiceConf::udp("dns", 53).pinned_reals(1..=2))
}

/// A script's expression: the row of a real in the table of `web`.
fn row(real: &str) -> String {
    format!("document.querySelector('details[data-key=web] tr[data-key$=\"/{real}\"]')")
}

#[test]
fn the_page_is_live_and_says_so_when_it_is_not() {
    isolated_within(Duration::from_secs(120), || {
        let mut stage = Stage::new(3, Offloads::Defaults, &conf());
        stage.curl(20);
        let mut browser = Browser::start(&stage.switch.lb.handle());
        browser.size(1200, 900, 1.0);
        browser.scheme("light");
        browser.open(PAGE);
        browser.wait(
            "document.querySelector('#line')?.textContent === 'live'",
            SOON,
        );
        browser.eval("window.same = true");
        let state =
            |real: &str| format!("{}.querySelector('.state').textContent.trim()", row(real));
        for real in ["rs1", "rs2", "rs3"] {
            assert_eq!(browser.eval(&state(real)), "● up", "{real}");
        }
        assert_eq!(browser.eval("document.title"), "● up · lbd");
        let text = browser.eval("document.body.innerText");
        let text = text.as_str().expect("text");
        assert!(text.contains(HOSTILE), "shown as it is: {text}");
        assert_eq!(browser.eval("document.images.length"), 0);

        // Something changes: it is seen without a reload, and what is open, sifted and in focus
        // stays so.
        browser.eval("document.querySelector('details[data-key=dns]').open = false");
        browser.eval("document.querySelector('#filter').focus()");
        stage.servers[1].stop();
        browser.wait(&format!("{} === '✖ down'", state("rs2")), SOON);
        let why = browser.eval(&format!("{}.lastElementChild.textContent", row("rs2")));
        assert!(
            why.as_str().is_some_and(|why| why.contains("refused")),
            "{why}"
        );
        let changed =
            "document.querySelector('.changes').innerText.includes('real web/rs2 up -> down')";
        browser.wait(changed, SOON);
        assert_eq!(browser.eval("document.title"), "▲ degraded · lbd");
        let closed = "document.querySelector('details[data-key=dns]').open";
        assert_eq!(browser.eval(closed), false, "the reader closed it");
        assert_eq!(browser.eval("document.activeElement.id"), "filter");
        let sift = |words: &str| {
            format!(
                "{{ const f = document.querySelector('#filter'); f.value = '{words}'; \
                 f.dispatchEvent(new Event('input')); }} \
                 [...document.querySelectorAll('tbody tr')].filter(r => r.checkVisibility()).length"
            )
        };
        assert_eq!(browser.eval(&sift("down")), 1);
        assert_eq!(browser.eval(&sift("")), 3, "dns is closed again");
        assert_eq!(browser.eval(&sift("dns")), 2);
        browser.eval(&sift(""));

        // Rates are there while traffic flows; no client is told.
        let load = stage.flows(50, Duration::from_millis(20));
        let packets = "document.querySelector('.totals dd').textContent";
        browser.wait(&format!("Number({packets}.replace(',', '')) > 50"), SOON);
        drop(load);
        let html = browser.eval("document.documentElement.outerHTML");
        let html = html.as_str().expect("text");
        assert!(
            !html.contains(&CLIENT.to_string()),
            "a client's address: {html}"
        );

        // Wide and narrow, light and dark.
        let mut papers = Vec::new();
        for scheme in ["light", "dark"] {
            browser.scheme(scheme);
            papers.push(browser.eval("getComputedStyle(document.body).backgroundColor"));
            for width in [360, 800, 1200] {
                browser.size(width, 800, 1.0);
                browser.wait(&format!("innerWidth === {width}"), SOON);
                let wide = browser.eval("document.documentElement.scrollWidth");
                assert!(
                    wide.as_u64() <= Some(width.into()),
                    "{wide} at {width}, {scheme}"
                );
            }
        }
        assert_ne!(papers[0], papers[1]);

        let complaints = browser.complaints().to_vec();
        assert!(complaints.is_empty(), "{complaints:#?}");

        // lbd goes, and comes back.
        stage.lbd.stop(Signal::SIGTERM);
        let line = "document.querySelector('#line').textContent";
        browser.wait(&format!("{line}.startsWith('Disconnected')"), SOON);
        assert_eq!(
            browser.eval("document.body.classList.contains('lost')"),
            true
        );
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        browser.wait(&format!("{line} === 'live'"), SOON);
        assert_eq!(browser.eval("window.same"), true, "never reloaded");
        for url in browser.requests() {
            assert!(url.starts_with(PAGE) || url.starts_with("data:,"), "{url}");
        }
        figures(&mut browser);
    });
}

/// What the page costs to load, for the log.
fn figures(browser: &mut Browser) {
    let bytes = "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))\
                 .reduce((sum, e) => sum + (e.decodedBodySize || 0), 0)";
    let bytes = browser.eval(bytes).as_u64().expect("a number");
    integration::figure("page.bytes", bytes);
}

#[test]
fn without_javascript_it_is_whole_with_two_hundred_reals() {
    isolated(|| {
        let big = ServiceConf::tcp("big", PORT).pinned_reals(1..=200);
        let stage = Stage::new(1, Offloads::Defaults, &Conf::one(big));
        let (status, page) = stage.lbd.http("/");
        assert_eq!(status, 200);
        for n in 1..=200 {
            assert!(page.contains(&format!(">rs{n}</td>")), "rs{n} in {page}");
        }
        assert!(page.contains("192.0.2.10:80/tcp") && page.contains("http-equiv=\"refresh\""));
        assert!(!page.contains("<form"), "{page}");
    });
}
