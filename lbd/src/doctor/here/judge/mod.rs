//! Facts in, findings out: here of the kernel, `nft` and tables that fill; [`links`], [`vips`] and
//! [`files`] have the rest.

mod files;
mod links;
mod speed;
mod vips;

pub(super) use files::{configuration, run_dir, state_dir};
pub(super) use links::{interface, lro, mtus, queues, ring_drops};
pub(super) use speed::engine;
pub(super) use vips::{clashes, ipvs, kube_proxy, vips_on_host};

use crate::doctor::Report;
use crate::doctor::judge::finding;
use crate::kernel::Lack;
use crate::nft::NftError;
use lbcore::api::{Code, FindingView, Severity};

/// From this share on a table is nearly full.
const NEARLY_PERCENT: u64 = 80;

pub(super) fn kernel(release: &str, lacks: &[Lack], report: &mut Report) {
    if lacks.is_empty() {
        return report.good("kernel", format!("{release} has all that is used"));
    }
    for lack in lacks {
        let severity = if lack.vital {
            Severity::Fault
        } else {
            Severity::Note
        };
        let found = finding(
            Code::KernelLacks,
            severity,
            "",
            format!("kernel {release} lacks {} ({})", lack.what, lack.since),
            lack.effect,
            "a newer kernel; docs/kernels.md says which has what".to_owned(),
        );
        report.found("kernel", found);
    }
}

fn nft_fails(error: &NftError) -> FindingView {
    finding(
        Code::NftFails,
        Severity::Fault,
        "",
        error.to_string(),
        "lbd keeps its rules in the kernel by `nft`; without them no VIP is announced",
        "apt-get install nftables; then: nft list tables".to_owned(),
    )
}

/// Without an lbd that runs: does `nft` work at all? Who may not ask learns nothing.
pub(super) fn nft(listed: &Result<Option<String>, NftError>, report: &mut Report) {
    match listed {
        Ok(_) => report.good("nft", "it works"),
        Err(NftError::NotPermitted(words)) => report.skipped("nft", words.as_str()),
        Err(error) => report.found("nft", nft_fails(error)),
    }
}

/// What the table for direct routing lacks.
pub(super) fn guard(missing: &Result<Vec<String>, NftError>, report: &mut Report) {
    let check = "guard";
    let missing = match missing {
        Ok(missing) => missing,
        Err(error) => return report.found(check, nft_fails(error)),
    };
    if missing.is_empty() {
        return report.good(
            check,
            "this host's own stack is silent about VIPs in mode dr",
        );
    }
    let found = finding(
        Code::GuardMissing,
        Severity::Fault,
        "",
        format!("the kernel lacks {}", missing.join(", ")),
        "this host itself answers what lbd forwards to real servers: clients are reset",
        "lbd puts it back within 5 s; if it does not: journalctl -u lbd -n 50; what else changes \
         nftables here: nft monitor"
            .to_owned(),
    );
    report.found(check, found);
}

/// Connection tracking sees what is proxied, and all else of this host.
pub(super) fn conntrack(seen: Option<(u64, u64)>, report: &mut Report) {
    let check = "conntrack";
    let Some((count, max)) = seen else {
        return report.good(check, "it is not in use");
    };
    let seen = format!("{count} of {max} entries");
    if max == 0 || count * 100 < max * NEARLY_PERCENT {
        return report.good(check, seen);
    }
    let found = finding(
        Code::ConntrackFull,
        Severity::Warning,
        "",
        seen,
        "when it is full the kernel drops every new connection of this host: proxied ones, checks, \
         and logins",
        format!("sysctl -w net.netfilter.nf_conntrack_max={}", max * 2),
    );
    report.found(check, found);
}

pub(super) fn flow_table(entries: usize, capacity: usize, report: &mut Report) {
    let check = "flow table";
    let seen = format!("{entries} of {capacity} flows");
    if (entries as u64) * 100 < (capacity as u64) * NEARLY_PERCENT {
        return report.good(check, seen);
    }
    let found = finding(
        Code::FlowTableFull,
        Severity::Warning,
        "",
        seen,
        "when it is full new flows are not remembered: they move when the set of servers changes",
        format!(
            "flow_entries = {} in [network] (80 bytes each), then: systemctl restart lbd",
            capacity * 2
        ),
    );
    report.found(check, found);
}

pub(super) fn descriptors(seen: Option<(u64, u64)>, report: &mut Report) {
    let check = "descriptors";
    let Some((open, limit)) = seen else {
        return report.skipped(check, "they cannot be counted");
    };
    let seen = format!("{open} open, of {limit}");
    if limit == 0 || open * 100 < limit * NEARLY_PERCENT {
        return report.good(check, seen);
    }
    let found = finding(
        Code::DescriptorsLow,
        Severity::Warning,
        "",
        seen,
        "a proxied connection takes two; when none is left clients wait in the listen queue",
        format!(
            "LimitNOFILE={} for lbd.service (systemctl edit lbd), then: systemctl restart lbd",
            limit * 2
        ),
    );
    report.found(check, found);
}
