//! What `doctor` finds.

use serde::{Deserialize, Serialize};

/// The answer to `doctor`: what was looked at, and each thing that is wrong with its fix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    /// Nothing is wrong: no finding is a fault or a warning.
    pub clean: bool,
    /// What is wrong or worth knowing, the worst first.
    pub findings: Vec<FindingView>,
    /// What was looked at.
    pub checks: Vec<CheckDone>,
}

/// What kinds of findings there are.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The kind of a finding. Its word never changes; docs/doctor.md has them all.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The word in JSON and on the screen.
            pub fn word(self) -> &'static str {
                match self {
                    $(Code::$name => $word,)*
                }
            }
        }
    };
}

codes! {
    /// Nobody answers on the control socket.
    NotReachable = "lbd-not-reachable",
    /// The configuration file is bad.
    ConfigBad = "config-bad",
    /// There is no configuration file.
    ConfigMissing = "config-missing",
    /// The file says otherwise than what runs.
    ConfigNotLoaded = "config-not-loaded",
    /// Something runs differently from the file, by command.
    ConfigDrift = "config-drift",
    /// The last good configuration runs.
    LastGoodInUse = "last-good-in-use",
    /// The kernel cannot do all that lbd can use.
    KernelLacks = "kernel-lacks",
    /// lbd does not hold a capability.
    CapabilityMissing = "capability-missing",
    /// `nft` is not there or does not work.
    NftFails = "nft-fails",
    /// The nft table for direct routing is not as it must be.
    GuardMissing = "guard-missing",
    /// An nft table, rule or route of the proxy is missing.
    RulesMissing = "rules-missing",
    /// Another tool removes what lbd puts into the kernel.
    RulesRestored = "rules-restored",
    /// A VIP:port of a proxied service is not listened on.
    NotListening = "not-listening",
    /// This host stands against serving a VIP.
    VipClash = "vip-clash",
    /// This host has a VIP that lbd is to announce always.
    VipOnHost = "vip-on-host",
    /// IPVS has a virtual service at a VIP.
    IpvsHasVip = "ipvs-has-vip",
    /// kube-proxy on this host serves a VIP.
    KubeProxyHasVip = "kube-proxy-has-vip",
    /// An interface of lbd's is not there.
    InterfaceMissing = "interface-missing",
    /// An interface of lbd's is down, or has no carrier.
    InterfaceDown = "interface-down",
    /// A worker has no engine open.
    NotReceiving = "not-receiving",
    /// lbd's interfaces have different MTUs.
    MtuUnequal = "mtu-unequal",
    /// What lies beneath an interface has large receive offload on.
    LroBeneath = "lro-beneath",
    /// A quicker engine could be had.
    EngineSlower = "engine-slower",
    /// The kernel loses frames before lbd sees them.
    RingDrops = "ring-drops",
    /// The flow table is nearly full.
    FlowTableFull = "flow-table-full",
    /// lbd has nearly as many descriptors open as it may.
    DescriptorsLow = "descriptors-low",
    /// Connection tracking is nearly full.
    ConntrackFull = "conntrack-full",
    /// A directory of lbd's has no room.
    DiskFull = "disk-full",
    /// `run_dir` is not in memory.
    RunDirOnDisk = "run-dir-on-disk",
    /// `state_dir` does not outlive a boot.
    StateDirVolatile = "state-dir-volatile",
    /// Strict reverse path filtering with several ways.
    RpFilterStrict = "rp-filter-strict",
    /// This host does not forward.
    IpForwardOff = "ip-forward-off",
    /// Few ports are left towards a real.
    PortsLow = "ports-low",
    /// A real's answers to clients do not come back.
    ReturnPath = "return-path",
    /// Another machine has a VIP, and so lbd does not take it.
    VipConflict = "vip-conflict",
    /// A stranger answers for a VIP that lbd has.
    VipElsewhere = "vip-elsewhere",
    /// A VIP is in no network of lbd's interfaces.
    VipOffSubnet = "vip-off-subnet",
    /// The network, or every real, drops what direct routing sends.
    NetworkForbids = "network-forbids",
    /// A real's MAC is not known.
    NeighbourUnresolved = "neighbour-unresolved",
    /// A real is not on a network of lbd's interfaces.
    NotOnNetwork = "not-on-network",
    /// A real answers for a VIP.
    AnswersForVip = "answers-for-vip",
    /// A real said lately that it has a VIP.
    ClaimedVip = "claimed-vip",
    /// A check along the VIP's path fails.
    VipPath = "vip-path",
    /// Most clients of a real get no answer.
    SynsUnanswered = "syns-unanswered",
    /// Packets of full size do not reach a real.
    MtuDiffers = "mtu-differs",
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// Names the kind of finding, and never changes: `return-path`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `web/rs1`, `eth0`; empty where it is this host as a whole.
    pub about: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What mends it: a command, or what to do.
    pub fix: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients are not served as they should be.
    Fault,
    /// They soon will not be, or some are not.
    Warning,
    /// Good to know; nothing is wrong.
    Note,
}

impl Severity {
    /// Whether something is wrong, and not only good to know.
    pub fn is_wrong(self) -> bool {
        self != Severity::Note
    }

    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Fault => "fault",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDone {
    /// Which: `rules`, `rp_filter`, `return path of web/rs1`.
    pub check: String,
    /// How it went.
    pub result: Checked,
    /// What was seen, or why it was not looked at.
    pub seen: String,
}

/// How looking at something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// All is well.
    Good,
    /// There is a finding.
    Found,
    /// It was not looked at.
    Skipped,
}

impl Checked {
    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Checked::Good => "good",
            Checked::Found => "found",
            Checked::Skipped => "skipped",
        }
    }
}
