//! How much the process may take.

use super::check;
use std::io;

/// How many file descriptors the process may have open (the soft RLIMIT_NOFILE).
pub fn open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place to write to for the length of the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    Ok(limit.rlim_cur)
}

/// Raises the soft RLIMIT_NOFILE to the hard one, and says what it is then. Nothing here uses
/// select(2), which is why the soft limit is low by default.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place to write to for the length of the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is valid for reads for the length of the call.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_kernel_says() {
        let limits = std::fs::read_to_string("/proc/self/limits").expect("procfs");
        let line = limits.lines().find(|l| l.starts_with("Max open files"));
        let soft = line
            .and_then(|l| l.split_whitespace().nth(3))
            .map(str::to_owned);
        let ours = open_files().expect("getrlimit");
        assert!(soft == Some(ours.to_string()) || soft.as_deref() == Some("unlimited"));
    }
}
