//! Every metric of lbd's own, in the order of the documentation. Labels come from the
//! configuration and from lbd's own words, never from a client.

use super::MetricsView;
use super::family::{Family, Kind, Samples};
use super::process;
use crate::live::proxy::CONNECT_BUCKETS;
use lbcore::api::{ProxyView, RealState, RealView, ServiceState, VipState};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

macro_rules! families {
    ($($kind:ident $name:literal, $help:literal, $fill:expr;)+) => {
        /// The table.
        pub const FAMILIES: &[Family] =
            &[$(Family { name: $name, help: $help, kind: Kind::$kind, fill: $fill }),+];
    };
}

/// One whole number for each service.
macro_rules! services {
    ($x:ident => $value:expr) => {
        |v: &MetricsView, s: &mut Samples| {
            for $x in &v.status.services {
                s.count(&[("service", &$x.name)], $value);
            }
        }
    };
}

/// One whole number for each real of each service.
macro_rules! reals {
    ($x:ident => $value:expr) => {
        |v: &MetricsView, s: &mut Samples| {
            each_real(v, |service, $x| {
                s.count(&[("service", service), ("real", &$x.name)], $value);
            })
        }
    };
}

/// One whole number for each interface.
macro_rules! interfaces {
    ($key:ident) => {
        |v: &MetricsView, s: &mut Samples| {
            for x in &v.status.interfaces {
                s.count(&[("interface", &x.name)], x.frames.$key);
            }
        }
    };
}

