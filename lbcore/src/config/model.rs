//! The validated configuration. Only this can be applied; only `validate` makes it.

use crate::health::dns;
use crate::health::kubernetes::ServiceName;
use crate::net::{Addr, MacAddr, Prefix, Protocol, ServiceKey};
use crate::sched;
pub use crate::vip::Announce;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[lbd]`
    pub lbd: Lbd,
    /// `[network]`
    pub network: Network,
    /// `[[service]]`, in file order.
    pub services: Vec<Service>,
}

impl Config {
    /// The service of this configuration that `service` of a later one, `new`, is: the one of its
    /// name, else one whose name is gone and whose VIP and port it has, which is a rename.
    pub fn same_service(&self, service: &Service, new: &Config) -> Option<&Service> {
        let mut before = self.services.iter();
        if let Some(same) = before.find(|before| before.name == service.name) {
            return Some(same);
        }
        let gone = |name: &str| new.services.iter().all(|service| service.name != *name);
        let keys: HashSet<ServiceKey> = service.keys().collect();
        let mut before = self.services.iter();
        before.find(|before| gone(&before.name) && before.keys().any(|key| keys.contains(&key)))
    }
}

/// `[lbd]`: the daemon itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Lbd {
    /// tmpfs: control socket, flow table, the persisted set.
    pub run_dir: PathBuf,
    /// Pins of the xdp engine.
    pub bpf_dir: PathBuf,
    /// Hash key, last good configuration, operators' overrides.
    pub state_dir: PathBuf,
    /// Where metrics and probes of lbd itself are served; `None` is `"off"`.
    pub metrics: Option<SocketAddr>,
    /// Reload when the file changes.
    pub watch: bool,
    /// Changes by lbctl go into the file.
    pub write_back: bool,
    /// Unix group that may change things.
    pub admin_group: String,
    /// Unix group that may look; `None` = everybody who reaches the socket.
    pub read_group: Option<String>,
    /// Whether exec checks are allowed.
    pub allow_exec: bool,
    /// How long proxied connections may finish after SIGTERM.
    pub shutdown_timeout: Duration,
    /// Log filter: `"info"`, or tracing's `target=level` list.
    pub log: String,
    /// `None`: journald when run by systemd, else text.
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object a line.
    Json,
    /// journald's native fields.
    Journald,
}

/// `[network]`: interfaces, engine, table sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Interfaces VIP traffic arrives on; empty only when no service is in mode `dr`.
    pub interfaces: Vec<String>,
    /// Which engine moves frames.
    pub engine: EngineChoice,
    /// Where the XDP program runs.
    pub xdp_mode: XdpMode,
    /// 0 = one per receive queue, at most one per core.
    pub workers: usize,
    /// Capacity of the flow table, all workers together.
    pub flow_entries: usize,
    /// `None`: `hash.key` in `state_dir`.
    pub hash_key_file: Option<PathBuf>,
    /// After carrier-up, check failures change nothing this long.
    pub link_holddown: Duration,
    /// Receive ring of one `af_packet` worker on one interface, in MiB.
    pub ring_mib: usize,
    /// How long an `af_xdp` worker polls the card at a time; zero: it sleeps until a frame comes.
    pub busy_poll: Duration,
}

/// `network.engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// The best that truly works here.
    Auto,
    /// Raw sockets with a memory-mapped receive ring.
    AfPacket,
    /// AF_XDP sockets have plain TCP and UDP for services; raw sockets have the rest.
    AfXdp,
    /// An XDP program decides about plain packets; raw sockets have the rest.
    Xdp,
}

/// `network.xdp_mode`: where the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver where that is right, else in the kernel's receive path.
    Auto,
    /// In the driver.
    Native,
    /// In the kernel's receive path, behind the driver.
    Generic,
}

/// `[[service]]`: a virtual service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Unique name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// One VIP or more; no doubles.
    pub vips: Vec<IpAddr>,
    /// One port or more; no doubles.
    pub ports: Vec<u16>,
    /// Transport.
    pub protocol: Protocol,
    /// How traffic reaches the reals.
    pub mode: Mode,
    /// Who gets a new flow.
    pub scheduler: sched::Kind,
    /// Operator's wish for the whole service.
    pub admin: Admin,
    /// What becomes of flows of a real that died.
    pub on_dead: OnDead,
    /// They stay with it this long first.
    pub dead_grace: Duration,
    /// Draining flows may stay this long; zero = until they end.
    pub drain_timeout: Duration,
    /// Established TCP flows, or UDP flows, are forgotten after this long without a packet.
    pub idle_timeout: Duration,
    /// A real that comes back has its whole weight after this long; zero: at once.
    pub slow_start: Duration,
    /// A real that goes up and down again and again stays down longer each time.
    pub damping: bool,
    /// A real that most clients get no answer from gets no new flows for a while.
    pub passive: bool,
    /// Whether flows are remembered.
    pub track: Track,
    /// Fewer reals up because checks failed: panic. 0 = never.
    pub min_healthy: u32,
    /// Whether lbd answers for the VIPs.
    pub announce: Announce,
    /// Real of last resort.
    pub sorry: Option<IpAddr>,
    /// `[service.proxy]`; its defaults where it is not written or the mode is another.
    pub proxy: Proxy,
    /// A real is up when all pass; empty = unchecked.
    pub checks: Vec<Check>,
    /// In file order.
    pub reals: Vec<Real>,
}

