//! Kubernetes nodes behind lbd, from the client to the pod: nodes with pods, the rules kube-proxy
//! writes, and health servers that answer as kube-proxy's. Nothing of the VIP is on the nodes.

use integration::client::{Identity, curl, request_within, spread};
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::daemon::Daemon;
use integration::dial::{dial_here, echo_over};
use integration::front;
use integration::ingress::Ingress;
use integration::kubernetes::health::Says;
use integration::kubernetes::rules::{Policy, Service};
use integration::kubernetes::{Cluster, KUBE_PROXY_PORT, TARGET_PORT, node_of};
use integration::long_flows::{LongFlows, Transport};
use integration::netns::NetnsHandle;
use integration::routed::{self, Routed};
use integration::stage::{vip, vip6};
use integration::topology::{
    CLIENT, CLIENT6, Offloads, Switch, VIP, VIP6, give_vips, real, real_mac, real6,
};
use integration::{FairClock, figure, isolated_within, wait_until};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The Service's `spec.ports[0].nodePort` and `spec.healthCheckNodePort`.
const NODE_PORT: u16 = 30_080;
const HEALTH_PORT: u16 = 32_000;

const LIMIT: Duration = Duration::from_secs(150);
const SOON: Duration = Duration::from_secs(5);
const ECHO_EVERY: Duration = Duration::from_millis(100);

/// Of policy Local.
const LOCAL: &[(&str, &str)] = &[
    ("type", "\"kubernetes\""),
    ("port", "32000"),
    ("service", "\"default/web\""),
    ("interval", "\"500ms\""),
    ("timeout", "\"1s\""),
];

/// Of policy Cluster.
const CLUSTER: &[(&str, &str)] = &[
    ("type", "\"kubernetes\""),
    ("port", "10256"),
    ("interval", "\"500ms\""),
    ("timeout", "\"1s\""),
];

fn web(policy: Policy) -> Service {
    Service {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        vips: vec![VIP.into(), VIP6.into()],
        port: 80,
        node_port: NODE_PORT,
        health_port: (policy == Policy::Local).then_some(HEALTH_PORT),
        policy,
        endpoints: Vec::new(),
    }
}

/// `web` and `web6`, at a port, by direct routing to both nodes.
fn direct(port: u16, check: &[(&str, &str)]) -> Conf {
    let web = ServiceConf::tcp("web", port).check(check).reals(1..=2);
    let web6 = ServiceConf::tcp("web6", port)
        .with("vip", &format!("\"{VIP6}\""))
        .check(check)
        .real(RealConf::new("rs1", real6(1)))
        .real(RealConf::new("rs2", real6(2)));
    Conf::one(web).service(web6)
}

/// Two nodes and lbd on a switch.
struct Lan {
    lbd: Daemon,
    cluster: Cluster,
    switch: Switch,
}

impl Lan {
    /// With so many pods on each node; lbd is ready.
    fn new(policy: Policy, pods: [u8; 2], conf: &Conf) -> Lan {
        let mut lan = Lan::before_lbd(policy, pods, conf);
        lan.lbd.spawn();
        lan.lbd.wait_ready();
        lan.lbd.wait_announced();
        wait_up(&lan.lbd);
        lan
    }

    fn before_lbd(policy: Policy, pods: [u8; 2], conf: &Conf) -> Lan {
        let mut switch = Switch::new(0, Offloads::Defaults);
        switch.add_machine(1);
        switch.add_machine(2);
        let mut cluster = Cluster::new(&switch.reals, |n| (real(n), real6(n)));
        cluster.add_service(web(policy));
        for (node, count) in (1..).zip(pods) {
            cluster.run("web", node, count);
        }
        Lan {
            lbd: Daemon::prepare(&switch.lb, conf),
            cluster,
            switch,
        }
    }

    fn client(&self) -> NetnsHandle {
        self.switch.cl.handle()
    }

    fn flows(&self, count: usize, target: SocketAddr) -> LongFlows {
        LongFlows::start(self.client(), Transport::Tcp, target, count, ECHO_EVERY).assert_opened()
    }

