//! lbd and lbctl as processes, as a user meets them.

use crate::conf::Conf;
use crate::engine::{self, Engine};
use crate::metrics::{Metrics, http_get};
use crate::netns::{Netns, NetnsHandle, run};
use crate::wait::{wait_for, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// lbd must be ready within this; checks of a test decide in well under a second.
const READY_WITHIN: Duration = Duration::from_secs(15);

/// lbd must be gone within this after a signal that asks it to.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// A user, and a group, without any right.
pub const NOBODY: &str = "65534";

/// Where lbd listens for `/metrics`: its default; every test has a network of its own.
const METRICS: &str = "127.0.0.1:9380";

/// One lbd: its directories, its file, and the process while it runs.
#[derive(Debug)]
pub struct Daemon {
    netns: NetnsHandle,
    dir: TempDir,
    /// What it is started by, with arguments: prlimit, strace; nothing is itself.
    starter: Vec<String>,
    /// Another copy of lbd than the one that was built.
    copy: Option<PathBuf>,
    child: Option<Child>,
}

impl Daemon {
    /// Starts lbd in `netns` with `conf` and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or is not ready in time; with its log.
    pub fn start(netns: &Netns, conf: &Conf) -> Daemon {
        let mut daemon = Daemon::prepare(netns, conf);
        daemon.spawn();
        daemon.wait_ready();
        daemon
    }

    /// Directories and file, but no process yet.
    pub fn prepare(netns: &Netns, conf: &Conf) -> Daemon {
        let dir = tempfile::Builder::new()
            .prefix("lbd-")
            .tempdir_in("/run")
            .expect("/run");
        for sub in ["run", "state"] {
            std::fs::create_dir(dir.path().join(sub)).expect("a directory");
        }
        if Engine::of_this_run() == Engine::Xdp {
            assert!(engine::bpffs(), "engine xdp needs root");
        }
        let daemon = Daemon {
            netns: netns.handle(),
            dir,
            starter: Vec::new(),
            copy: None,
            child: None,
        };
        daemon.write(conf);
        daemon
    }

    /// Starts the process without waiting for anything.
    ///
    /// # Panics
    /// When one runs already or lbd was not built.
    pub fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    /// As [`Daemon::spawn`], with further arguments.
    ///
    /// # Panics
    /// As [`Daemon::spawn`].
    pub fn spawn_with(&mut self, args: &[&str]) {
        assert!(self.child.is_none(), "this lbd runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log");
        let child = self
            .command()
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("nsenter");
        self.child = Some(child);
    }

    /// From the next start on it may have this many descriptors, and cannot raise that.
    pub fn limit_descriptors(&mut self, limit: u32) {
        self.start_by(&["prlimit", &format!("--nofile={limit}:{limit}")]);
    }

    /// From the next start on it may lock so much memory, in bytes, and not more.
    pub fn limit_locked_memory(&mut self, limit: u32) {
        let limit = format!("--memlock={limit}:{limit}");
        let drop = "--bounding-set=-ipc_lock";
        self.start_by(&["prlimit", &limit, "setpriv", drop, "--"]);
    }

    /// From the next start on new files have whatever mode they are made with.
    pub fn set_umask_zero(&mut self) {
        self.start_by(&["sh", "-c", "umask 0 && exec \"$0\" \"$@\""]);
    }

    /// From the next start on its system calls are counted; `table` has them when it has ended.
    /// The process stays lbd's own.
    pub fn count_calls(&mut self, table: &Path) {
        let table = table.to_str().expect("a path");
        self.start_by(&["strace", "-D", "-f", "-c", "-o", table]);
    }

    /// From the next start on it runs as nobody with these capabilities, as in a unit
    /// (`CAP_NET_RAW CAP_BPF`), and all of its directory is nobody's.
    ///
    /// # Panics
    /// When this user may not give files away.
    pub fn run_as_nobody(&mut self, capabilities: &str) {
        let copy = self.dir().join("lbd");
        // The build's directory may be closed to others.
        std::fs::copy(binary("lbd"), &copy).expect("a copy of lbd");
        run(Command::new("chown").args(["-R", NOBODY]).arg(self.dir()));
        let only: String = capabilities
            .split_whitespace()
            .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        let sets = ["--inh-caps", "--ambient-caps", "--bounding-set"];
        let sets = sets.map(|set| format!("{set}=-all{only}"));
        let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        let words = ["setpriv", &user[0], &user[1], "--clear-groups"];
        let words = words.into_iter().chain(sets.iter().map(String::as_str));
        self.start_by(&words.chain(["--"]).collect::<Vec<_>>());
        self.copy = Some(copy);
    }

    /// From the next start on it tells `socket` what it would tell systemd.
    pub fn notify(&mut self, socket: &Path) {
        let socket = socket.to_str().expect("a path");
        self.start_by(&["env", &format!("NOTIFY_SOCKET={socket}")]);
    }

    fn start_by(&mut self, words: &[&str]) {
        self.starter = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// `lbd --config FILE`, to be run in its namespace.
    pub fn command(&self) -> Command {
        let lbd = self.copy.clone().unwrap_or_else(|| binary("lbd"));
        let mut command = match self.starter.split_first() {
            None => self.netns.command(lbd),
            Some((program, args)) => {
                let mut command = self.netns.command(program);
                command.args(args).arg(lbd);
                command
            }
        };
        command.arg("--config").arg(self.config_path());
        command
    }

    /// Waits until `lbctl status` says it is ready; returns how long that took.
    ///
    /// # Panics
    /// When lbd ends or is not ready in time; with its log.
    pub fn wait_ready(&mut self) -> Duration {
        let start = Instant::now();
        loop {
            if self
                .try_status()
                .is_some_and(|status| status["ready"] == true)
            {
                return start.elapsed();
            }
            if let Some(status) = self.try_exit() {
                panic!(
                    "lbd ended ({status}) instead of getting ready:\n{}",
                    self.log()
                );
            }
            assert!(
                start.elapsed() < READY_WITHIN,
                "lbd is not ready after {READY_WITHIN:?}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has asked whether somebody else has its VIPs, and announced those that are
    /// free: about a second after the start (RFC 5227).
    ///
    /// # Panics
    /// When that takes 10 s.
    pub fn wait_announced(&self) {
        wait_until("no VIP is asked for", Duration::from_secs(10), || {
            let status = self.status();
            let vips = status["vips"].as_array().expect("VIPs");
            // Before the first news of it, a VIP has no interface and is silent.
            let known = |vip: &Value| !vip["interface"].is_null() && vip["state"] != "probing";
            vips.iter().all(known)
        });
    }

    /// Writes the file lbd reads, by rename as editors do; lbd is not told.
    pub fn write(&self, conf: &Conf) {
        self.write_text(&conf.to_toml(self.dir.path()));
    }

    /// As [`Daemon::write`], with any text.
    pub fn write_text(&self, text: &str) {
        let new = self.dir.path().join("lbd.toml.new");
        std::fs::write(&new, text).expect("the configuration");
        std::fs::rename(&new, self.config_path()).expect("the configuration");
    }

    /// Writes the file and reloads.
    ///
    /// # Panics
    /// When the reload is refused.
    pub fn reload(&self, conf: &Conf) {
        self.write(conf);
        self.ctl(&["reload"]).ok();
    }

    /// `lbctl args`, at this lbd's socket.
    pub fn ctl(&self, args: &[&str]) -> Answer {
        let output = self.ctl_command(args).output().expect("lbctl");
        Answer {
            line: format!("lbctl {}", args.join(" ")),
            output,
        }
    }

    /// A program of this workspace, to be run in its namespace.
    pub fn netns_command(&self, program: &str) -> Command {
        self.netns.command(binary(program))
    }

    /// `lbctl args`, at this lbd's socket, to be run.
    pub fn ctl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("lbctl"));
        command
            .env("LBCTL_SOCKET", self.socket_path())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// `lbctl status -o json`.
    ///
    /// # Panics
    /// When lbd does not answer.
    pub fn status(&self) -> Value {
        self.ctl(&["status", "-o", "json"]).json()
    }

    /// As [`Daemon::status`], or nothing.
    pub fn try_status(&self) -> Option<Value> {
        let output = self.ctl_command(&["status", "-o", "json"]).output().ok()?;
        serde_json::from_slice(&output.stdout)
            .ok()
            .filter(|_| output.status.success())
    }

    /// One real of `status`.
    ///
    /// # Panics
    /// When there is no such service or real.
    pub fn real(&self, service: &str, real: &str) -> Value {
        named(&named(&self.status()["services"], service)["reals"], real)
    }

    /// One service of `status`.
    ///
    /// # Panics
    /// When there is no such service.
    pub fn service(&self, service: &str) -> Value {
        named(&self.status()["services"], service)
    }

    /// Waits until a real is in `state`; returns how long that took.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_real(
        &self,
        service: &str,
        real: &str,
        state: &str,
        deadline: Duration,
    ) -> Duration {
        let what = format!("{real} of {service} is {state}");
        wait_until(&what, deadline, || {
            self.real(service, real)["state"] == state
        })
    }

    /// Scrapes `/metrics`.
    ///
    /// # Panics
    /// When that fails.
    pub fn metrics(&self) -> Metrics {
        let (status, body) = self.http("/metrics");
        assert_eq!(status, 200, "{body}");
        Metrics::parse(&body)
    }

    /// `GET path` at the metrics port: status and body.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn http(&self, path: &str) -> (u16, String) {
        let address: SocketAddr = METRICS.parse().expect("an address");
        http_get(&self.netns, address, path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// Scrapes when lbd has received nothing for longer than its ring holds frames back.
    ///
    /// # Panics
    /// When frames keep coming for 10 s.
    pub fn settled_metrics(&self) -> Metrics {
        let received = |metrics: &Metrics| metrics.value("lbd_frames_received_total", &[]);
        let (mut last, mut since) = (self.metrics(), Instant::now());
        wait_until("counters stand still", Duration::from_secs(10), || {
            let now = self.metrics();
            if received(&now) != received(&last) {
                since = Instant::now();
            }
            last = now;
            since.elapsed() > Duration::from_millis(100)
        });
        last
    }

    /// Proxied connections of `service` that ended with `result`.
    pub fn proxied(&self, service: &str, result: &str) -> f64 {
        let labels = [("service", service), ("result", result)];
        let metrics = self.metrics();
        metrics.value("lbd_proxy_connections_total", &labels)
    }

    /// Waits until no proxied connection of `service` is left.
    ///
    /// # Panics
    /// When there are some after 10 s.
    pub fn wait_proxied_ended(&self, service: &str) {
        let what = format!("no connection of {service} is left");
        wait_until(&what, Duration::from_secs(10), || {
            let (name, open) = ("lbd_proxy_connections", [("service", service)]);
            let metrics = self.metrics();
            assert!(metrics.has(name, &open), "{}", metrics.text);
            metrics.value(name, &open) == 0.0
        });
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit();
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When there is no process.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("a process we started");
    }

    /// Sends a signal that ends it and waits; returns how it ended.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.wait_exit()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let (status, _) = wait_for("lbd ends", STOPPED_WITHIN, || self.try_exit());
        self.child = None;
        status
    }

    /// Waits until it is ready, or has ended: then how.
    ///
    /// # Panics
    /// When neither is so in time.
    pub fn ready_or_ended(&mut self) -> Option<ExitStatus> {
        let (ended, _) = wait_for("lbd is ready, or ends", READY_WITHIN, || {
            let ended = self.try_exit();
            let ready = || self.try_status().is_some_and(|s| s["ready"] == true);
            (ended.is_some() || ready()).then_some(ended)
        });
        if ended.is_some() {
            self.child = None;
        }
        ended
    }

    /// How it ended, if it did.
    fn try_exit(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
    }

    /// Its process id.
    ///
    /// # Panics
    /// When there is no process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("lbd runs").id()
    }

    /// Resident memory in KiB.
    ///
    /// # Panics
    /// When there is no process.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("/proc of a process we started");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    /// What its descriptors are: `socket:[123]`, `pipe:[124]`, `/run/...`.
    ///
    /// # Panics
    /// When there is no process.
    pub fn descriptors(&self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("/proc of a process we started");
        // One that closes meanwhile is gone.
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links
            .map(|link| link.to_string_lossy().into_owned())
            .collect()
    }

    /// Processor time it has used, of its own and the kernel's for it.
    ///
    /// # Panics
    /// When there is no process.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .expect("/proc of a process we started");
        // The second word, in brackets, may hold blanks; utime and stime are the 14th and 15th.
        let (_, rest) = stat.rsplit_once(')').expect("a name in brackets");
        let ticks = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
        // In hundredths of a second, whatever the kernel's own tick (proc(5), USER_HZ).
        Duration::from_millis(ticks * 10)
    }

    /// All it logged so far, over restarts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The file it reads.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("lbd.toml")
    }

    /// Its `run_dir`.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// Its `state_dir`.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Its control socket.
    pub fn socket_path(&self) -> PathBuf {
        self.run_dir().join("lbd.sock")
    }

    /// Directory that holds all of it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("lbd.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let socket = self.socket_path();
            eprintln!("--- lbd's log ({})\n{}---", socket.display(), self.log());
        }
    }
}

