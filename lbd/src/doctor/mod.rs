//! The doctor: what is wrong with this host, the network and the reals, each finding with why it
//! matters and what mends it.
//!
//! It reads, asks the kernel and the network, and dials and pings reals; it changes nothing. [`host`]
//! reads facts, [`judge`] makes findings of them, [`return_path`] dials reals of proxied services;
//! [`direct`] looks at reals of services in mode dr, [`here`] at this host whatever the mode. What
//! needs no lbd that runs is looked at by [`examine_host`] as well.

mod direct;
mod here;
mod host;
mod judge;
mod return_path;

pub use direct::{DirectPlan, HeldVip, Machine, VipPath};
pub use here::{FileState, HostPlan, Running};

use crate::intercept::{self, InterceptPlan};
use crate::live::event::Link;
use crate::sys::capability;
use lbcore::api::{CheckDone, Checked, Code, DoctorView, FindingView, Severity};
use lbcore::config::Mode;
use lbcore::net::Protocol;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the doctor is to look at, and what is known already.
#[derive(Clone, Debug, Default)]
pub struct DoctorPlan {
    /// This host, whatever the modes.
    pub host: Option<HostPlan>,
    /// Reals of services in mode tproxy, each (service, real) pair once.
    pub reals: Vec<Patient>,
    /// Where clients dial them: of another family than their reals where a PROXY header tells.
    pub vips: Vec<IpAddr>,
    /// Services in mode dr.
    pub direct: DirectPlan,
    /// The file of the configuration in force.
    pub config: PathBuf,
    /// What is to reach lbd's sockets.
    pub intercept: InterceptPlan,
    /// Rules that another tool removed and lbd put back since it started.
    pub restored: u64,
    /// What is wrong with listeners and rules, in words, as the rooms themselves say.
    pub trouble: Vec<String>,
    /// Dial as if from here, whoever was seen.
    pub client: Option<IpAddr>,
    /// Clients seen, the latest first.
    pub seen: Vec<IpAddr>,
    /// Connections that ended because no port was left.
    pub no_ports: u64,
    /// The most connections one source address has to one real, and which; where it matters.
    pub busiest: Option<Busiest>,
    /// Reals in mode dr that most clients get no answer from: which, in figures.
    pub silent_to_clients: Vec<(String, String)>,
    /// This host's interfaces.
    pub links: Arc<Vec<Link>>,
}

impl DoctorPlan {
    fn speaks_v4(&self) -> bool {
        let mut reals = self.reals.iter();
        self.vips.iter().any(IpAddr::is_ipv4) || reals.any(|real| real.at.is_ipv4())
    }
}

/// A real to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patient {
    /// `web/rs1`.
    pub name: String,
    /// How it is reached.
    pub protocol: Protocol,
    /// Where it is dialled.
    pub at: SocketAddr,
    /// It is dialled from clients' addresses.
    pub borrowed: bool,
    /// The operator took it out.
    pub disabled: bool,
}

/// One source address and one real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busiest {
    /// `web/rs1`.
    pub real: String,
    /// Connections between the two.
    pub connections: u64,
}

/// What was found and looked at so far.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<FindingView>,
    checks: Vec<CheckDone>,
}

impl Report {
    fn done(&mut self, check: &str, result: Checked, seen: impl Into<String>) {
        self.checks.push(CheckDone {
            check: check.to_owned(),
            result,
            seen: seen.into(),
        });
    }

    fn good(&mut self, check: &str, seen: impl Into<String>) {
        self.done(check, Checked::Good, seen);
    }

    fn skipped(&mut self, check: &str, why: impl Into<String>) {
        self.done(check, Checked::Skipped, why);
    }

    fn found(&mut self, check: &str, finding: FindingView) {
        self.done(check, Checked::Found, finding.seen.clone());
        self.findings.push(finding);
    }

    fn absorb(&mut self, other: Report) {
        self.findings.extend(other.findings);
        self.checks.extend(other.checks);
    }
}

/// Looks at everything. Takes as long as silent reals make it, some seconds at most.
pub async fn examine(plan: DoctorPlan) -> DoctorView {
    let mut report = Report::default();
    judge::capability(capability::missing(), &mut report);
    judge::silent_to_clients(&plan.silent_to_clients, &mut report);
    let direct = direct::examine(&plan.direct, &plan.silent_to_clients, &plan.links);
    let (here, proxied, direct) = tokio::join!(here(&plan), proxied(&plan), direct);
    report.absorb(here);
    report.absorb(proxied);
    report.absorb(direct);
    view(report)
}

async fn here(plan: &DoctorPlan) -> Report {
    match &plan.host {
        Some(host) => here::examine(host, &plan.links).await,
        None => Report::default(),
    }
}

/// Looks at this host alone, for an lbd that does not run.
pub async fn examine_host(plan: HostPlan) -> DoctorView {
    let links = crate::link::snapshot().await;
    let mut report = match &links {
        Ok(links) => here::examine(&plan, links).await,
        Err(error) => {
            let mut report = Report::default();
            report.skipped("interfaces", format!("they cannot be read: {error}"));
            report
        }
    };
    let proxied = plan.config.services.iter().any(|s| s.mode == Mode::Tproxy);
    if let (Ok(links), true) = (&links, proxied) {
        judge::rp_filter(&host::rp_filter(links), &mut report);
    }
    view(report)
}

/// A file that is refused is all there is to say.
pub fn refused(reason: String, file: &Path) -> DoctorView {
    let mut report = Report::default();
    let name = file.display();
    let (code, fix) = match file.exists() {
        true => (Code::ConfigBad, format!("lbctl config check {name}")),
        false => (
            Code::ConfigMissing,
            format!("write one (a sample with every key: /usr/share/doc/lbd/lbd.toml) to {name}"),
        ),
    };
    let why =
        "lbd does not start without a good file, unless it finds the last good one in state_dir";
    let found = judge::finding(code, Severity::Fault, "", reason, why, fix);
    report.found("configuration file", found);
    view(report)
}

async fn proxied(plan: &DoctorPlan) -> Report {
    let mut report = Report::default();
    if plan.reals.is_empty() && plan.vips.is_empty() {
        report.skipped("proxy", "no service in mode tproxy");
        return report;
    }
    let missing = intercept::check(&plan.intercept).await;
    let missing = missing.map_err(|error| error.to_string());
    judge::rules(&missing, plan, &mut report);
    judge::trouble(&plan.trouble, &mut report);
    if plan.speaks_v4() {
        judge::rp_filter(&host::rp_filter(&plan.links), &mut report);
    }
    let forwarding = host::forwarding();
    judge::forwarding(plan, &forwarding, &mut report);
    judge::ports(plan, host::port_range(), &mut report);
    let whole = missing.is_ok_and(|missing| missing.is_empty());
    return_path::probe(plan, whole, &mut report).await;
    report
}

fn view(mut report: Report) -> DoctorView {
    report.findings.sort_by_key(|finding| finding.severity);
    DoctorView {
        clean: report.findings.iter().all(|f| !f.severity.is_wrong()),
        findings: report.findings,
        checks: report.checks,
    }
}

#[cfg(test)]
mod tests;
