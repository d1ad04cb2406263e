//! Two lbds on one link, in memory. T59.

use super::*;

/// Announcers of one VIP on a link that delivers at once, or not between `cut` ones.
struct Lan {
    now: Tick,
    nodes: Vec<Announcer>,
    cut: bool,
    frames: usize,
}

impl Lan {
    fn new() -> Self {
        Lan {
            now: Tick(0),
            nodes: Vec::new(),
            cut: false,
            frames: 0,
        }
    }

    fn join(&mut self, vip: IpAddr, last: u8) {
        let mut out = Vec::new();
        self.nodes
            .push(Announcer::new(vip, with_mac(last), self.now, &mut out));
        self.deliver(self.nodes.len() - 1, out);
    }

    fn set(&mut self, node: usize, facts: Facts) {
        let mut out = Vec::new();
        self.nodes[node].set_facts(facts, self.now, &mut out);
        self.deliver(node, out);
    }

    /// Frames that frames provoke are delivered too; a storm would never end, so it is counted.
    fn deliver(&mut self, from: usize, frames: Vec<Vec<u8>>) {
        let mut queue: std::collections::VecDeque<_> =
            frames.into_iter().map(|frame| (from, frame)).collect();
        while let Some((from, frame)) = queue.pop_front() {
            self.frames += 1;
            assert!(self.frames < 10_000, "a storm");
            if self.cut {
                continue;
            }
            let heard = parse(&frame).expect("we understand what we say");
            for (to, node) in self.nodes.iter_mut().enumerate() {
                // A silent node stands for one whose carrier is gone or that does not run.
                if to != from && node.state() != VipState::Silent {
                    let mut out = Vec::new();
                    node.hear(&heard, self.now, &mut out);
                    queue.extend(out.into_iter().map(|frame| (to, frame)));
                }
            }
        }
    }

    fn run_to(&mut self, end: u64) {
        let next = |nodes: &[Announcer]| {
            nodes
                .iter()
                .enumerate()
                .filter_map(|(i, node)| Some((node.deadline()?, i)))
                .min()
        };
        while let Some((at, node)) = next(&self.nodes)
            && at <= Tick(end)
        {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.nodes[node].tick(self.now, &mut out);
            self.nodes[node].news(self.now);
            self.deliver(node, out);
        }
        self.now = Tick(end);
    }

    fn states(&self) -> Vec<VipState> {
        self.nodes.iter().map(Announcer::state).collect()
    }
}

fn with_mac(last: u8) -> Facts {
    Facts {
        mac: mac(last),
        ..facts()
    }
}

use VipState::{Announced, Conflict, Probing, Silent};

#[rstest::rstest]
fn of_two_that_start_together_the_lower_mac_announces(
    #[values(V4.into(), V6.into())] vip: IpAddr,
    #[values([0x50, 0x51], [0x51, 0x50])] macs: [u8; 2],
    #[values(0, 1, 150, 399, 500, 799)] apart: u64,
) {
    let mut lan = Lan::new();
    lan.join(vip, macs[0]);
    lan.run_to(apart);
    lan.join(vip, macs[1]);
    for end in [2_000, 100_000] {
        lan.run_to(end);
        let states = lan.states();
        assert_eq!(
            states.iter().filter(|state| **state == Announced).count(),
            1,
            "{states:?}"
        );
        assert_eq!(
            states.iter().filter(|state| **state == Conflict).count(),
            1,
            "{states:?}"
        );
        if apart < 400 {
            // While both still ask, the lower wins; later the first has it.
            let lower = usize::from(macs[1] < macs[0]);
            assert_eq!(states[lower], Announced, "{states:?}");
        }
    }
}

#[rstest::rstest]
fn a_later_one_never_takes_it_whatever_its_mac(#[values(V4.into(), V6.into())] vip: IpAddr) {
    let mut lan = Lan::new();
    lan.join(vip, 0x51);
    lan.run_to(10_000);
    lan.join(vip, 0x50);
    lan.run_to(10_100);
    assert_eq!(lan.states(), [Announced, Conflict]);
    lan.run_to(300_000);
    assert_eq!(lan.states(), [Announced, Conflict]);

    // The holder goes: the other has it at its next try.
    lan.set(
        0,
        Facts {
            carrier: false,
            ..with_mac(0x51)
        },
    );
    lan.run_to(331_000);
    assert_eq!(lan.states(), [Silent, Announced]);
    // It comes back and finds it taken.
    lan.set(0, with_mac(0x51));
    lan.run_to(332_000);
    assert_eq!(lan.states(), [Conflict, Announced]);
}

#[rstest::rstest]
fn after_a_split_heals_the_lower_mac_goes_on(
    #[values(V4.into(), V6.into())] vip: IpAddr,
    #[values([0x50, 0x51], [0x51, 0x50])] macs: [u8; 2],
) {
    let mut lan = Lan::new();
    lan.cut = true;
    lan.join(vip, macs[0]);
    lan.run_to(20_000);
    lan.join(vip, macs[1]);
    lan.run_to(40_000);
    assert_eq!(lan.states(), [Announced, Announced]);

    lan.cut = false;
    lan.frames = 0;
    // The next question, of either, settles it.
    lan.run_to(40_000 + 10_000 + 3_000);
    let lower = usize::from(macs[1] < macs[0]);
    assert_eq!(lan.states()[lower], Announced);
    assert_eq!(lan.states()[1 - lower], Conflict);
    assert!(lan.frames < 40, "{} frames to settle it", lan.frames);
    let told = lan.nodes[lower].current();
    assert_eq!(told.claimed_by, Some(mac(macs[1 - lower])));
    lan.run_to(400_000);
    assert_eq!(lan.states()[lower], Announced);
    assert_eq!(
        lan.nodes[lower].current().note,
        None,
        "the quarrel is over and forgotten"
    );
}

#[test]
fn a_split_is_settled_within_three_seconds_of_the_first_frame() {
    let mut lan = Lan::new();
    lan.cut = true;
    lan.join(V4.into(), 0x50);
    lan.join(V4.into(), 0x51);
    lan.run_to(10_000);
    lan.cut = false;
    let heal = lan.nodes[0].deadline().unwrap().0;
    assert_eq!(heal, 10_800, "the next question");
    lan.run_to(heal + 3_000);
    assert_eq!(lan.states(), [Announced, Conflict]);
}

#[test]
fn the_operator_moves_a_vip_from_one_to_the_other() {
    let vip = V4.into();
    let mut lan = Lan::new();
    lan.join(vip, 0x50);
    lan.run_to(2_000);
    lan.join(vip, 0x51);
    lan.run_to(10_000);
    lan.set(
        0,
        Facts {
            hold: Hold::Release,
            ..with_mac(0x50)
        },
    );
    lan.set(
        1,
        Facts {
            hold: Hold::Take,
            ..with_mac(0x51)
        },
    );
    assert_eq!(lan.states(), [Silent, Probing], "asking at once");
    lan.run_to(11_000);
    assert_eq!(lan.states(), [Silent, Announced]);
    lan.set(0, with_mac(0x50));
    assert_eq!(lan.states()[0], Conflict);
    lan.run_to(300_000);
    assert_eq!(
        lan.states(),
        [Conflict, Announced],
        "the lower MAC does not take it back"
    );
}
