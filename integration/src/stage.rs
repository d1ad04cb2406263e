//! A network with real servers and lbd, ready: what most tests begin with. [`Stage`] is a switch,
//! for direct routing; [`RoutedStage`] two networks with lbd between them, for the proxy.

use crate::client::{Identity, curl};
use crate::conf::{Conf, RealConf, ServiceConf};
use crate::daemon::Daemon;
use crate::long_flows::{LongFlows, Transport};
use crate::netns::NetnsHandle;
use crate::real_server::{RealServer, Settings};
use crate::routed::Routed;
use crate::topology::{Offloads, Switch, VIP, VIP6, real, real6};
use crate::wait_until;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Port of the services below, and of every real server.
pub const PORT: u16 = 80;

/// The VIP's endpoint.
pub fn vip() -> SocketAddr {
    SocketAddr::new(VIP.into(), PORT)
}

/// The VIP's endpoint in IPv6.
pub fn vip6() -> SocketAddr {
    SocketAddr::new(VIP6.into(), PORT)
}

/// `web`, TCP, over real servers 1 to `reals`, without checks.
pub fn web(reals: u8) -> ServiceConf {
    ServiceConf::tcp("web", PORT).reals(1..=reals)
}

/// `web` and `dns` (UDP) in IPv4, `web6` and `dns6` in IPv6, all at [`PORT`].
pub fn all_four(reals: u8) -> Conf {
    let vip6 = format!("\"{VIP6}\"");
    let reals6 = |service: ServiceConf| {
        (1..=reals).fold(service.with("vip", &vip6), |service, n| {
            service.real(RealConf::new(&format!("rs{n}"), real6(n)))
        })
    };
    Conf::one(web(reals))
        .service(ServiceConf::udp("dns", PORT).reals(1..=reals))
        .service(reals6(ServiceConf::tcp("web6", PORT)))
        .service(reals6(ServiceConf::udp("dns6", PORT)))
}

/// See the module.
#[derive(Debug)]
pub struct Stage {
    /// lbd; it goes first.
    pub lbd: Daemon,
    /// The real servers, `servers[0]` is `rs1`.
    pub servers: Vec<RealServer>,
    /// The network; it goes last.
    pub switch: Switch,
}

impl Stage {
    /// `reals` real servers that serve, and lbd with `conf`, ready, its VIPs announced.
    pub fn new(reals: u8, offloads: Offloads, conf: &Conf) -> Stage {
        let mut stage = Stage::before_lbd(reals, offloads, conf);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_announced();
        stage
    }

    /// The same, without lbd running yet.
    pub fn before_lbd(reals: u8, offloads: Offloads, conf: &Conf) -> Stage {
        let switch = Switch::new(reals, offloads);
        let servers = (1..=reals).map(|n| serve(&switch, n)).collect();
        let lbd = Daemon::prepare(&switch.lb, conf);
        Stage {
            lbd,
            servers,
            switch,
        }
    }

    /// `count` requests to the VIP by curl.
    pub fn curl(&self, count: usize) -> Vec<Identity> {
        curl(&self.switch.cl, vip(), count)
    }

    /// `count` TCP flows to the VIP that echo every `period`; all open.
    pub fn flows(&self, count: usize, period: Duration) -> LongFlows {
        LongFlows::start(
            self.switch.cl.handle(),
            Transport::Tcp,
            vip(),
            count,
            period,
        )
        .assert_opened()
    }

    /// Starts (again) the server of real `n`.
    pub fn serve(&mut self, n: u8) {
        let index = usize::from(n) - 1;
        if index < self.servers.len() {
            self.servers[index].stop();
            self.servers[index] = serve(&self.switch, n);
        } else {
            self.servers.push(serve(&self.switch, n));
        }
    }
}

