//! `lbctl top` in a terminal, as an operator meets it.

use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::stage::{Stage, web};
use integration::terminal::Terminal;
use integration::topology::Offloads;
use integration::{isolated, isolated_within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn stage() -> Stage {
    Stage::new(
        3,
        Offloads::Defaults,
        &Conf::one(web(3).check(FAST_TCP_CHECK)),
    )
}

#[test]
fn an_operator_sees_drains_weighs_and_enables_from_top() {
    isolated_within(Duration::from_secs(90), || {
        let mut stage = stage();
        let _flows = stage.flows(30, Duration::from_millis(50));
        let terminal = Terminal::start(&stage.lbd.ctl_command(&["top", "-w", "200ms"]), 130, 32);
        terminal.wait("● up", SOON);
        let rate = |screen: &str| {
            let line = screen.lines().find(|line| line.contains(" packets/s"));
            let rate =
                line.and_then(|line| line.split(' ').next()?.replace(',', "").parse::<f64>().ok());
            rate.is_some_and(|rate| rate > 50.0)
        };
        terminal.wait_for("packets flow", SOON, rate);
        assert!(terminal.html().contains("color:#4fcfa4"), "up is green");
        terminal.press(&["?"]);
        terminal.wait("any key closes this", SOON);
        terminal.press(&["Escape"]);
        // Escape and another key in one go would be that key with Alt.
        terminal.wait_for("help is closed", SOON, |screen| {
            !screen.contains("any key closes this")
        });

        // The cursor is on rs1: drained only after yes.
        terminal.press(&["d"]);
        terminal.wait("drain web/rs1?", SOON);
        terminal.wait("2 other reals take its part.", SOON);
        terminal.press(&["n"]);
        terminal.wait("drain web/rs1: left as it is", SOON);
        assert_eq!(stage.lbd.real("web", "rs1")["admin"], "enabled");
        terminal.press(&["d"]);
        terminal.wait("drain web/rs1?", SOON);
        terminal.press(&["y"]);
        terminal.wait("drain web/rs1: ", SOON);
        terminal.wait("▼ draining", SOON);
        assert_eq!(stage.lbd.real("web", "rs1")["admin"], "drain");
        terminal.press(&["e"]);
        terminal.wait("enable web/rs1?", SOON);
        terminal.press(&["y"]);
        terminal.wait_for("nobody drains", SOON, |screen| {
            !screen.contains("▼ draining")
        });
        assert_eq!(stage.lbd.real("web", "rs1")["admin"], "enabled");

        terminal.press(&["Down"]);
        terminal.press(&["w", "5", "Enter"]);
        terminal.wait("weight of web/rs2: 5?", SOON);
        terminal.wait("Its share of new flows goes from 33 % to 71 %.", SOON);
        terminal.press(&["y"]);
        terminal.wait("weight of web/rs2: 5: ", SOON);
        assert_eq!(stage.lbd.real("web", "rs2")["weight"], 5);

        // A server dies; the filter finds it; another size shows it, too.
        stage.servers[2].stop();
        terminal.wait("✖ down", SOON);
        terminal.press(&["/", "d", "o", "w", "n", "Enter"]);
        terminal.wait_for("only rs3", SOON, |screen| {
            screen.contains("rs3") && !screen.contains("rs2 ")
        });
        terminal.resize(80, 20);
        terminal.wait("✖ down", SOON);
        terminal.press(&["Escape"]);

        // lbd goes and comes back.
        stage.lbd.stop(Signal::SIGTERM);
        terminal.wait("lbd does not answer", SOON);
        stage.lbd.spawn();
        terminal.wait_for("lbd is back", SOON, |screen| {
            !screen.contains("lbd does not answer")
        });

        terminal.press(&["q"]);
        integration::wait_until("top ends", SOON, || terminal.ended() == Some(0));
        assert!(!terminal.is_taken(), "the screen is given back");
    });
}

#[test]
fn the_terminal_is_given_back_after_sigterm_and_asked_for_where_there_is_none() {
    isolated(|| {
        let stage = stage();
        let mut command = stage.lbd.ctl_command(&["top"]);
        command.env("NO_COLOR", "1");
        let terminal = Terminal::start(&command, 100, 24);
        terminal.wait("● up", SOON);
        assert!(terminal.is_taken());
        assert!(!terminal.html().contains("color:#4fcfa4"), "NO_COLOR");
        kill(Pid::from_raw(terminal.pid()), Signal::SIGTERM).expect("a process we started");
        integration::wait_until("top ends", SOON, || terminal.ended() == Some(128 + 15));
        assert!(!terminal.is_taken(), "the screen is given back");

        let answer = stage.lbd.ctl(&["top"]).exits(2);
        assert_eq!(answer.stdout(), "");
        assert!(
            answer.stderr().contains("needs a terminal"),
            "{}",
            answer.stderr()
        );
        assert!(
            answer.stderr().contains("lbctl status -w"),
            "{}",
            answer.stderr()
        );
    });
}