families! {
    Gauge "lbd_build_info", "Always 1; the version of lbd is in the label.",
        |v, s| s.count(&[("version", &v.status.version)], 1);
    Gauge "lbd_engine_info", "Always 1; which I/O engine moves frames on which interface.",
        |v, s| for e in &v.status.engines {
            s.count(&[("engine", &e.name), ("interface", &e.interface)], 1);
        };
    Gauge "lbd_ready", "1 when lbd forwards and every real server was judged once.",
        |v, s| s.flag(&[], v.status.ready);
    Gauge "lbd_maintenance", "1 while this lbd takes no new flows by the operator's wish.",
        |v, s| s.flag(&[], v.maintenance);

    Gauge "lbd_config_revision", "Number of the configuration in force.",
        |v, s| s.count(&[], v.status.revision);
    Counter "lbd_config_reloads_total", "Reloads of the configuration, by result.",
        |v, s| {
            s.count(&[("result", "ok")], v.reloads_ok);
            s.count(&[("result", "refused")], v.reloads_refused);
        };
    Gauge "lbd_config_last_reload_success_timestamp_seconds",
        "When a configuration was last put in force, in seconds since 1970.",
        |v, s| if let Some(at) = v.last_reload_success {
            s.push(&[], seconds_since_1970(at));
        };
    Gauge "lbd_config_drift",
        "Settings that run differently from the file, because they were changed at run time.",
        |v, s| s.count(&[], v.status.drift.len() as u64);
    Gauge "lbd_config_last_good_in_use",
        "1 while the file is bad and the last good configuration runs instead.",
        |v, s| s.flag(&[], v.status.last_good_in_use);

    Gauge "lbd_service_up", "1 while new flows of the service find a real server.",
        services!(x => u64::from(x.state.serves()));
    Gauge "lbd_service_panic",
        "1 while so many checks fail that the last good set of real servers goes on.",
        services!(x => u64::from(x.state == ServiceState::Panic));
    Gauge "lbd_service_flows", "Flows of the service now.",
        services!(x => x.flows);
    Counter "lbd_service_new_flows_total", "Flows the service has got.",
        services!(x => x.new_flows);
    Counter "lbd_service_packets_total",
        "Packets clients sent to the service; not known of proxied tcp.",
        |v, s| for x in &v.status.services {
            if let Some(packets) = x.packets {
                s.count(&[("service", &x.name)], packets);
            }
        };
    Counter "lbd_service_bytes_total",
        "Bytes clients sent to the service, IP headers included; of proxied tcp the payload.",
        services!(x => x.bytes);

    Gauge "lbd_real_up", "1 while the real server is up, or is unchecked and taken as up.",
        reals!(x => u64::from(matches!(x.state, RealState::Up | RealState::Unchecked)));
    Gauge "lbd_real_state", "1 for the state the real server is in, 0 for the others.",
        |v, s| each_real(v, |service, x| for state in RealState::ALL {
            s.flag(
                &[("service", service), ("real", &x.name), ("state", state.word())],
                x.state == state,
            );
        });
    Gauge "lbd_real_weight", "Weight the scheduler uses now; 0 while it gets no new flows.",
        reals!(x => u64::from(x.effective_weight));
    Gauge "lbd_real_observed_weight",
        "Weight the real server gives itself (its count of pods), in force or not.",
        |v, s| each_real(v, |service, x| if let Some(weight) = x.observed_weight {
            s.count(&[("service", service), ("real", &x.name)], u64::from(weight));
        });
    Gauge "lbd_real_flows", "Flows of the real server now.",
        reals!(x => x.flows);
    Counter "lbd_real_new_flows_total", "Flows the real server has got.",
        reals!(x => x.new_flows);
    Counter "lbd_real_handshakes_total",
        "TCP handshakes with the real server, by whether the client got an answer; mode dr.",
        |v, s| each_real(v, |service, x| if let Some(seen) = x.handshakes {
            for (result, count) in [("completed", seen.completed), ("unanswered", seen.unanswered)] {
                s.count(&[("service", service), ("real", &x.name), ("result", result)], count);
            }
        });
    Counter "lbd_real_packets_total",
        "Packets clients sent that went to the real server; not known of proxied tcp.",
        |v, s| each_real(v, |service, x| if let Some(packets) = x.packets {
            s.count(&[("service", service), ("real", &x.name)], packets);
        });
    Counter "lbd_real_bytes_total",
        "Bytes clients sent that went to the real server, IP headers included; of proxied tcp the payload.",
        reals!(x => x.bytes);
    Counter "lbd_real_transitions_total", "How often the real server came into a state.",
        |v, s| for t in &v.transitions {
            for (to, count) in &t.to {
                s.count(&[("service", &t.service), ("real", &t.real), ("to", to)], *count);
            }
        };

    Counter "lbd_drops_total", "Frames dropped, by reason.",
        |v, s| by_label(s, "reason", &v.status.drops);
    Counter "lbd_frames_received_total",
        "Frames received after the socket filter: sent, passed and dropped ones together.",
        interfaces!(received);
    Counter "lbd_frames_sent_total", "Frames sent on to real servers.",
        interfaces!(sent);
    Counter "lbd_frames_passed_total", "Frames left to this host's own stack.",
        interfaces!(passed);
    Counter "lbd_ring_drops_total",
        "Frames lost before lbd saw them, because the receive ring was full.",
        interfaces!(ring_drops);

    Gauge "lbd_flow_entries", "Flows in the flow table now.",
        |v, s| s.count(&[], v.status.flow_entries);
    Gauge "lbd_flow_capacity", "Flows the flow table can hold.",
        |v, s| s.count(&[], v.status.flow_capacity);
    Counter "lbd_flow_evictions_total", "Flows forgotten before their time, by reason.",
        |v, s| by_label(s, "reason", &v.evictions);

    Gauge "lbd_proxy_connections", "Proxied connections and udp sessions now.",
        |v, s| each_proxy(v, |service, x| s.count(&[("service", service)], x.connections));
    Counter "lbd_proxy_connections_total",
        "Proxied connections and udp sessions that ended, by how.",
        |v, s| each_proxy(v, |service, x| for (result, count) in &x.results {
            s.count(&[("service", service), ("result", result)], *count);
        });
    Counter "lbd_proxy_bytes_total",
        "Payload bytes proxied: in is from clients to real servers, out is the way back.",
        |v, s| each_proxy(v, |service, x| {
            s.count(&[("service", service), ("direction", "in")], x.bytes_in);
            s.count(&[("service", service), ("direction", "out")], x.bytes_out);
        });
    Counter "lbd_proxy_datagrams_received_total",
        "Proxied datagrams received: sent and dropped ones together.",
        |v, s| for d in &v.datagrams {
            s.count(&[("direction", d.direction)], d.received);
        };
    Counter "lbd_proxy_datagrams_sent_total", "Proxied datagrams sent on.",
        |v, s| for d in &v.datagrams {
            s.count(&[("direction", d.direction)], d.sent);
        };
    Counter "lbd_proxy_datagram_drops_total", "Proxied datagrams dropped, by reason.",
        |v, s| for d in &v.datagrams {
            for (reason, count) in &d.drops {
                s.count(&[("direction", d.direction), ("reason", reason)], *count);
            }
        };
    Counter "lbd_proxy_datagrams_lost_total",
        "Datagrams lost before lbd saw them, because a socket's receive queue was full.",
        |v, s| for d in &v.datagrams {
            s.count(&[("direction", d.direction)], d.lost);
        };
    Histogram "lbd_proxy_connect_duration_seconds",
        "How long real servers took to accept a proxied connection.",
        |v, s| for c in &v.connects {
            let labels = [("service", c.service.as_str()), ("real", c.real.as_str())];
            s.histogram(&labels, &CONNECT_BUCKETS, &c.times.buckets, c.times.count, c.times.sum);
        };

    Gauge "lbd_vip_announced",
        "1 while this host answers for the VIP: lbd announces it, or the host owns it.",
        |v, s| for (vip, state) in vips(v) {
            s.flag(&[("vip", &vip.to_string())], state.announced);
        };
    Counter "lbd_vip_conflicts_total", "Claims of the VIP by other machines.",
        |v, s| for (vip, state) in vips(v) {
            s.count(&[("vip", &vip.to_string())], state.conflicts);
        };
    Counter "lbd_host_rules_restored_total",
        "Things lbd needs on this host that another tool removed and lbd put back, by kind.",
        |v, s| by_label(s, "kind", &v.restored);

    Counter "process_cpu_seconds_total", "CPU time lbd has used, user and system, in seconds.",
        |_, s| optional(s, process::cpu_seconds());
    Gauge "process_resident_memory_bytes", "Memory lbd holds in RAM, in bytes.",
        |_, s| optional(s, process::resident_bytes());
    Gauge "process_virtual_memory_bytes", "Address space lbd has mapped, in bytes.",
        |_, s| optional(s, process::virtual_bytes());
    Gauge "process_open_fds", "File descriptors lbd has open.",
        |_, s| optional(s, process::open_fds());
    Gauge "process_max_fds", "File descriptors lbd may have open.",
        |_, s| optional(s, process::max_fds());
    Gauge "process_start_time_seconds", "When lbd started, in seconds since 1970.",
        |v, s| s.push(&[], seconds_since_1970(v.status.started.0));
}