/// `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Direct routing: only the two MAC addresses of a frame change.
    Dr,
    /// Transparent proxy: lbd ends the client's connection and dials the real itself.
    Tproxy,
}

impl Mode {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Dr => "dr",
            Mode::Tproxy => "tproxy",
        }
    }
}

/// `[service.proxy]`: how a tproxy service speaks to its clients and its reals.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The address reals are dialled from.
    pub source: Source,
    /// Tells the real the client's address.
    pub send_proxy: SendProxy,
    /// Clients (balancers in front of us) begin with a PROXY protocol header.
    pub accept_proxy: bool,
    /// From whom such a header is believed; empty unless `accept_proxy`.
    pub trusted_sources: Vec<Prefix>,
    /// A real that takes longer to accept is given up.
    pub connect_timeout: Duration,
    /// Other reals tried before the client is refused.
    pub retries: u32,
    /// Connections, or udp sessions, at once; 0 = no bound of its own.
    pub max_connections: u32,
    /// Connections, or udp sessions, of one client address at once; 0 = no bound.
    pub max_connections_per_source: u32,
}

/// `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The real sees the client's own address.
    Client,
    /// The real sees this host's.
    OwnAddress,
}

impl Source {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Source::Client => "client",
            Source::OwnAddress => "self",
        }
    }
}

/// `send_proxy`: the PROXY protocol's version (HAProxy, proxy-protocol.txt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendProxy {
    /// No header.
    Off,
    /// A line of text; tcp only.
    V1,
    /// Binary.
    V2,
}

impl SendProxy {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            SendProxy::Off => "off",
            SendProxy::V1 => "v1",
            SendProxy::V2 => "v2",
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Proxy {
            source: Source::Client,
            send_proxy: SendProxy::Off,
            accept_proxy: false,
            trusted_sources: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            retries: 2,
            max_connections: 0,
            max_connections_per_source: 0,
        }
    }
}

/// `admin` of a service or a real: the operator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// Takes part.
    #[default]
    Enabled,
    /// No new flows; old ones finish.
    Drain,
    /// Its flows are treated as after its death, at once.
    Disabled,
}

impl Admin {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Admin::Enabled => "enabled",
            Admin::Drain => "drain",
            Admin::Disabled => "disabled",
        }
    }
}

/// `on_dead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDead {
    /// Another real gets the flow; it resets it, and the client knows.
    Rehash,
    /// The flow stays with the dead real.
    Keep,
    /// Its packets are dropped.
    Drop,
}

/// `track`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// Every flow is remembered.
    Flows,
    /// Each packet is decided alone, by the ring.
    None,
    /// As without memory while the set is unchanged; after a change the flows that begin on slots of the
    /// ring that moved are remembered, and older ones go on where they went.
    Changes,
}

/// `[[service.check]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Which way the probe travels.
    pub via: Via,
    /// The address probes come from.
    pub source: Option<IpAddr>,
    /// `None`: the port traffic goes to (the first, where the service has several).
    pub port: Option<u16>,
    /// Between probes of a settled real that is up.
    pub interval: Duration,
    /// Between probes while in transition.
    pub fast_interval: Duration,
    /// Between probes of a settled real that is down.
    pub down_interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// Passes in a row that bring a real up.
    pub rise: NonZeroU32,
    /// Failures in a row that take it down.
    pub fall: NonZeroU32,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// A connection opens.
    Tcp,
    /// A request is answered as expected.
    Http(HttpCheck),
    /// The same over TLS.
    Https(HttpCheck, TlsCheck),
    /// A datagram is not refused, or is answered as expected.
    Udp(UdpCheck),
    /// An echo is answered.
    Icmp,
    /// A name server answers a question.
    Dns(DnsCheck),
    /// A gRPC server says that it serves.
    Grpc(GrpcCheck),
    /// A program ends with 0.
    Exec(ExecCheck),
    /// A node has pods for a Kubernetes Service.
    Kubernetes(KubernetesCheck),
}

