//! Which engine lbd runs in tests that do not say: the matrix of engines. `LBD_ENGINE=af_xdp` (or `xdp`)
//! before a test run puts that engine, behind the driver, into every configuration that names none;
//! without it tests run on `af_packet`. `make integration-engines` does that for what no engine may do
//! differently.

use crate::daemon::Daemon;
use crate::wait::wait_for;
use std::process::Command;
use std::time::Duration;

/// An engine of lbd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Raw sockets.
    AfPacket,
    /// AF_XDP sockets beside a raw one.
    AfXdp,
    /// An XDP program before raw sockets.
    Xdp,
}

/// Where engine xdp has its pins in a test.
pub const BPF_DIR: &str = "/run/bpf/lbd";

impl Engine {
    /// The one this run is about.
    ///
    /// # Panics
    /// When `$LBD_ENGINE` is no engine.
    pub fn of_this_run() -> Engine {
        match std::env::var("LBD_ENGINE").as_deref() {
            Err(_) | Ok("" | "af_packet") => Engine::AfPacket,
            Ok("af_xdp") => Engine::AfXdp,
            Ok("xdp") => Engine::Xdp,
            Ok(other) => panic!("LBD_ENGINE={other}: af_packet, af_xdp or xdp"),
        }
    }

    /// As the configuration has it.
    pub fn word(self) -> &'static str {
        match self {
            Engine::AfPacket => "af_packet",
            Engine::AfXdp => "af_xdp",
            Engine::Xdp => "xdp",
        }
    }

    /// Keys of `[lbd]` that it needs in a test, as TOML.
    pub(crate) fn lbd_keys(self) -> Vec<(&'static str, String)> {
        match self {
            Engine::Xdp => vec![("bpf_dir", format!("\"{BPF_DIR}\""))],
            Engine::AfPacket | Engine::AfXdp => Vec::new(),
        }
    }

    /// Keys of `[network]`.
    pub(crate) fn network_keys(self) -> Vec<(&'static str, String)> {
        let mut keys = vec![("engine", format!("\"{}\"", self.word()))];
        if self != Engine::AfPacket {
            keys.push(("xdp_mode", "\"generic\"".to_owned()));
        }
        keys
    }
}

/// Mounts a bpffs of the test's own, once; false, with a word about it, where there can be none.
pub fn bpffs() -> bool {
    std::fs::create_dir_all("/run/bpf").expect("a directory");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc");
    let mounted = mounts.contains(" /run/bpf bpf ")
        || Command::new("mount")
            .args(["-t", "bpf", "bpf", "/run/bpf"])
            .output()
            .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: BPF needs root");
    }
    mounted
}

/// Which engine runs on the first interface, and why it.
///
/// # Panics
/// When `lbctl status` does not say.
pub fn running(lbd: &Daemon) -> (String, String) {
    let status = lbd.status();
    let engine = &status["engines"][0];
    let word = |key: &str| engine[key].as_str().expect(key).to_owned();
    (word("name"), word("reason"))
}

/// Received = sent + passed + drops, over all interfaces, whoever forwarded. Returns what was received and
/// what was sent.
///
/// # Panics
/// When it is not so within 10 s.
pub fn assert_frames_add_up(lbd: &Daemon) -> (f64, f64) {
    let what = "all frames that were received are sent, passed or dropped";
    let (frames, _) = wait_for(what, Duration::from_secs(10), || {
        let metrics = lbd.settled_metrics();
        let value = |name: &str| metrics.value(name, &[]);
        let received = value("lbd_frames_received_total");
        let sent = value("lbd_frames_sent_total");
        // A worker that stands still between the two counts has not told of all it did.
        let told = sent + value("lbd_frames_passed_total") + value("lbd_drops_total");
        if received != told {
            eprintln!("received {received}, told of {told}:\n{}", metrics.text);
        }
        (received == told).then_some((received, sent))
    });
    frames
}
