//! Who is at the other end of a unix socket, and what users and groups are called.

use super::check;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The kernel's bound on supplementary groups of one process (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Most processes have fewer supplementary groups; more cost a second call.
const GROUPS_EXPECTED: usize = 64;

/// The largest entry read of a user or a group: a group with some ten thousand member names.
const ENTRY_MAX: usize = 1 << 20;

/// The effective user id of this process.
pub fn own_uid() -> u32 {
    // SAFETY: geteuid takes nothing, touches no memory of ours and always succeeds.
    unsafe { libc::geteuid() }
}

/// The supplementary groups of the process at the other end (SO_PEERGROUPS, unix(7)), as they
/// were when it connected. Its primary group is in SO_PEERCRED, not necessarily here.
///
/// # Errors
/// What getsockopt says, for instance when `socket` is no unix socket.
pub fn supplementary_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut capacity = GROUPS_EXPECTED;
    loop {
        let mut groups = vec![0u32; capacity];
        let mut bytes =
            libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: `groups` is writable memory of `bytes` bytes, `bytes` lives through the call,
        // and the descriptor is borrowed, so it is open.
        let result = check(unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &mut bytes,
            )
        });
        match result {
            Ok(_) => {
                groups.truncate(bytes as usize / size_of::<u32>());
                return Ok(groups);
            }
            Err(e) if e.raw_os_error() == Some(libc::ERANGE) && capacity < GROUPS_MAX => {
                capacity = GROUPS_MAX;
            }
            Err(e) => return Err(e),
        }
    }
}

/// The id of a group by its name; `None` if this host knows no such group.
///
/// # Errors
/// A name with a NUL in it, or what getgrnam_r says.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    let mut buffer = vec![0 as libc::c_char; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live memory of the stated sizes; the entry's strings point
        // into `buffer`, and only its number is read, and only when `found` says it was filled.
        let error = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &mut found,
            )
        };
        match error {
            0 if found.is_null() => return Ok(None),
            // SAFETY: `found` is not null, so getgrnam_r has filled `entry`.
            0 => return Ok(Some(unsafe { entry.assume_init() }.gr_gid)),
            libc::ERANGE if buffer.len() < ENTRY_MAX => {
                buffer.resize(buffer.len() * 4, 0);
            }
            // POSIX lets these, too, mean that there is no such entry.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// What a user is called; `None` if this host knows no such user, or does not say.
pub fn user_name(uid: u32) -> Option<String> {
    let mut buffer = vec![0 as libc::c_char; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are to live memory of the stated sizes.
        let error = unsafe {
            libc::getpwuid_r(
                uid,
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &mut found,
            )
        };
        match error {
            0 if found.is_null() => return None,
            0 => {
                // SAFETY: `found` is not null, so getpwuid_r has filled `entry`, and its name is a
                // string that ends with NUL and lies in `buffer`, which lives on.
                let name = unsafe { CStr::from_ptr(entry.assume_init().pw_name) };
                return Some(name.to_string_lossy().into_owned());
            }
            libc::ERANGE if buffer.len() < ENTRY_MAX => {
                buffer.resize(buffer.len() * 4, 0);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn status_line(key: &str) -> Vec<u32> {
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
        let line = status
            .lines()
            .find(|line| line.starts_with(key))
            .expect("a line");
        line.split_whitespace()
            .skip(1)
            .map(|word| word.parse().expect("a number"))
            .collect()
    }

    #[test]
    fn the_kernel_names_our_own_groups() {
        let (one, _other) = UnixStream::pair().expect("a socket pair");
        let mut groups = supplementary_groups(one.as_fd()).expect("SO_PEERGROUPS");
        groups.sort_unstable();
        let mut expected = status_line("Groups:");
        expected.sort_unstable();
        assert_eq!(groups, expected);
        assert_eq!(own_uid(), status_line("Uid:")[1]);
    }

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("root").expect("a group database"), Some(0));
        assert_eq!(
            group_id("no-such-group-here").expect("a group database"),
            None
        );
        assert!(group_id("a\0b").is_err());
    }

    #[test]
    fn users_are_found_by_number() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(4_000_000_000), None);
    }
}
