//! lbd as its unit runs it: a user of its own, and the capabilities the drop-in for XDP gives.

use crate::cores;
use crate::plan::{TCP_PORT, UDP_PORT};
use crate::wire::{Wire, real, real_mac, real6};
use anyhow::{Context, ensure};
use aya::programs::ProgramFd;
use aya::programs::links::{FdLink, PinnedLink};
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::{Answer, Daemon, binary};
use integration::netns::run;
use integration::topology::VIP6;
use integration::wait_until;
use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Nobody's.
const USER: u32 = 65_534;

/// As systemd/lbd-xdp.conf has them: net_raw, net_admin, perfmon (38), bpf (39).
const CAPABILITIES: &str = "-all,+net_raw,+net_admin,+cap_38,+cap_39";

/// Where the benchmark mounts a bpffs of its own.
pub const BPFFS: &str = "/run/bpf";

const SOON: Duration = Duration::from_secs(30);

/// The engine, as the configuration says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// XDP in the driver.
    Native,
    /// XDP behind the driver.
    Generic,
    /// AF_XDP sockets in the driver, by copy.
    AfXdp,
    /// Raw sockets.
    AfPacket,
}

/// Capacity of lbd's flow table where nothing is configured.
pub const DEFAULT_ENTRIES: u64 = 1 << 20;

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The engine.
    pub engine: Engine,
    /// Services over UDP, one port each; there is one over TCP, and both in IPv6, too.
    pub services: u16,
    /// Reals of each.
    pub reals: u16,
    /// Capacity of the flow table.
    pub flow_entries: u64,
    /// TCP flows are remembered only while a service's set changes.
    pub track_changes: bool,
}

impl Setup {
    /// One service with ten reals.
    pub fn new(engine: Engine, flow_entries: u64) -> Setup {
        Setup {
            engine,
            services: 1,
            reals: 10,
            flow_entries,
            track_changes: false,
        }
    }

    /// The file; all weights are 1 in edition 0, and from then on change with every edition.
    pub fn conf(&self, bpf_dir: &Path, edition: u16) -> Conf {
        let engine = match self.engine {
            Engine::Native | Engine::Generic => "xdp",
            Engine::AfXdp => "af_xdp",
            Engine::AfPacket => "af_packet",
        };
        let mut conf = Conf::default()
            .lbd("bpf_dir", &format!("\"{}\"", bpf_dir.display()))
            .network("engine", &format!("\"{engine}\""))
            .network("flow_entries", &self.flow_entries.to_string())
            .network("workers", "1");
        match self.engine {
            // As what they are measured against; lbd would keep out of a veth's driver by itself.
            Engine::Native | Engine::AfXdp => conf = conf.network("xdp_mode", "\"native\""),
            Engine::Generic => conf = conf.network("xdp_mode", "\"generic\""),
            Engine::AfPacket => {}
        }
        for n in 0..self.services {
            let service = ServiceConf::udp(&format!("udp{n}"), UDP_PORT + n);
            conf = conf.service(self.with_reals(service, edition, false));
        }
        let vip6 = format!("\"{VIP6}\"");
        let mut tcp = ServiceConf::tcp("tcp", TCP_PORT);
        if self.track_changes {
            tcp = tcp.with("track", "\"changes\"");
        }
        for (service, v6) in [
            (tcp, false),
            (
                ServiceConf::udp("udp-v6", UDP_PORT).with("vip", &vip6),
                true,
            ),
            (
                ServiceConf::tcp("tcp-v6", TCP_PORT).with("vip", &vip6),
                true,
            ),
        ] {
            conf = conf.service(self.with_reals(service, edition, v6));
        }
        conf
    }

    fn with_reals(&self, service: ServiceConf, edition: u16, v6: bool) -> ServiceConf {
        (1..=self.reals).fold(service, |service, n| {
            let name = format!("rs{n}");
            let conf = if v6 {
                RealConf::new(&name, real6(n))
            } else {
                RealConf::new(&name, real(n))
            };
            let weight = match edition {
                0 => 1,
                _ => 1 + (n + edition) % 2,
            };
            service.real(
                conf.with("mac", &format!("\"{}\"", real_mac(n)))
                    .with("weight", &weight.to_string()),
            )
        })
    }
}

/// lbd at the balancer's end of a wire; it ends with this value.
pub struct Lbd {
    daemon: Daemon,
    child: Child,
    setup: Setup,
    bpf_dir: PathBuf,
    ifindex: u32,
}