    /// Requests from the client, all answered.
    fn answers(&self, target: SocketAddr, count: usize) -> Vec<Identity> {
        let answers = curl(&self.switch.cl, target, count);
        assert_eq!(answers.len(), count, "{target}: {:?}", spread(&answers));
        answers
    }

    /// Flows a node was ever given.
    fn given(&self, service: &str, real: &str) -> f64 {
        let labels = [("service", service), ("real", real)];
        self.lbd
            .metrics()
            .value("lbd_real_new_flows_total", &labels)
    }
}

/// Waits until both nodes are up in both families: a first check may be late on a busy machine.
fn wait_up(lbd: &Daemon) {
    for service in ["web", "web6"] {
        for real in ["rs1", "rs2"] {
            lbd.wait_real(service, real, "up", SOON);
        }
    }
}

/// How many of these were answered on a node.
fn on_node(answers: &[Identity], node: u8) -> usize {
    let here = |answer: &&Identity| node_of(&answer.server) == node;
    answers.iter().filter(here).count()
}

/// Flows that live, by node.
fn flows_on(flows: &LongFlows, node: u8) -> usize {
    let by_server = flows.by_server();
    let here = by_server.iter().filter(|(name, _)| node_of(name) == node);
    here.map(|(_, count)| count).sum()
}

/// A service of lbd, its VIP's endpoint, and who its clients are.
type Family = (&'static str, fn() -> SocketAddr, IpAddr);

const BOTH: [Family; 2] = [
    ("web", vip, IpAddr::V4(CLIENT)),
    ("web6", vip6, IpAddr::V6(CLIENT6)),
];

#[test]
fn policy_local_keeps_the_clients_address_and_policy_cluster_hides_it() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::new(Policy::Local, [1, 1], &direct(80, LOCAL));
        for (service, target, client) in BOTH {
            let reason = lan.lbd.real(service, "rs1")["reason"].to_string();
            assert!(reason.contains("http 200, 1 endpoint"), "{reason}");
            let answers = lan.answers(target(), 60);
            for answer in &answers {
                assert_eq!(answer.peer.ip(), client, "policy Local keeps it");
            }
            assert_eq!(spread(&answers).len(), 2, "{:?}", spread(&answers));
        }
        lan.cluster.change("web", |web| {
            web.policy = Policy::Cluster;
            web.health_port = None;
        });
        lan.lbd.reload(&direct(80, CLUSTER));
        wait_up(&lan.lbd);
        let masquerades = lan.cluster.masquerades();
        for (_, target, client) in BOTH {
            let answers = lan.answers(target(), 60);
            for answer in &answers {
                assert_ne!(answer.peer.ip(), client, "policy Cluster hides it");
                assert!(masquerades.contains(&answer.peer.ip()), "{answer:?}");
            }
            // A node passes on what it gets, to pods of both.
            assert_eq!(spread(&answers).len(), 2, "{:?}", spread(&answers));
        }
        // A node without pods serves as well as the other, until it is to be removed.
        lan.cluster.remove("web", 2);
        for (service, target, _) in BOTH {
            let before = lan.given(service, "rs2");
            assert_eq!(on_node(&lan.answers(target(), 60), 1), 60);
            assert!(lan.given(service, "rs2") > before, "by way of node 2");
        }
        lan.cluster
            .say(2, KUBE_PROXY_PORT, Says::KubeProxy { eligible: false });
        for (service, target, _) in BOTH {
            lan.lbd.wait_real(service, "rs2", "draining", SOON);
            let before = lan.given(service, "rs2");
            lan.answers(target(), 60);
            assert_eq!(lan.given(service, "rs2"), before, "it is being removed");
        }
    });
}