impl Service {
    /// Every VIP:port/protocol it answers for, in file order.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> + '_ {
        let of = move |vip: &IpAddr| {
            let vip = Addr::from(*vip);
            self.ports.iter().map(move |port| ServiceKey {
                vip,
                port: *port,
                protocol: self.protocol,
            })
        };
        self.vips.iter().flat_map(of)
    }

    /// What becomes of counts of endpoints: as its first `kubernetes` check says.
    pub fn node_weight(&self) -> NodeWeight {
        let of = |check: &Check| match &check.kind {
            CheckKind::Kubernetes(check) => Some(check.weight),
            _ => None,
        };
        self.checks
            .iter()
            .find_map(of)
            .unwrap_or(NodeWeight::Static)
    }
}

impl Service {
    /// Every place it may send flows to: its reals' and its sorry server's.
    pub fn places(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let sorry = self.sorry.map(|address| SocketAddr::new(address, 0));
        self.reals.iter().map(Real::place).chain(sorry)
    }
}

impl CheckKind {
    /// What carries it to a port of the real; `None` where no port is asked, or a machine and not
    /// its service.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            CheckKind::Tcp | CheckKind::Http(_) | CheckKind::Https(..) | CheckKind::Grpc(_) => {
                Some(Protocol::Tcp)
            }
            CheckKind::Udp(_) | CheckKind::Dns(_) => Some(Protocol::Udp),
            CheckKind::Icmp | CheckKind::Exec(_) | CheckKind::Kubernetes(_) => None,
        }
    }

    /// The word for it in the configuration, in views and in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            CheckKind::Tcp => "tcp",
            CheckKind::Http(_) => "http",
            CheckKind::Https(..) => "https",
            CheckKind::Udp(_) => "udp",
            CheckKind::Icmp => "icmp",
            CheckKind::Dns(_) => "dns",
            CheckKind::Grpc(_) => "grpc",
            CheckKind::Exec(_) => "exec",
            CheckKind::Kubernetes(_) => "kubernetes",
        }
    }
}

/// Keys of an `http` check.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCheck {
    /// Request method.
    pub method: String,
    /// Request target.
    pub path: String,
    /// `Host`; `None`: the address asked.
    pub host: Option<String>,
    /// Accepted status codes, as inclusive ranges; never empty.
    pub expect: Vec<(u16, u16)>,
    /// The answer's body must contain this.
    pub body: Option<String>,
    /// Further request headers.
    pub headers: BTreeMap<String, String>,
}

/// What an `https` check has beside an `http` check.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsCheck {
    /// Server name; `None`: that of `host`, else the address asked.
    pub sni: Option<String>,
    /// Whether the certificate has to be good.
    pub verify: bool,
    /// Trusted instead of what this host trusts.
    pub ca_file: Option<PathBuf>,
}

/// Keys of a `udp` check.
#[derive(Clone, Debug, PartialEq)]
pub struct UdpCheck {
    /// The datagram.
    pub send: String,
    /// The answer must contain this; `None`: silence passes as well.
    pub expect: Option<String>,
}

/// Keys of a `dns` check.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsCheck {
    /// The name asked for.
    pub query: String,
    /// What of it.
    pub record: dns::Record,
}

/// Keys of a `grpc` check.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcCheck {
    /// Name of the service; empty: the whole server.
    pub service: String,
}

/// Keys of an `exec` check.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecCheck {
    /// The program's absolute path, and its arguments.
    pub command: Vec<String>,
}

/// Keys of a `kubernetes` check.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesCheck {
    /// Request target.
    pub path: String,
    /// The Service the port should speak for; `None`: any, or kube-proxy itself.
    pub service: Option<ServiceName>,
    /// What becomes of the count of endpoints.
    pub weight: NodeWeight,
}

/// `weight` of a `kubernetes` check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeWeight {
    /// It is the real's weight.
    Endpoints,
    /// It is shown, and the configured weight stays in force.
    Observe,
    /// It is ignored.
    Static,
}

/// Which way a probe travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// To the real's own address.
    Real,
    /// The path of direct routing: to the VIP, in frames to this real's MAC.
    Vip,
    /// To the real's own address, from an address that is not this host's: as a client's connection is dialled.
    Client,
}

/// `[[service.real]]`: a machine that answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Real {
    /// Unique in its service; the address by default.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Its own address.
    pub address: IpAddr,
    /// The port it is dialled at; `None`: the one the client dialled. Mode tproxy only.
    pub port: Option<u16>,
    /// 0-256; 0 = no new flows.
    pub weight: u16,
    /// Operator's wish.
    pub admin: Admin,
    /// Pinned MAC.
    pub mac: Option<MacAddr>,
    /// Where it is reached; `None`: by route.
    pub interface: Option<String>,
    /// Serves only when no other real is up.
    pub backup: bool,
    /// Connections, or udp sessions, at once; 0 = no bound. Mode tproxy only.
    pub max_connections: u32,
}

impl Real {
    /// What tells it from other reals of its service, across reloads and between peers: its
    /// address, and its port where it has one of its own (else 0).
    pub fn place(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(0))
    }
}