impl Lbd {
    /// Starts it on the balancer's core and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    ///
    /// # Panics
    /// When it does not become ready; with its log.
    pub fn start(wire: &Wire, setup: Setup) -> anyhow::Result<Lbd> {
        let bpf_dir = Path::new(BPFFS).join(wire.lb.name());
        std::fs::create_dir_all(&bpf_dir)?;
        let daemon = Daemon::prepare(&wire.lb, &setup.conf(&bpf_dir, 0));
        // The build's directory may be closed to others.
        let program = daemon.dir().join("lbd");
        std::fs::copy(binary("lbd"), &program)?;
        let log = File::create(daemon.dir().join("lbd.log"))?;
        let (user, group) = (Some(USER), Some(USER));
        chown(&bpf_dir, user, group)?;
        chown(daemon.dir(), user, group)?;
        for entry in std::fs::read_dir(daemon.dir())? {
            chown(entry?.path(), user, group)?;
        }
        let mut command = wire.lb.command("setpriv");
        command
            .args([format!("--reuid={USER}"), format!("--regid={USER}")])
            .arg("--clear-groups");
        // In place of the drop-in's LimitMEMLOCK: not every root may raise limits.
        let lock = match setup.engine {
            Engine::AfXdp => ",+ipc_lock",
            Engine::Native | Engine::Generic | Engine::AfPacket => "",
        };
        for set in ["inh-caps", "ambient-caps", "bounding-set"] {
            command.arg(format!("--{set}={CAPABILITIES}{lock}"));
        }
        command
            .arg("--")
            .arg(&program)
            .arg("--config")
            .arg(daemon.config_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = cores::on(cores::BALANCER, || command.spawn()).context("setpriv")?;
        let mut lbd = Lbd {
            daemon,
            child,
            setup,
            bpf_dir,
            ifindex: wire.lb_index,
        };
        lbd.wait_ready()?;
        Ok(lbd)
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let Lbd { daemon, child, .. } = self;
        let mut ended = None;
        wait_until("lbd is ready", SOON, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || daemon.try_status().is_some_and(|s| s["ready"] == true)
        });
        if let Some(status) = ended {
            let log = self.daemon.log();
            let error = log.lines().find(|line| line.contains("error"));
            anyhow::bail!("lbd ended ({status}): {}", error.unwrap_or(&log));
        }
        self.daemon.wait_announced();
        Ok(())
    }

    /// What `lbctl status` calls its engine, and why.
    pub fn engine(&self) -> String {
        let engine = &self.daemon.status()["engines"][0];
        let word = |key: &str| engine[key].as_str().unwrap_or_default().to_owned();
        format!("{} ({})", word("name"), word("reason"))
    }

    /// `lbctl`, at its socket.
    pub fn ctl(&self, args: &[&str]) -> Answer {
        self.daemon.ctl(args)
    }

    /// Writes its file anew; it is not told.
    pub fn write(&self, edition: u16) {
        self.daemon.write(&self.setup.conf(&self.bpf_dir, edition));
    }

    /// Packets it has forwarded.
    pub fn packets(&self) -> u64 {
        let status = self.daemon.status();
        let services = status["services"].as_array().cloned().unwrap_or_default();
        services
            .iter()
            .filter_map(|service| service["packets"].as_u64())
            .sum()
    }

    /// Its XDP program, by the link it has pinned.
    ///
    /// # Errors
    /// When there is none.
    pub fn program(&self) -> anyhow::Result<ProgramFd> {
        let mode = match self.setup.engine {
            Engine::Generic => "generic",
            _ => "native",
        };
        let pin = self.bpf_dir.join(format!("link-{}-{mode}", self.ifindex));
        let link = PinnedLink::from_pin(&pin).with_context(|| pin.display().to_string())?;
        let id = FdLink::from(link).info()?.program_id();
        let mut programs = aya::programs::loaded_programs().filter_map(Result::ok);
        let program = programs.find(|program| program.id() == id);
        Ok(program.context("its program is gone")?.fd()?)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Lbd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its programs would go on.
        if let Ok(pins) = std::fs::read_dir(&self.bpf_dir) {
            pins.flatten().for_each(|pin| {
                let _ = std::fs::remove_file(pin.path());
            });
        }
        if std::thread::panicking() {
            eprintln!("--- lbd's log\n{}---", self.daemon.log());
        }
    }
}

/// Mounts the bpffs that pins live in, in this process's own mounts.
///
/// # Errors
/// When it cannot: BPF needs root outside of any user namespace.
pub fn mount_bpffs() -> anyhow::Result<()> {
    std::fs::create_dir_all(BPFFS)?;
    let output = Command::new("mount")
        .args(["-t", "bpf", "bpf", BPFFS])
        .output()?;
    ensure!(
        output.status.success(),
        "no bpffs, and BPF is not for user namespaces: be root ({})",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    run(Command::new("chmod").args(["755", BPFFS]));
    Ok(())
}