#[test]
fn nodes_get_flows_by_their_pods_and_none_without() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::new(Policy::Local, [1, 3], &direct(80, LOCAL));
        const ASKED: usize = 800;
        for (service, target, _) in BOTH {
            for (real, pods) in [("rs1", 1), ("rs2", 3)] {
                let weight = lan.lbd.real(service, real)["effective_weight"].clone();
                assert_eq!(weight, pods, "{service} {real}");
            }
            let answers = lan.answers(target(), ASKED);
            let share = on_node(&answers, 1) as f64 / ASKED as f64 * 100.0;
            figure(
                &format!("{service}: share of the node with 1 of 4 pods"),
                format!("{share:.1} %"),
            );
            // Four standard deviations of 800 draws.
            assert!((share - 25.0).abs() <= 6.2, "{share:.1} %");
            assert_eq!(spread(&answers).len(), 4, "{:?}", spread(&answers));
        }
        // The other way round: the node that had most of them.
        lan.cluster.remove("web", 2);
        for (service, target, _) in BOTH {
            lan.lbd.wait_real(service, "rs2", "draining", SOON);
            let reason = lan.lbd.real(service, "rs2")["reason"].to_string();
            assert!(reason.contains("no local endpoints"), "{reason}");
            let before = lan.given(service, "rs2");
            assert_eq!(on_node(&lan.answers(target(), 200), 1), 200);
            assert_eq!(lan.given(service, "rs2"), before, "no pod, no flow");
        }
        // Nobody has pods: that is no failure, and nobody panics.
        lan.cluster.remove("web", 1);
        for (service, target, _) in BOTH {
            lan.lbd.wait_real(service, "rs1", "draining", SOON);
            assert_eq!(lan.lbd.service(service)["state"], "down");
            let second = Duration::from_secs(1);
            assert!(request_within(&lan.switch.cl, target(), second).is_err());
        }
        lan.cluster.run("web", 1, 1);
        for (service, target, _) in BOTH {
            lan.lbd.wait_real(service, "rs1", "up", SOON);
            lan.answers(target(), 20);
        }
    });
}

/// A health port that speaks for another Service, and one that Go left without an answer.
#[test]
fn a_node_that_does_not_speak_for_the_service_gets_no_new_flows() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::new(Policy::Local, [1, 1], &direct(80, LOCAL));
        let other = Says::Service {
            namespace: "default".to_owned(),
            name: "other".to_owned(),
            endpoints: 5,
        };
        lan.cluster.say(2, HEALTH_PORT, other);
        lan.lbd.wait_real("web", "rs2", "draining", SOON);
        let reason = lan.lbd.real("web", "rs2")["reason"].to_string();
        assert!(reason.contains("answers for default/other"), "{reason}");
        assert_eq!(on_node(&lan.answers(vip(), 60), 1), 60);
        lan.cluster.say(2, HEALTH_PORT, Says::Nothing);
        lan.lbd.wait_real("web", "rs2", "down", SOON);
        assert_eq!(on_node(&lan.answers(vip(), 60), 1), 60);
        let reason = lan.lbd.real("web", "rs2")["reason"].to_string();
        assert!(reason.contains("without a body"), "{reason}");
        lan.cluster.sync();
        lan.lbd.wait_real("web", "rs2", "up", SOON);
        // kube-proxy ends: established flows go on in the kernel, and `dead_grace` leaves them.
        lan.cluster.hang_up(2, HEALTH_PORT);
        lan.lbd.wait_real("web", "rs2", "down", SOON);
        let reason = lan.lbd.real("web", "rs2")["reason"].to_string();
        assert!(reason.contains("refused"), "{reason}");
    });
}

/// `ipMode: Proxy` (KEP 1860): kube-proxy does not know the VIP, and the node, a router, sends the
/// packet back to who has the VIP. It goes round once, not for ever.
#[test]
fn direct_routing_needs_a_vip_that_kube_proxy_takes() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::new(Policy::Local, [1, 1], &direct(80, LOCAL));
        // Nodes have nothing of the VIP, and do not answer for it.
        let vips = lan.lbd.ctl(&["vip", "list", "-o", "json"]).json()["vips"].clone();
        for vip in vips.as_array().expect("VIPs") {
            assert_eq!(vip["state"], "announced", "{vip:#}");
            assert!(vip["claimed_by"].is_null(), "{vip:#}");
        }
        lan.cluster.change("web", |web| web.vips.clear());
        let received = |lan: &Lan| {
            let metrics = lan.lbd.settled_metrics();
            metrics.value("lbd_frames_received_total", &[])
        };
        for (_, target, _) in BOTH {
            let before = received(&lan);
            let second = Duration::from_secs(1);
            let answer = request_within(&lan.switch.cl, target(), second);
            assert!(answer.is_err(), "{answer:?}");
            // A SYN or two, each of which comes back once, and who asks for neighbours.
            let more = received(&lan) - before;
            assert!(more < 20.0, "{more} frames for one request");
        }
        lan.cluster
            .change("web", |web| web.vips = vec![VIP.into(), VIP6.into()]);
        for (_, target, client) in BOTH {
            let answers = lan.answers(target(), 20);
            assert!(answers.iter().all(|a| a.peer.ip() == client), "{answers:?}");
        }
    });
}

