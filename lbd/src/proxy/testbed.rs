//! A proxy in a namespace of its own, where clients and reals are loopback addresses.

use super::budget::Budget;
use super::{ListAsk, Proxy, ProxyPlan, ProxyState};
use crate::live::{Live, Outcome};
use crate::sys::clock;
use crate::sys::netns::{Netns, ip};
use lbcore::config::{self, Config};
use lbcore::flow::FlowTable;
use lbcore::net::{HashKey, ServiceKey};
use lbcore::service::{
    Health, Inputs, RealInput, Registry, Rings, ServiceInput, ServiceTable, Way, compile,
};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Nothing here takes as long; a test that waits longer has failed.
pub const SOON: Duration = Duration::from_secs(10);

/// The VIP of every test's service.
pub const VIP: &str = "192.0.2.10:80";

/// A client.
pub const CLIENT: &str = "198.51.100.7";

/// A proxy that runs.
pub struct Bed {
    pub live: Arc<Live>,
    pub budget: Arc<Budget>,
    pub state: watch::Receiver<ProxyState>,
    proxy: Option<Proxy>,
    runtime: Runtime,
    plan: watch::Sender<Arc<ProxyPlan>>,
    config: Config,
    registry: Registry,
    rings: Rings,
    down: BTreeSet<String>,
    generation: u64,
}

/// Runs `test` in a namespace where clients (198.51.100.0/24), VIPs (192.0.2.0/24) and reals
/// (10.0.0.0/24), and one of each in IPv6, are local, and 10.9.0.0/24 keeps silent.
pub fn isolated(test: impl FnOnce() + Send + 'static) {
    let Some(netns) = Netns::new() else {
        return;
    };
    netns.run(move || {
        for local in ["198.51.100.0/24", "192.0.2.0/24", "10.0.0.0/24"] {
            ip(&format!("route add local {local} dev lo"));
        }
        for address in ["2001:db8:1::7", "2001:db8:2::10", "2001:db8:3::1"] {
            ip(&format!("addr add {address}/128 dev lo nodad"));
            // The kernel makes its route a moment later, in a work queue.
            let usable =
                || UdpSocket::bind((address, 0)).is_ok_and(|s| s.connect((address, 9)).is_ok());
            assert!(until(usable), "{address} is not usable");
        }
        ip("route add 10.9.0.0/24 dev lo");
        test();
    });
}

/// One service at [`VIP`] with these reals (`address:port`); of the other family if they are.
pub fn service(extra: &str, reals: &[&str]) -> String {
    let v6 = reals.iter().any(|real| real.starts_with('['));
    let vip = if v6 { "2001:db8:2::10" } else { "192.0.2.10" };
    let mut toml = format!(
        "[[service]]\nname = \"web\"\nvip = \"{vip}\"\nport = 80\nmode = \"tproxy\"\n\
         scheduler = \"rr\"\n{extra}\n"
    );
    for real in reals {
        let real: SocketAddr = real.parse().expect("an address");
        toml += &format!(
            "[[service.real]]\nname = \"{}\"\naddress = \"{}\"\nport = {}\n",
            name(&real),
            real.ip(),
            real.port()
        );
    }
    toml
}

fn name(real: &SocketAddr) -> String {
    real.to_string().replace('[', "").replace("]:", ".")
}

impl Bed {
    /// With two workers and descriptors enough.
    pub fn new(toml: &str) -> Self {
        Self::within(toml, 2, Budget::new(10_000))
    }

    pub fn within(toml: &str, workers: usize, budget: Budget) -> Self {
        let config = config::parse(toml).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let words = (0..FlowTable::words_for(1024)).map(|_| AtomicU64::new(0));
        let key = HashKey::new([7; 16]);
        let flows = FlowTable::create(words.collect::<Vec<_>>().leak(), &key).expect("a table");
        let live = Arc::new(Live::new(key, flows, Vec::new(), workers));
        let budget = Arc::new(budget);
        let (plan, planned) = watch::channel(Arc::default());
        let (told, state) = watch::channel(ProxyState::default());
        let guard = runtime.enter();
        let proxy = Proxy::start_within(budget.clone(), live.clone(), planned, told);
        drop(guard);
        let mut bed = Bed {
            live,
            budget,
            state,
            proxy: Some(proxy.expect("threads")),
            runtime,
            plan,
            config,
            registry: Registry::default(),
            rings: Rings::default(),
            down: BTreeSet::new(),
            generation: 0,
        };
        bed.publish();
        bed.follow_plan();
        bed
    }

    /// Another configuration, in force when this returns.
    pub fn reload(&mut self, toml: &str) {
        self.config = config::parse(toml).unwrap_or_else(|faults| panic!("{faults:#?}"));
        self.publish();
        self.follow_plan();
    }

    /// The checks of this real fail from now on.
    pub fn down(&mut self, real: &str) {
        self.down.insert(real.to_owned());
        self.publish();
    }

    fn publish(&mut self) {
        let table = self.table();
        self.live.publish(table);
    }