/// Calls `each` with the service's name and the real. A removed real that still drains is left out
/// when another one has taken its name: Prometheus refuses a page with the same labels twice.
fn each_real(view: &MetricsView, mut each: impl FnMut(&str, &RealView)) {
    for service in &view.status.services {
        let mut names = HashSet::with_capacity(service.reals.len());
        // Removed ones come last.
        for real in &service.reals {
            if names.insert(real.name.as_str()) {
                each(&service.name, real);
            }
        }
    }
}

/// Calls `each` with the service's name and how it is proxied.
fn each_proxy(view: &MetricsView, mut each: impl FnMut(&str, &ProxyView)) {
    for service in &view.status.services {
        if let Some(proxy) = &service.proxy {
            each(&service.name, proxy);
        }
    }
}

fn by_label(samples: &mut Samples, label: &str, counts: &BTreeMap<String, u64>) {
    for (value, count) in counts {
        samples.count(&[(label, value)], *count);
    }
}

/// One VIP on all interfaces together.
#[derive(Default)]
struct VipSum {
    announced: bool,
    conflicts: u64,
}

fn vips(view: &MetricsView) -> BTreeMap<IpAddr, VipSum> {
    let mut sums = BTreeMap::<IpAddr, VipSum>::new();
    for vip in &view.status.vips {
        let sum = sums.entry(vip.vip).or_default();
        sum.announced |= matches!(vip.state, VipState::Announced | VipState::Owned);
        sum.conflicts += vip.conflicts;
    }
    sums
}

fn optional(samples: &mut Samples, value: Option<f64>) {
    if let Some(value) = value {
        samples.push(&[], value);
    }
}

fn seconds_since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |d| d.as_secs_f64())
}
