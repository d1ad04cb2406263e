//! Programs that lbd starts: without any privilege of its own, in a process group that can be
//! ended as a whole.

use super::check;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `linux/securebits.h`: neither being root nor changing the user id gives capabilities, and no
/// program can switch that off again.
const SECBITS_LOCKED: libc::c_ulong = 0b1111;

/// `linux/capability.h`, third version: 64 bits in two halves.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes `command` run without capabilities, and unable to get any (no_new_privs), as the leader of
/// a process group. Starting it fails where that cannot be had.
pub fn unprivileged(command: &mut Command) {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls may be made; `give_up` makes
    // nothing but system calls on its own stack.
    unsafe { command.pre_exec(give_up) };
}

fn give_up() -> io::Result<()> {
    // SAFETY: prctl with these options takes integers only.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        ))?;
    }
    // SAFETY: geteuid cannot fail and takes nothing.
    if unsafe { libc::geteuid() } == 0 {
        // SAFETY: as above; needed for root only, whom exec would else give all capabilities.
        check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECBITS_LOCKED, 0, 0, 0) })?;
    }
    let header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let none = [CapData {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: header and data are as the third version of the call has them, and outlive it.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Kills every process of the group `leader` leads, which must not have been waited for: until then
/// nobody else can have its number.
pub fn kill_group(leader: u32) {
    if let Ok(group @ 2..) = libc::pid_t::try_from(leader) {
        // SAFETY: kill takes integers only.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of /proc/self/status that speak of capabilities.
    fn capabilities(command: &mut Command) -> Vec<String> {
        let output = command.args(["-E", "^(Cap|NoNewPrivs)", "/proc/self/status"]);
        let output = output.output().expect("grep");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| line.replace('\t', " ")).collect()
    }

    #[test]
    fn a_program_has_no_capabilities_and_gets_none() {
        let mut command = Command::new("/bin/grep");
        unprivileged(&mut command);
        let lines = capabilities(&mut command);
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let none = format!("{set}: 0000000000000000");
            assert!(lines.contains(&none), "{lines:?}");
        }
        assert!(lines.contains(&"NoNewPrivs: 1".to_owned()), "{lines:?}");
    }

    #[test]
    fn a_group_is_ended_as_a_whole() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & wait"]);
        unprivileged(&mut command);
        let mut leader = command.spawn().expect("sh");
        kill_group(leader.id());
        let status = leader.wait().expect("waited for");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        let group = leader.id() as libc::pid_t;
        let gone = || {
            // SAFETY: signal 0 only asks whether the group has a process.
            unsafe { libc::kill(-group, 0) == -1 }
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !gone() {
            assert!(
                std::time::Instant::now() < deadline,
                "a process of the group is left"
            );
            std::thread::yield_now();
        }
    }
}