/// `whoami` as real server `n` at [`PORT`].
pub fn serve(switch: &Switch, n: u8) -> RealServer {
    let udp_addresses: Vec<IpAddr> = vec![VIP.into(), VIP6.into(), real(n).into(), real6(n).into()];
    RealServer::start(
        switch.reals[usize::from(n) - 1].handle(),
        Settings {
            name: format!("rs{n}"),
            port: PORT,
            udp_addresses,
        },
    )
}

/// Port of the real servers behind the proxy: not the VIP's.
pub const REAL_PORT: u16 = 8080;

/// `web`, TCP, proxied from the VIP's [`PORT`] to [`REAL_PORT`] of routed real servers 1 to
/// `reals`, without checks.
pub fn proxied(reals: u8) -> ServiceConf {
    ServiceConf::proxied("web", PORT).routed(1..=reals, REAL_PORT)
}

/// `web6`: the same in IPv6.
pub fn proxied6(reals: u8) -> ServiceConf {
    ServiceConf::proxied("web6", PORT)
        .with("vip", &format!("\"{VIP6}\""))
        .routed6(1..=reals, REAL_PORT)
}

/// Clients, lbd and real servers on networks of their own.
#[derive(Debug)]
pub struct RoutedStage {
    /// lbd; it goes first.
    pub lbd: Daemon,
    /// The real servers, `servers[0]` is `rs1`, at [`REAL_PORT`].
    pub servers: Vec<RealServer>,
    /// The networks; they go last.
    pub net: Routed,
}

impl RoutedStage {
    /// `reals` real servers that serve, and lbd with `conf`, ready.
    pub fn new(reals: u8, conf: &Conf) -> RoutedStage {
        let mut stage = RoutedStage::before_lbd(reals, conf);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage
    }

    /// The same, without lbd running yet.
    pub fn before_lbd(reals: u8, conf: &Conf) -> RoutedStage {
        let net = Routed::new(reals, Offloads::Defaults);
        RoutedStage {
            servers: (1..=reals).map(|n| net.serve(n, REAL_PORT)).collect(),
            lbd: Daemon::prepare(&net.lb, conf),
            net,
        }
    }

    /// `count` TCP flows to the VIP that echo every `period`; all open.
    pub fn flows(&self, count: usize, period: Duration) -> LongFlows {
        let client = self.net.cl.handle();
        LongFlows::start(client, Transport::Tcp, vip(), count, period).assert_opened()
    }

    /// The client's namespace.
    pub fn client(&self) -> NetnsHandle {
        self.net.cl.handle()
    }

    /// Proxied connections that are open, by the metrics.
    pub fn open(&self) -> f64 {
        let metrics = self.lbd.metrics();
        assert!(
            metrics.has("lbd_proxy_connections", &[]),
            "{}",
            metrics.text
        );
        metrics.value("lbd_proxy_connections", &[])
    }

    /// Waits until `count` proxied connections are open, by the metrics.
    ///
    /// # Panics
    /// When they are not within `deadline`.
    pub fn wait_open(&self, count: u32, deadline: Duration) -> Duration {
        let what = format!("{count} connections are open");
        wait_until(&what, deadline, || self.open() == f64::from(count))
    }

    /// Proxied connections that ended with `result`, by the metrics.
    pub fn ended(&self, result: &str) -> f64 {
        let labels = [("result", result)];
        let metrics = self.lbd.metrics();
        metrics.value("lbd_proxy_connections_total", &labels)
    }

    /// Waits until `count` proxied connections have ended with `result`: the client sees the end of one a
    /// moment before its worker counts it.
    ///
    /// # Panics
    /// When that is not so in good time.
    pub fn wait_ended(&self, result: &str, count: u32) {
        let what = format!("{count} connections have ended with {result}");
        wait_until(&what, Duration::from_secs(5), || {
            self.ended(result) == f64::from(count)
        });
    }

    /// Starts (again) the server of real `n`.
    pub fn serve(&mut self, n: u8) {
        let server = &mut self.servers[usize::from(n) - 1];
        server.stop();
        *server = self.net.serve(n, REAL_PORT);
    }
}