/// One connection of [`Callers`].
#[derive(Clone, Debug)]
struct Call {
    began: Instant,
    took: Duration,
    answer: Result<String, String>,
}

/// Clients that connect anew again and again.
struct Callers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Call>>>,
}

impl Callers {
    /// Between two connections of one client.
    const PAUSE: Duration = Duration::from_millis(10);

    fn start(netns: &NetnsHandle, target: SocketAddr, count: usize) -> Callers {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let one = |_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            netns.spawn("caller", move || {
                let mut calls = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = dial_here(None, target).and_then(echo_over);
                    answered.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                    calls.push(Call {
                        began,
                        took: began.elapsed(),
                        answer: answer
                            .map(|(_, identity)| identity.server)
                            .map_err(|error| error.to_string()),
                    });
                    std::thread::sleep(Callers::PAUSE);
                }
                calls
            })
        };
        Callers {
            threads: (0..count).map(one).collect(),
            stop,
            answered,
        }
    }

    /// Waits until `more` further connections were answered.
    fn wait_answered(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        wait_until("connections are answered", Duration::from_secs(20), || {
            self.answered.load(Ordering::Relaxed) >= goal
        });
    }

    fn stop(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        let calls = self.threads.into_iter();
        calls
            .flat_map(|thread| thread.join().expect("a caller"))
            .collect()
    }
}

/// A node is scaled to zero under load, its pods gone at once.
#[test]
fn a_node_scaled_to_zero_costs_nobody_else_a_connection() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::new(Policy::Local, [2, 2], &direct(80, LOCAL));
        for (service, target, _) in BOTH {
            let flows = lan.flows(300, target());
            let (stay, go) = (flows_on(&flows, 1), flows_on(&flows, 2));
            assert!(stay > 90 && go > 90, "{stay} and {go}");
            let callers = Callers::start(&lan.client(), target(), 4);
            callers.wait_answered(40);
            lan.cluster.remove("web", 2);
            // The node says so by now; how long its rules took is not lbd's.
            let zero = FairClock::start();
            lan.lbd.wait_real(service, "rs2", "draining", SOON);
            let (took, found) = (zero.elapsed(), Instant::now());
            figure(
                &format!("{service}: a node without pods found after"),
                format!("{took:.2?}"),
            );
            // Interval and jitter, and the look at the state.
            assert!(took < Duration::from_millis(1_500), "{took:?}");
            flows.wait_for_echoes();
            // What was on its way to the node when that was found is counted by now.
            let given = lan.given(service, "rs2");
            // Those that were under way when it was found are among them.
            callers.wait_answered(150);
            let calls = callers.stop();
            // A SYN that went there would be lost, and its client late.
            assert_eq!(lan.given(service, "rs2"), given, "no new flows");
            let later = calls.iter().filter(|call| call.began > found);
            let mut seen = 0;
            for call in later {
                let server = call.answer.as_ref().expect("new connections go elsewhere");
                assert_eq!(node_of(server), 1);
                seen += 1;
            }
            assert!(seen > 50, "{seen} connections after it was found");
            let lost = calls.iter().filter(|call| call.answer.is_err()).count();
            let slow = calls.iter().filter(|c| c.took > Duration::from_millis(500));
            figure(
                &format!("{service}: of {} connections lost; delayed", calls.len()),
                format!("{lost}; {}", slow.count()),
            );
            assert_eq!(flows_on(&flows, 1), stay, "nobody else's flow broke");
            for flow in flows.finish().iter().filter(|f| node_of(&f.server) == 1) {
                assert!(flow.broken.is_none(), "{flow:?}");
            }
            lan.cluster.run("web", 2, 2);
            wait_up(&lan.lbd);
        }
    });
}

