//! What the kernel says of this process (proc(5)). A value that cannot be read is left out.

use std::fs;

/// Clock ticks a second in /proc (USER_HZ): part of the kernel's interface, 100 on every
/// architecture we build for.
const USER_HZ: f64 = 100.0;

/// CPU time used, user and system, in seconds.
pub fn cpu_seconds() -> Option<f64> {
    cpu_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Fields 14 and 15 of /proc/pid/stat; the name in field 2 may hold spaces and parentheses.
fn cpu_of(stat: &str) -> Option<f64> {
    let after_name = stat.get(stat.rfind(')')? + 1..)?;
    let mut from_utime = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || from_utime.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / USER_HZ)
}

/// Memory in RAM, in bytes.
pub fn resident_bytes() -> Option<f64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Mapped address space, in bytes.
pub fn virtual_bytes() -> Option<f64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmSize:")
}

fn kilobytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

/// Open file descriptors.
pub fn open_fds() -> Option<f64> {
    // Reading the directory has one open itself.
    Some(
        fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1) as f64,
    )
}

/// How many file descriptors may be open (the soft limit).
pub fn max_fds() -> Option<f64> {
    fds_of(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn fds_of(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_the_kernel_writes_it() {
        let stat = "7 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 150 250 13 14 20 0 1 0 99";
        assert_eq!(cpu_of(stat), Some(4.0));
        assert_eq!(cpu_of("7 (a"), None);
        assert_eq!(
            kilobytes("VmSize:\t   200 kB\nVmRSS:\t     8 kB\n", "VmRSS:"),
            Some(8192.0)
        );
        assert_eq!(kilobytes("VmRSS:\t     8 MB\n", "VmRSS:"), None);
        let limits = "Max processes 10 20 processes\nMax open files   1024   4096   files\n";
        assert_eq!(fds_of(limits), Some(1024.0));
    }

    #[test]
    fn this_process_has_all_of_it() {
        for (what, value) in [
            ("cpu", cpu_seconds()),
            ("rss", resident_bytes()),
            ("virtual", virtual_bytes()),
            ("fds", open_fds()),
            ("max fds", max_fds()),
        ] {
            assert!(value.is_some_and(|value| value >= 0.0), "{what}: {value:?}");
        }
    }
}
