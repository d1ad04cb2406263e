//! Who takes part: started on the proxy's core, ended when dropped.

use crate::network::{Network, REAL, VIP, direct};
use crate::process::{PROXY_CORE, spawned_on};
use anyhow::{Context, bail, ensure};
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// One that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contender {
    /// HAProxy with splice: the one lbd is compared with.
    Haproxy,
    /// HAProxy without splice: quicker with short exchanges, dearer with bulk.
    HaproxyCopy,
    /// lbd.
    Lbd,
    /// No proxy at all: the balancer forwards packets between client and server.
    Direct,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contender::Haproxy => "HAProxy",
            Contender::HaproxyCopy => "HAProxy, no splice",
            Contender::Lbd => "lbd",
            Contender::Direct => "no proxy",
        })
    }
}

impl FromStr for Contender {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Contender> {
        Ok(match name {
            "haproxy" => Contender::Haproxy,
            "haproxy-copy" => Contender::HaproxyCopy,
            "lbd" => Contender::Lbd,
            other => bail!("{other:?} is none of haproxy, haproxy-copy, lbd"),
        })
    }
}

/// A contender that answers.
pub struct Running {
    address: SocketAddr,
    process: Process,
}

enum Process {
    Haproxy { child: Child, _dir: TempDir },
    Lbd(Daemon),
    None,
}

/// It must answer within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Where HAProxy listens; a rule brings it what is for the VIP.
const HAPROXY_PORT: u16 = 50_080;

impl Running {
    /// Starts it and waits for its first answer.
    ///
    /// # Errors
    /// When it cannot be started or does not answer.
    pub fn start(contender: Contender, net: &Network) -> anyhow::Result<Running> {
        let process = match contender {
            Contender::Haproxy => haproxy(net, true)?,
            Contender::HaproxyCopy => haproxy(net, false)?,
            Contender::Lbd => {
                let mut lbd = Daemon::prepare(&net.balancer, &lbd_conf());
                spawned_on(PROXY_CORE, || lbd.spawn())?;
                lbd.wait_ready();
                Process::Lbd(lbd)
            }
            Contender::Direct => Process::None,
        };
        let address = match contender {
            Contender::Direct => direct(),
            _ => VIP.into(),
        };
        let running = Running { address, process };
        running.wait_answers(net)?;
        Ok(running)
    }

    /// What clients dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process, where there is one.
    pub fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::Haproxy { child, .. } => Some(child.id()),
            Process::Lbd(lbd) => Some(lbd.pid()),
            Process::None => None,
        }
    }

    fn wait_answers(&self, net: &Network) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let answer = net.client.run(|| request(self.address));
            match answer {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > ANSWERS_WITHIN => {
                    return Err(error).context("no answer through it");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Process::Haproxy { child, .. } = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One request on a new connection, which is returned.
///
/// # Errors
/// When there is no right answer within a second.
pub fn request(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = [0; 256];
    let n = stream.read(&mut answer)?;
    ensure!(answer[..n].starts_with(b"HTTP/1.1 200"), "a wrong answer");
    Ok(stream)
}

fn lbd_conf() -> Conf {
    Conf::one(
        ServiceConf::tcp("web", VIP.port())
            .with("mode", "\"tproxy\"")
            .real(RealConf::new("rs1", *REAL.ip()).with("port", &REAL.port().to_string())),
    )
    .network("workers", "1")
}

/// HAProxy doing the same job. Idle time-outs are out of the way; descriptors, connections and
/// pipes are as many as fit into 20,000.
fn haproxy(net: &Network, splice: bool) -> anyhow::Result<Process> {
    let splice = if splice {
        "option splice-request\n    option splice-response"
    } else {
        "no option splice-auto"
    };
    let config = format!(
        "global
    nbthread 1
    maxconn 6000
    maxpipes 2000
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    {splice}
listen web
    bind 0.0.0.0:{HAPROXY_PORT} transparent
    source 0.0.0.0 usesrc clientip
    server rs1 {REAL}
"
    );
    let dir = tempfile::tempdir_in("/run")?;
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, config)?;
    net.intercept(HAPROXY_PORT);
    let mut command = net.balancer.command("haproxy");
    command
        .args(["-q", "-db", "-f"])
        .arg(&file)
        .stdin(Stdio::null());
    let child = spawned_on(PROXY_CORE, || command.spawn())?.context("haproxy")?;
    Ok(Process::Haproxy { child, _dir: dir })
}
