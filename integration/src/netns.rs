//! Named network namespaces.

use nix::sched::{CloneFlags, setns};
use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread::JoinHandle;

/// A network namespace that `ip netns` knows by name; it goes when this value does.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes one, with its loopback up.
    ///
    /// # Panics
    /// When `ip` refuses; the harness needs root, or a user namespace (see [`crate::isolate`]).
    pub fn new(name: &str) -> Netns {
        assert!(
            crate::isolate::is_inside(),
            "network namespaces are made inside `isolated` only"
        );
        run(Command::new("ip").args(["netns", "add", name]));
        let netns = Netns {
            name: name.to_owned(),
        };
        netns.ip("link set lo up");
        netns
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A way into it that can be kept and sent elsewhere.
    pub fn handle(&self) -> NetnsHandle {
        NetnsHandle {
            path: PathBuf::from("/run/netns").join(&self.name),
        }
    }

    /// `program`, to be run inside. By `nsenter`, which keeps the mounts and becomes the program:
    /// the process id is the program's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.handle().command(program)
    }

    /// Runs a command line inside and returns what it printed; words are split at blanks.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a command");
        String::from_utf8_lossy(&run(self.command(program).args(words)).stdout).into_owned()
    }

    /// `ip` inside, as in `ip("addr add 192.0.2.1/24 dev eth0")`.
    pub fn ip(&self, args: &str) -> String {
        self.sh(&format!("ip {args}"))
    }

    /// Runs an nft script inside.
    ///
    /// # Panics
    /// When nft refuses it.
    pub fn nft(&self, script: &str) -> String {
        let output = run(self.command("nft").arg(script));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets a sysctl below `net.`, as in `("ipv4.ip_forward", "1")`.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{}", key.replace('.', "/"));
        self.handle().run(|| {
            if let Err(error) = std::fs::write(&path, value) {
                panic!("{path} = {value}: {error}");
            }
        });
    }

    /// See [`NetnsHandle::run`].
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.handle().run(f)
    }

    /// See [`NetnsHandle::spawn`].
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle().spawn(name, f)
    }

    /// Packets an interface has sent and received since it exists, as the kernel counts them.
    pub fn packet_counters(&self, interface: &str) -> InterfaceCounters {
        // /proc/net is the first thread's namespace, whoever reads it.
        let table = self
            .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
            .expect("/proc/thread-self/net/dev");
        let line = table
            .lines()
            .find_map(|line| line.trim().strip_prefix(&format!("{interface}:")))
            .unwrap_or_else(|| panic!("no interface {interface} in {}", self.name));
        let column: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        InterfaceCounters {
            rx_bytes: column[0],
            rx_packets: column[1],
            tx_bytes: column[8],
            tx_packets: column[9],
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

/// See [`Netns::packet_counters`].
#[derive(Clone, Copy, Debug)]
pub struct InterfaceCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

/// A way into a namespace.
#[derive(Clone, Debug)]
pub struct NetnsHandle {
    path: PathBuf,
}

impl NetnsHandle {
    /// See [`Netns::command`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path.display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `f` on a thread of its own inside and returns what it returns: sockets opened there
    /// belong to the namespace for good.
    ///
    /// # Panics
    /// When `f` does.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.join_it();
                f()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A named thread inside.
    ///
    /// # Panics
    /// When no thread can be started.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let handle = self.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                handle.join_it();
                f()
            })
            .expect("a thread")
    }

    fn join_it(&self) {
        let file = File::open(&self.path)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        setns(file, CloneFlags::CLONE_NEWNET).expect("setns into a namespace we made");
    }
}

/// Runs a command and returns its output.
///
/// # Panics
/// When it cannot be started or fails; with what it said.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