/// 503, while its pods, being deleted, still serve.
#[test]
fn a_draining_node_keeps_its_flows_to_the_end() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::new(Policy::Local, [2, 2], &direct(80, LOCAL));
        for (service, target, _) in BOTH {
            let flows = lan.flows(200, target());
            let on_2 = flows_on(&flows, 2);
            assert!(on_2 > 50, "{on_2}");
            let callers = Callers::start(&lan.client(), target(), 4);
            callers.wait_answered(40);
            lan.cluster.terminate("web", 2);
            lan.lbd.wait_real(service, "rs2", "draining", SOON);
            // What was on its way to the node when that was found is counted after this.
            flows.wait_for_echoes();
            let given = lan.given(service, "rs2");
            assert_eq!(on_node(&lan.answers(target(), 100), 1), 100);
            flows.wait_for_echoes();
            assert_eq!(lan.given(service, "rs2"), given, "no new flows");
            let calls = callers.stop();
            for call in &calls {
                // Until lbd knows, the node itself still serves.
                assert!(call.answer.is_ok(), "{call:?}");
            }
            assert_eq!((flows.broken(), flows_on(&flows, 2)), (0, on_2));
            figure(
                &format!("{service}: flows that lived on; connections meanwhile, none lost"),
                format!("{on_2}; {}", calls.len()),
            );
            drop(flows);
            lan.cluster.remove("web", 2);
            lan.cluster.run("web", 2, 2);
            wait_up(&lan.lbd);
        }
    });
}

/// kube-proxy takes a nodePort at addresses of the node only.
#[test]
fn direct_routing_to_the_nodeport_needs_the_vip_on_the_node() {
    isolated_within(LIMIT, || {
        let lan = Lan::new(Policy::Local, [1, 1], &direct(NODE_PORT, LOCAL));
        let at = |vip: SocketAddr| SocketAddr::new(vip.ip(), NODE_PORT);
        for (_, target, _) in BOTH {
            let second = Duration::from_secs(1);
            let answer = request_within(&lan.switch.cl, at(target()), second);
            assert!(answer.is_err(), "{answer:?}");
        }
        lan.switch.reals.iter().for_each(give_vips);
        for (_, target, client) in BOTH {
            let answers = lan.answers(at(target()), 60);
            assert!(answers.iter().all(|a| a.peer.ip() == client), "{answers:?}");
            assert_eq!(spread(&answers).len(), 2);
        }
    });
}

/// Nodes on the far side of lbd, their default route.
struct Far {
    lbd: Daemon,
    cluster: Cluster,
    net: Routed,
}

impl Far {
    fn new(service: Service, conf: &Conf) -> Far {
        let net = Routed::new(2, Offloads::Defaults);
        let mut cluster = Cluster::new(&net.reals, |n| (routed::real(n), routed::real6(n)));
        cluster.add_service(service);
        Far {
            lbd: Daemon::prepare(&net.lb, conf),
            cluster,
            net,
        }
    }

    fn start(&mut self) {
        self.lbd.spawn();
        self.lbd.wait_ready();
    }
}

/// `web` and `web6`, proxied to a nodePort of both nodes.
fn proxied(check: &[(&str, &str)], keys: &[(&str, &str)]) -> Conf {
    let of = |name| {
        let service = ServiceConf::proxied(name, 80).check(check);
        keys.iter()
            .fold(service, |service, (key, toml)| service.proxy(key, toml))
    };
    let web6 = of("web6").with("vip", &format!("\"{VIP6}\""));
    Conf::one(of("web").routed(1..=2, NODE_PORT)).service(web6.routed6(1..=2, NODE_PORT))
}

const FAR: [Family; 2] = [
    ("web", vip, IpAddr::V4(routed::CLIENT)),
    ("web6", vip6, IpAddr::V6(routed::CLIENT6)),
];

