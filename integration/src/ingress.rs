//! Ingress controllers as people have them behind a balancer: nginx and HAProxy, which learn the
//! client from a PROXY header and tell it to the server behind them as X-Forwarded-For.
//!
//! Their answers also carry what they were told themselves: `X-Peer`, who dialled (nginx only), and
//! `X-Destination`, what the client dialled.

use crate::netns::Netns;
use crate::wait::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Far above what either takes to start or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// One ingress controller; it ends with this value.
#[derive(Debug)]
pub struct Ingress {
    child: Child,
    dir: TempDir,
}

impl Ingress {
    /// nginx in `netns`: takes PROXY headers of either version at `port`, IPv4 and IPv6, from
    /// `trusted` (addresses or prefixes), and passes requests on to port `to` of the same host.
    ///
    /// # Panics
    /// When it is not installed or does not listen in time.
    pub fn nginx(netns: &Netns, port: u16, to: u16, trusted: &[&str]) -> Ingress {
        Ingress::nginx_before(netns, port, (Ipv4Addr::LOCALHOST, to).into(), trusted)
    }

    /// As [`Ingress::nginx`], before a server on any host.
    ///
    /// # Panics
    /// As [`Ingress::nginx`].
    pub fn nginx_before(netns: &Netns, port: u16, to: SocketAddr, trusted: &[&str]) -> Ingress {
        let dir = directory("nginx-");
        let at = dir.path().display();
        // Otherwise they are below /var, which is not ours.
        let buffers: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {at}/{name};"))
            .collect();
        let trusted = trusted.iter().fold(String::new(), |mut lines, source| {
            let _ = write!(lines, "set_real_ip_from {source};");
            lines
        });
        let conf = format!(
            "daemon off; user root root; worker_processes 1; pid {at}/pid;
             events {{ worker_connections 512; }}
             http {{
                 access_log off; {buffers}
                 server {{
                     listen {port} proxy_protocol;
                     listen [::]:{port} proxy_protocol;
                     real_ip_header proxy_protocol; {trusted}
                     add_header X-Peer $realip_remote_addr;
                     add_header X-Destination
                         \"$proxy_protocol_server_addr $proxy_protocol_server_port\";
                     location / {{
                         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                         proxy_pass http://{to};
                         proxy_pass_header X-Forwarded-For;
                     }}
                 }}
             }}"
        );
        let conf = write(dir.path(), "nginx.conf", &conf);
        let mut command = netns.command("nginx");
        command.args(["-e", "stderr", "-p", &at.to_string(), "-c", &conf]);
        Ingress::start(netns, command, dir, port)
    }

    /// HAProxy in `netns`: `accept-proxy` at `port`, else as [`Ingress::nginx`]. It believes whoever
    /// reaches the port.
    ///
    /// # Panics
    /// When it is not installed or does not listen in time.
    pub fn haproxy(netns: &Netns, port: u16, to: u16) -> Ingress {
        let dir = directory("haproxy-");
        let conf = format!(
            "defaults
                 mode http
                 timeout connect 5s
                 timeout client 10s
                 timeout server 10s
             frontend all
                 bind :::{port} v4v6 accept-proxy
                 option forwardfor
                 http-response set-header X-Destination \"%[dst] %[dst_port]\"
                 default_backend whoami
             backend whoami
                 server whoami 127.0.0.1:{to}\n"
        );
        let conf = write(dir.path(), "haproxy.cfg", &conf);
        let mut command = netns.command("haproxy");
        command.args(["-db", "-f", &conf]);
        Ingress::start(netns, command, dir, port)
    }

    fn start(netns: &Netns, mut command: Command, dir: TempDir, port: u16) -> Ingress {
        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        let child = command.spawn().expect("nsenter");
        let mut ingress = Ingress { child, dir };
        let here = (IpAddr::from(Ipv4Addr::LOCALHOST), port).into();
        wait_until("the ingress listens", PATIENCE, || {
            if let Ok(Some(status)) = ingress.child.try_wait() {
                panic!("{command:?} ended ({status}):\n{}", ingress.log());
            }
            netns.run(|| TcpStream::connect_timeout(&here, PATIENCE).is_ok())
        });
        ingress
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the ingress's log\n{}---", self.log());
        }
        // Asked, it takes its workers along.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn directory(prefix: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in("/run")
        .expect("/run")
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("its configuration");
    path.display().to_string()
}
