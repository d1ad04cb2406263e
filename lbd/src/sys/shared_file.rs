//! A file mapped as shared memory, which outlives the process: the flow table lives in one.

use super::check;
use std::fs::{File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// A mapped file. Never unmapped: workers hold it until the process ends.
#[derive(Debug)]
pub struct Mapped {
    /// The file's contents, page aligned.
    pub words: &'static [AtomicU64],
    /// Whether the file was made (or made anew, because its size was another) by this call: then
    /// all words are zero.
    pub fresh: bool,
}

/// Maps `words` 64-bit words of the file at `path`, readable and writable, shared with whoever
/// maps it next. With `create`, a missing or empty file, or one of another size, is made anew and
/// filled with zeros.
///
/// The file must be a regular one without other names, owned by this process's user, and not in
/// use by another lbd: an exclusive `flock` is taken and kept until the process ends. All its
/// blocks are reserved here, so a full disk is an error now and not a SIGBUS later; since the lock
/// and the owner are ours, only a process of our own user (or root) that truncates it on purpose
/// could cause one.
///
/// # Errors
/// `WouldBlock` if another process holds it, `InvalidData` if it is no file of ours or (without
/// `create`) has another size, and what open, fallocate and mmap say.
pub fn map(path: &Path, words: usize, create: bool) -> io::Result<Mapped> {
    let size = words
        .checked_mul(8)
        .filter(|&size| size > 0 && size <= isize::MAX as usize);
    let size = size.ok_or_else(|| fault(ErrorKind::InvalidInput, path, "no possible size"))?;
    let file = open_own(path, create)?;
    let old_size = file.metadata()?.len();
    let fresh = old_size != size as u64;
    if fresh {
        if !create {
            let what = format!("has {old_size} bytes, {size} wanted");
            return Err(fault(ErrorKind::InvalidData, path, &what));
        }
        file.set_len(0)?;
        reserve(&file, size)?;
    }
    // SAFETY: a new mapping at a place of the kernel's choice, of a file descriptor that is open.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            file.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // The lock lives as long as the descriptor.
    let _ = file.into_raw_fd();
    // SAFETY: the mapping is page aligned, `size` bytes long and never unmapped; every bit pattern
    // is an AtomicU64, and whoever else maps the file is bound to atomic accesses too.
    let words = unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), words) };
    Ok(Mapped { words, fresh })
}

/// Claims the file at `path` (made if it is missing) until the process ends, with no memory. The same
/// conditions as for [`map`].
///
/// # Errors
/// `WouldBlock` if another process holds it, and as [`map`].
pub fn lock(path: &Path) -> io::Result<()> {
    // The lock lives as long as the descriptor.
    let _ = open_own(path, true)?.into_raw_fd();
    Ok(())
}

fn open_own(path: &Path, create: bool) -> io::Result<File> {
    // O_NONBLOCK: a FIFO in its place must not hold us up.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)?;
    // SAFETY: no memory is involved.
    let locked = check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) });
    locked.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => fault(ErrorKind::WouldBlock, path, "in use by another lbd"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    // SAFETY: no memory is involved.
    let user = unsafe { libc::geteuid() };
    if !metadata.file_type().is_file() {
        return Err(fault(ErrorKind::InvalidData, path, "not a regular file"));
    }
    if metadata.uid() != user {
        let what = format!("belongs to uid {}, not to {user}", metadata.uid());
        return Err(fault(ErrorKind::InvalidData, path, &what));
    }
    if metadata.nlink() != 1 {
        return Err(fault(
            ErrorKind::InvalidData,
            path,
            "has more than one name, or none any more",
        ));
    }
    Ok(file)
}

fn reserve(file: &File, size: usize) -> io::Result<()> {
    let size = i64::try_from(size).map_err(|_| Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: no memory is involved.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
        0 => Ok(()),
        errno => Err(Error::from_raw_os_error(errno)),
    }
}

fn fault(kind: ErrorKind, path: &Path, what: &str) -> Error {
    Error::new(kind, format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("flows");
        (dir, path)
    }

    #[test]
    fn words_written_are_in_the_file() {
        let (_dir, path) = place();
        let mapped = map(&path, 1024, true).expect("map");
        assert!(mapped.fresh);
        mapped.words[7].store(0x0102_0304_0506_0708, Relaxed);
        let bytes = std::fs::read(&path).expect("read");
        assert_eq!(bytes.len(), 8192);
        assert_eq!(bytes[56..64], 0x0102_0304_0506_0708_u64.to_ne_bytes());
    }

    #[test]
    fn what_an_earlier_process_left_is_found() {
        let (_dir, path) = place();
        let mut bytes = vec![0; 8192];
        bytes[..8].copy_from_slice(&42_u64.to_ne_bytes());
        std::fs::write(&path, &bytes).expect("write");
        let mapped = map(&path, 1024, false).expect("map");
        assert!(!mapped.fresh);
        assert_eq!(mapped.words[0].load(Relaxed), 42);
    }

    #[test]
    fn two_never_share_it() {
        let (_dir, path) = place();
        let _held = map(&path, 512, true).expect("map");
        assert_eq!(
            map(&path, 512, true).expect_err("held").kind(),
            ErrorKind::WouldBlock
        );
    }

    #[test]
    fn another_size_is_made_anew_only_when_creating() {
        let (_dir, path) = place();
        std::fs::write(&path, [0xff; 100]).expect("write");
        assert_eq!(
            map(&path, 512, false).expect_err("size").kind(),
            ErrorKind::InvalidData
        );
        let mapped = map(&path, 512, true).expect("map");
        assert!(mapped.fresh && mapped.words.iter().all(|word| word.load(Relaxed) == 0));
    }

    #[test]
    fn t21_symlinks_fifos_and_directories_are_refused() {
        let (dir, path) = place();
        let real = dir.path().join("real");
        std::fs::write(&real, [0; 4096]).expect("write");
        std::os::unix::fs::symlink(&real, &path).expect("symlink");
        assert_eq!(
            map(&path, 512, true).expect_err("symlink").raw_os_error(),
            Some(libc::ELOOP)
        );

        let hard = dir.path().join("hard");
        std::fs::hard_link(&real, &hard).expect("link");
        assert_eq!(
            map(&hard, 512, true).expect_err("link").kind(),
            ErrorKind::InvalidData
        );

        let fifo = dir.path().join("fifo");
        let name = std::ffi::CString::new(fifo.as_os_str().as_encoded_bytes()).expect("name");
        // SAFETY: `name` is a NUL-terminated string for the length of the call.
        check(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }).expect("mkfifo");
        assert_eq!(
            map(&fifo, 512, true).expect_err("fifo").kind(),
            ErrorKind::InvalidData
        );
        assert!(map(dir.path(), 512, true).is_err());
    }
}