    fn table(&mut self) -> ServiceTable {
        let mut services = Vec::new();
        for service in &self.config.services {
            let id = self.registry.service(&service.name).expect("an id");
            let reals = service.reals.iter().map(|real| {
                let (id, epoch) = self
                    .registry
                    .real(&service.name, real.place())
                    .expect("an id");
                RealInput {
                    id,
                    epoch,
                    name: real.name.clone(),
                    address: real.address,
                    port: real.port,
                    max_connections: real.max_connections,
                    weight: real.weight,
                    effective_weight: real.weight,
                    admin: real.admin,
                    backup: real.backup,
                    sorry: false,
                    lingering: false,
                    health: if self.down.contains(&real.name) {
                        Health::Down
                    } else {
                        Health::Up
                    },
                    health_reason: String::new(),
                    way: Way::Routed,
                    last: None,
                    dead_since: None,
                    ramping_since: None,
                    held: None,
                    ejected: None,
                    last_good: false,
                }
            });
            let reals = reals.collect();
            services.push(ServiceInput {
                id,
                config: service,
                admin: service.admin,
                reals,
                weights_due: None,
                remembers: false,
            });
        }
        self.generation += 1;
        let key = HashKey::new([7; 16]);
        let inputs = Inputs {
            key: &key,
            services,
            interfaces: Vec::new(),
            maintenance: false,
            now: clock::now(),
        };
        compile(&inputs, &mut self.rings, self.generation).table
    }

    fn follow_plan(&mut self) {
        let mut endpoints: Vec<ServiceKey> = self
            .live
            .table()
            .services
            .iter()
            .flat_map(|s| s.keys.clone())
            .collect();
        endpoints.sort();
        let plan = Arc::new(ProxyPlan { endpoints });
        self.plan.send_replace(plan.clone());
        let mut state = self.state.clone();
        let in_force = |s: &ProxyState| s.in_force.as_ref().is_some_and(|p| *p == plan);
        self.runtime
            .block_on(async {
                tokio::time::timeout(SOON, state.wait_for(in_force))
                    .await
                    .is_ok()
            })
            .then_some(())
            .expect("the plan is in force");
    }

    /// How often connections ended so.
    pub fn ended(&self, how: Outcome) -> u64 {
        let id = self.live.table().services[0].id;
        let of = |p: &Arc<crate::live::ProxyShared>| p.service(id).ended(how).get();
        self.live.proxies().iter().map(of).sum()
    }

    /// Waits until so many connections ended so.
    pub fn wait_ended(&self, how: Outcome, times: u64) {
        let seen = until(|| self.ended(how) >= times);
        let all: Vec<_> = Outcome::ALL
            .iter()
            .map(|o| (o.word(), self.ended(*o)))
            .filter(|(_, n)| *n > 0)
            .collect();
        assert!(seen, "{times} times {}: {all:?}", how.word());
        assert_eq!(self.ended(how), times, "{all:?}");
    }

    /// What the proxy lists.
    pub fn list(&self) -> Vec<super::ConnectionRow> {
        let ask = ListAsk {
            service: None,
            real: None,
            client: None,
            protocol: None,
            state: None,
            limit: usize::MAX,
        };
        let proxy = self.proxy.as_ref().expect("it runs");
        self.runtime.block_on(proxy.list(&ask))
    }

    /// Waits until nothing is left: no connection, no descriptor, no load.
    pub fn wait_empty(&self) {
        let table = self.live.table();
        let members = table.services.iter().flat_map(|s| &s.members);
        let ids: Vec<_> = members.map(|m| m.id).collect();
        let loads = || ids.iter().map(|id| self.live.loads.flows(*id)).sum::<u32>();
        let empty = || self.budget.descriptors().taken() == 0 && loads() == 0;
        let done = until(|| self.list().is_empty() && empty());
        let (list, taken) = (self.list(), self.budget.descriptors().taken());
        assert!(done, "{list:#?}, {taken} descriptors, load {}", loads());
    }

    pub fn finish(&mut self, timeout: Duration) {
        if let Some(proxy) = self.proxy.take() {
            self.runtime.block_on(proxy.finish(timeout));
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}

/// Looks again and again until it is so, or [`SOON`] has passed.
pub fn until(mut so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        if so() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    so()
}

/// A client's connection from `source` to `to`, blocking, with a time limit.
pub fn call_from(source: &str, to: &str) -> std::io::Result<TcpStream> {
    let to: SocketAddr = to.parse().expect("an address");
    let source: IpAddr = source.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&to.into())?;
    socket.set_read_timeout(Some(SOON))?;
    socket.set_write_timeout(Some(SOON))?;
    Ok(socket.into())
}

/// A client's connection to the VIP.
pub fn call() -> TcpStream {
    call_from(CLIENT, VIP).expect("connected")
}

/// A real's listener.
pub fn real(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("set");
    socket.bind(&address.into()).expect("bound");
    socket.listen(4096).expect("listening");
    socket.into()
}

/// The real's side of a connection, with a time limit.
pub fn accepted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("accepted");
    stream.set_read_timeout(Some(SOON)).expect("a time limit");
    stream.set_write_timeout(Some(SOON)).expect("a time limit");
    stream
}

/// Closing it sends a reset.
pub fn reset(stream: TcpStream) {
    Socket::from(stream)
        .set_linger(Some(Duration::ZERO))
        .expect("set");
}