/// What lbctl answered.
#[derive(Debug)]
pub struct Answer {
    line: String,
    output: Output,
}

impl Answer {
    /// Of a command that was run by other means.
    pub fn of(line: &str, output: Output) -> Answer {
        Answer {
            line: line.to_owned(),
            output,
        }
    }

    /// Exit code.
    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    /// What it printed as data.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Asserts exit code 0.
    ///
    /// # Panics
    /// When it was another.
    pub fn ok(self) -> Answer {
        self.exits(0)
    }

    /// Asserts an exit code.
    ///
    /// # Panics
    /// When it was another.
    pub fn exits(self, code: i32) -> Answer {
        assert_eq!(
            self.code(),
            code,
            "{}\nstdout: {}\nstderr: {}",
            self.line,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Its data as JSON.
    ///
    /// # Panics
    /// When it failed or printed something else.
    pub fn json(self) -> Value {
        let answer = self.ok();
        serde_json::from_slice(&answer.output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", answer.line, answer.stdout()))
    }
}

/// The entry called `name` of a list.
///
/// # Panics
/// When there is none.
pub fn named(list: &Value, name: &str) -> Value {
    list.as_array()
        .and_then(|entries| entries.iter().find(|entry| entry["name"] == name))
        .unwrap_or_else(|| panic!("nothing called {name} in {list:#}"))
        .clone()
}

/// Path of a binary of this workspace: beside the running test or program, or in `$LBD_BIN_DIR`.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let path = match std::env::var_os("LBD_BIN_DIR") {
        Some(dir) => PathBuf::from(dir).join(name),
        None => {
            let exe = std::env::current_exe().expect("this binary");
            let dir = exe.parent().expect("a directory");
            let dir = if dir.ends_with("deps") {
                dir.parent().expect("target")
            } else {
                dir
            };
            dir.join(name)
        }
    };
    assert!(
        path.exists(),
        "{} is not built: run `cargo build` first",
        path.display()
    );
    path
}