#[test]
fn the_proxy_dials_a_nodeport_from_the_clients_address() {
    isolated_within(LIMIT, || {
        let mut far = Far::new(web(Policy::Local), &proxied(LOCAL, &[]));
        far.cluster.run("web", 1, 1);
        far.cluster.run("web", 2, 3);
        far.start();
        wait_up(&far.lbd);
        let ask = |far: &Far, target, count| {
            let answers = curl(&far.net.cl, target, count);
            assert_eq!(answers.len(), count, "{target}: {:?}", spread(&answers));
            answers
        };
        for (service, target, client) in FAR {
            assert_eq!(far.lbd.real(service, "rs2")["effective_weight"], 3);
            let answers = ask(&far, target(), 100);
            assert!(answers.iter().all(|a| a.peer.ip() == client), "{answers:?}");
            assert_eq!(spread(&answers).len(), 4, "{:?}", spread(&answers));
        }
        far.cluster.remove("web", 2);
        for (service, target, _) in FAR {
            far.lbd.wait_real(service, "rs2", "draining", SOON);
            assert_eq!(on_node(&ask(&far, target(), 60), 1), 60);
        }
        // Whoever dials, policy Cluster masquerades it.
        far.cluster.change("web", |web| {
            web.policy = Policy::Cluster;
            web.health_port = None;
        });
        far.lbd.reload(&proxied(CLUSTER, &[]));
        wait_up(&far.lbd);
        let masquerades = far.cluster.masquerades();
        for (_, target, _) in FAR {
            let answers = ask(&far, target(), 60);
            let hidden = |answer: &Identity| masquerades.contains(&answer.peer.ip());
            assert!(answers.iter().all(hidden), "{answers:?}");
        }
    });
}

/// Nodes that route clients elsewhere send answers back where the question came from, by a mark.
#[test]
fn answers_find_the_way_back_by_a_mark_where_lbd_is_no_default_route() {
    isolated_within(LIMIT, || {
        let mut far = Far::new(web(Policy::Local), &proxied(LOCAL, &[]));
        far.cluster.run("web", 1, 1);
        far.cluster.run("web", 2, 1);
        far.start();
        wait_up(&far.lbd);
        let link = far.net.lb.ip("-brief link show eth1");
        let mac = link.split_whitespace().nth(2).expect("name, state, MAC");
        for node in &far.net.reals {
            for (family, back) in [
                ("", IpAddr::from(routed::BACK)),
                ("-6", routed::BACK6.into()),
            ] {
                // Somebody else's default route, who answers nothing.
                let other = match back {
                    IpAddr::V4(_) => "203.0.113.250",
                    IpAddr::V6(_) => "2001:db8:2::250",
                };
                node.ip(&format!("{family} route replace default via {other}"));
            }
        }
        for (_, target, _) in FAR {
            let second = Duration::from_secs(1);
            assert!(request_within(&far.net.cl, target(), second).is_err());
        }
        for node in &far.net.reals {
            for (program, family, back) in [
                ("iptables", "", IpAddr::from(routed::BACK)),
                ("ip6tables", "-6", routed::BACK6.into()),
            ] {
                node.sh(&format!(
                    "{program} -t mangle -A PREROUTING -i eth0 -m mac --mac-source {mac} \
                     -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x200/0x200"
                ));
                node.sh(&format!(
                    "{program} -t mangle -A PREROUTING -m conntrack --ctdir REPLY \
                     -m connmark --mark 0x200/0x200 -j MARK --set-xmark 0x200/0x200"
                ));
                node.ip(&format!("{family} rule add fwmark 0x200/0x200 lookup 200"));
                node.ip(&format!("{family} route add default via {back} table 200"));
            }
        }
        for (_, target, client) in FAR {
            let answers = curl(&far.net.cl, target(), 40);
            assert_eq!(answers.len(), 40, "{answers:?}");
            assert!(answers.iter().all(|a| a.peer.ip() == client), "{answers:?}");
        }
    });
}

