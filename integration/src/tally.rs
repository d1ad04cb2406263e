//! Exact counts of frames: the kernel counts in nft rules at an interface's ingress, so that no
//! reader can fall behind.

use crate::netns::{Netns, NetnsHandle, run};
use crate::topology::real_mac;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Named counters at the ingress of one interface.
#[derive(Debug)]
pub struct Tally {
    netns: NetnsHandle,
    names: Vec<String>,
}

impl Tally {
    /// Counts frames that arrive on `interface` and match; each rule is a name and an nft match,
    /// as in `("replies", "ip saddr 192.0.2.10")`. Frames go on to whoever wants them.
    ///
    /// # Panics
    /// When nft refuses a match.
    pub fn at(netns: &Netns, interface: &str, rules: &[(&str, &str)]) -> Tally {
        let mut script = format!(
            "add table netdev tally; add chain netdev tally {interface} {{ type filter hook ingress device {interface} priority -400; }};"
        );
        for (name, matches) in rules {
            let _ = write!(script, "add counter netdev tally {name};");
            let _ = write!(
                script,
                "add rule netdev tally {interface} {matches} counter name {name};"
            );
        }
        netns.nft(&script);
        let names = rules.iter().map(|(name, _)| (*name).to_owned()).collect();
        Tally {
            netns: netns.handle(),
            names,
        }
    }

    /// Counts what lbd sends to real servers 1 to `reals` on WIRE, and keeps it from the
    /// generator's stack. Counters are called `rs1`...
    ///
    /// # Panics
    /// When nft refuses.
    pub fn of_reals(generator: &Netns, reals: u8) -> Tally {
        let rules: Vec<(String, String)> = (1..=reals)
            .map(|n| (format!("rs{n}"), format!("ether daddr {}", real_mac(n))))
            .collect();
        let rules: Vec<(&str, &str)> = rules
            .iter()
            .map(|(name, rule)| (name.as_str(), rule.as_str()))
            .collect();
        let tally = Tally::at(generator, "eth0", &rules);
        generator.nft(
            "add rule netdev tally eth0 ether daddr & ff:ff:ff:ff:ff:00 == 02:00:00:00:01:00 drop",
        );
        tally
    }

    /// Frames so far.
    ///
    /// # Panics
    /// When there is no such counter.
    pub fn of(&self, name: &str) -> u64 {
        let mut command = self.netns.command("nft");
        let output = run(command.arg(format!("list counter netdev tally {name}")));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "packets");
        words
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("a counter")
    }

    /// Frames so far, over all counters.
    pub fn total(&self) -> u64 {
        self.names.iter().map(|name| self.of(name)).sum()
    }

    /// Waits until `goal` have arrived, or 10 s are over, and then until no more arrive; returns the total.
    ///
    /// # Panics
    /// When they keep coming for 10 s.
    pub fn settled_at(&self, goal: u64) -> u64 {
        let start = Instant::now();
        let late = || start.elapsed() > Duration::from_secs(10);
        crate::wait::wait_until("all frames arrive", Duration::from_secs(20), || {
            self.total() >= goal || late()
        });
        self.settled()
    }

    /// Waits until no more arrive, and returns the total.
    ///
    /// # Panics
    /// When they keep coming for 10 s.
    pub fn settled(&self) -> u64 {
        let (total, _) =
            crate::wait::wait_for("nothing arrives any more", Duration::from_secs(10), || {
                let before = self.total();
                // What lbd holds it sends within its ring's timeout, a few milliseconds.
                std::thread::sleep(Duration::from_millis(50));
                (self.total() == before).then_some(before)
            });
        total
    }
}
