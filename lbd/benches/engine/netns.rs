//! Namespaces without names, gone with this process.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

/// A new one; the calling thread stays where it is.
pub fn namespace() -> std::io::Result<File> {
    let made = std::thread::spawn(|| {
        // SAFETY: no memory is involved; only this thread moves.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        File::open("/proc/thread-self/ns/net")
    });
    made.join().expect("no panic")
}

/// Moves the calling thread into one.
pub fn enter(namespace: &File) {
    // SAFETY: no memory is involved; only this thread moves.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
}

/// Runs a command where the calling thread is, words separated by blanks.
pub fn run(line: &str) {
    let words: Vec<_> = line.split_whitespace().collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect(words[0]);
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The index of an interface where the calling thread is.
pub fn index(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).expect("no NUL");
    // SAFETY: `name` is a NUL-terminated string for the length of the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}