/// lbd, an ingress in a pod, a server in a pod of the other node.
#[test]
fn an_ingress_behind_a_nodeport_learns_the_client_from_the_proxy_header() {
    isolated_within(LIMIT, || {
        let keys = [("source", "\"self\""), ("send_proxy", "\"v2\"")];
        let mut far = Far::new(web(Policy::Local), &proxied(LOCAL, &keys));
        let backend = Service {
            name: "backend".to_owned(),
            vips: Vec::new(),
            node_port: NODE_PORT + 1,
            ..web(Policy::Cluster)
        };
        far.cluster.add_service(backend);
        far.cluster.run("backend", 2, 1);
        let behind = (far.cluster.services[1].endpoints[0].v4, TARGET_PORT);
        let pod = far.cluster.add_pod(1);
        // Whom lbd dials from; and who masquerades it, with policy Cluster.
        let trusted = [
            "203.0.113.0/24",
            "2001:db8:2::/64",
            "10.244.0.0/16",
            "fd00:244::/32",
        ];
        let netns = &far.cluster.pod(pod).netns;
        let nginx = Ingress::nginx_before(netns, TARGET_PORT, behind.into(), &trusted);
        far.cluster.add_endpoint("web", pod);
        far.start();
        let ask = |far: &Far, target: SocketAddr, client: IpAddr| {
            let answer = front::request(&far.net.cl, client, target, b"");
            let answer = answer.unwrap_or_else(|e| panic!("{target}: {e}\n{}", nginx.log()));
            assert_eq!(
                node_of(&answer.identity.server),
                2,
                "ingress on 1, pod on 2"
            );
            assert_eq!(answer.forwarded_for(), Some(client), "{answer:?}");
            let peer = answer.header("X-Peer").expect("nginx says who dialled");
            peer.parse::<IpAddr>().expect("an address")
        };
        for (service, target, client) in FAR {
            far.lbd.wait_real(service, "rs1", "up", SOON);
            far.lbd.wait_real(service, "rs2", "draining", SOON);
            let peer = ask(&far, target(), client);
            assert!([routed::BACK.into(), routed::BACK6.into()].contains(&peer));
        }
        far.cluster.change("web", |web| {
            web.policy = Policy::Cluster;
            web.health_port = None;
        });
        far.lbd.reload(&proxied(CLUSTER, &keys));
        wait_up(&far.lbd);
        let masquerades = far.cluster.masquerades();
        for (_, target, client) in FAR {
            for _ in 0..10 {
                let peer = ask(&far, target(), client);
                assert!(masquerades.contains(&peer), "{peer}");
            }
        }
    });
}

/// kube-proxy's ipvs mode binds VIPs to an interface of its own; without `strictARP` the node then
/// answers for them. (The kernel of a test has no IPVS; the answers are the same.)
#[test]
fn a_node_in_ipvs_mode_without_strict_arp_is_found() {
    isolated_within(LIMIT, || {
        let mut lan = Lan::before_lbd(Policy::Local, [1, 1], &direct(80, LOCAL));
        let node = &lan.switch.reals[1];
        node.ip("link add kube-ipvs0 type bridge");
        node.ip(&format!("addr add {VIP}/32 dev kube-ipvs0"));
        node.ip(&format!("addr add {VIP6}/128 dev kube-ipvs0 nodad"));
        lan.lbd.spawn();
        lan.lbd.wait_ready();
        let vips = |lan: &Lan| lan.lbd.ctl(&["vip", "list", "-o", "json"]).json()["vips"].clone();
        wait_until("the conflict is seen", Duration::from_secs(10), || {
            vips(&lan)[0]["state"] == "conflict"
        });
        assert_eq!(vips(&lan)[0]["claimed_by"], real_mac(2), "{:#}", vips(&lan));
        let words = format!("VIP {VIP} on eth0: rs2 answers ARP for the VIP");
        // The words are renewed a moment after the state.
        wait_until("a warning names the node", SOON, || {
            let warnings = lan.lbd.status()["warnings"].to_string();
            warnings.contains(&words) && warnings.contains("strictARP")
        });
        // Linux answers neighbour solicitations for addresses of the interface asked only.
        wait_until("its IPv6 twin is announced", SOON, || {
            vips(&lan)[1]["state"] == "announced"
        });
        // What strictARP does.
        let node = &lan.switch.reals[1];
        node.sysctl("ipv4.conf.all.arp_ignore", "1");
        node.sysctl("ipv4.conf.all.arp_announce", "2");
        lan.lbd.ctl(&["vip", "take", &VIP.to_string()]).ok();
        wait_until("the VIP is announced", Duration::from_secs(10), || {
            vips(&lan)[0]["state"] == "announced"
        });
        lan.answers(vip(), 20);
    });
}
