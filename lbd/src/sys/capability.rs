//! Which capabilities this process holds.

use std::fs;

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
#[cfg(feature = "xdp")]
const CAP_PERFMON: u32 = 38;
#[cfg(feature = "xdp")]
const CAP_BPF: u32 = 39;

/// The name of a capability lbd needs and does not hold, if there is one; read from
/// `/proc/self/status` (proc(5), CapEff). Where that cannot be read nothing is missing: the call
/// that needs it will say so.
pub fn missing() -> Option<&'static str> {
    missing_of(&[
        (CAP_NET_RAW, "CAP_NET_RAW"),
        (CAP_NET_ADMIN, "CAP_NET_ADMIN"),
    ])
}

/// The same of what the XDP engine needs beside that (Linux 5.8 and later). Without CAP_PERFMON the
/// verifier adds masking that costs time.
#[cfg(feature = "xdp")]
pub fn missing_for_bpf() -> Option<&'static str> {
    missing_of(&[(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")])
}

fn missing_of(needed: &[(u32, &'static str)]) -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(line.trim(), 16).ok()?;
    needed
        .iter()
        .find(|(bit, _)| held & (1 << bit) == 0)
        .map(|(_, name)| *name)
}
