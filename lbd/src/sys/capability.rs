//! Which capabilities this process holds.

use std::fs;

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// The name of a capability lbd needs and does not hold, if there is one; read from
/// `/proc/self/status` (proc(5), CapEff). Where that cannot be read nothing is missing: the call
/// that needs it will say so.
pub fn missing() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(line.trim(), 16).ok()?;
    [
        (CAP_NET_RAW, "CAP_NET_RAW"),
        (CAP_NET_ADMIN, "CAP_NET_ADMIN"),
    ]
    .into_iter()
    .find(|(bit, _)| held & (1 << bit) == 0)
    .map(|(_, name)| name)
}
