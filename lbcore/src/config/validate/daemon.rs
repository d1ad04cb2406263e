//! `[lbd]` and `[network]`.

use super::super::faults::Fault;
use super::super::model::{EngineChoice, Lbd, Network, XdpMode};
use super::super::raw::Section;
use super::super::{value, words};
use super::HOUR;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Workers are threads pinned to cores.
const MAX_WORKERS: u32 = 1024;

/// Fewer entries than this cannot hold one batch of new flows for each worker.
const MIN_FLOW_ENTRIES: u32 = 1024;

/// 2^27 entries are several GiB, allocated at start.
const MAX_FLOW_ENTRIES: u32 = 1 << 27;

/// The receive rings' memory is locked; more than this is a slip of the pen.
const MAX_RING_MIB: u32 = 1024;

/// The kernel polls this long without looking at anything else.
const MAX_BUSY_POLL: Duration = Duration::from_millis(10);

impl Default for Lbd {
    fn default() -> Self {
        Lbd {
            run_dir: PathBuf::from("/run/lbd"),
            bpf_dir: PathBuf::from("/sys/fs/bpf/lbd"),
            state_dir: PathBuf::from("/var/lib/lbd"),
            metrics: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9380))),
            watch: false,
            write_back: true,
            admin_group: "lbd".to_owned(),
            read_group: None,
            allow_exec: false,
            shutdown_timeout: Duration::from_secs(30),
            log: "info".to_owned(),
            log_format: None,
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Network {
            interfaces: Vec::new(),
            engine: EngineChoice::Auto,
            xdp_mode: XdpMode::Auto,
            workers: 0,
            flow_entries: 1 << 20,
            hash_key_file: None,
            link_holddown: Duration::from_secs(5),
            ring_mib: 64,
            busy_poll: Duration::ZERO,
        }
    }
}

/// `[lbd]`, or its defaults.
pub(super) fn lbd(section: Option<&Section<'_>>) -> Lbd {
    let d = Lbd::default();
    let Some(s) = section else { return d };
    Lbd {
        run_dir: s.get_or("run_dir", value::run_dir, d.run_dir),
        bpf_dir: s.get_or("bpf_dir", value::path, d.bpf_dir),
        state_dir: s.get_or("state_dir", value::path, d.state_dir),
        metrics: s.get_or("metrics", value::listen, d.metrics),
        watch: s.get_or("watch", value::boolean, d.watch),
        write_back: s.get_or("write_back", value::boolean, d.write_back),
        admin_group: s.get_or("admin_group", value::group, d.admin_group),
        read_group: s
            .get("read_group", value::group)
            .map(|group| group.into_inner()),
        allow_exec: s.get_or("allow_exec", value::boolean, d.allow_exec),
        shutdown_timeout: s.get_or(
            "shutdown_timeout",
            value::duration(Duration::ZERO, HOUR),
            d.shutdown_timeout,
        ),
        log: s.get_or("log", value::log_filter, d.log),
        log_format: s
            .get("log_format", |v| words::LOG_FORMAT.read(v))
            .map(|format| format.into_inner()),
    }
}

/// `[network]`, or its defaults.
pub(super) fn network(section: Option<&Section<'_>>) -> Network {
    let d = Network::default();
    let Some(s) = section else { return d };
    let size = |key: &str, what, min, max, default: usize| {
        s.get(key, value::integer(what, min, max))
            .map_or(default, |n| n.into_inner() as usize)
    };
    Network {
        interfaces: interfaces(s),
        engine: s.get_or("engine", |v| words::ENGINE.read(v), d.engine),
        xdp_mode: s.get_or("xdp_mode", |v| words::XDP_MODE.read(v), d.xdp_mode),
        workers: size(
            "workers",
            "the number of workers",
            0,
            MAX_WORKERS,
            d.workers,
        ),
        flow_entries: size(
            "flow_entries",
            "the capacity of the flow table",
            MIN_FLOW_ENTRIES,
            MAX_FLOW_ENTRIES,
            d.flow_entries,
        ),
        hash_key_file: s
            .get("hash_key_file", value::path)
            .map(|path| path.into_inner()),
        link_holddown: s.get_or(
            "link_holddown",
            value::duration(Duration::ZERO, HOUR),
            d.link_holddown,
        ),
        ring_mib: size(
            "ring_mib",
            "the size of a ring",
            1,
            MAX_RING_MIB,
            d.ring_mib,
        ),
        busy_poll: s.get_or(
            "busy_poll",
            value::duration(Duration::ZERO, MAX_BUSY_POLL),
            d.busy_poll,
        ),
    }
}

/// `interface` or `interfaces`.
fn interfaces(s: &Section<'_>) -> Vec<String> {
    if s.has("interface") && s.has("interfaces") {
        let fault = Fault::new("`interface` and `interfaces` both stand here")
            .help("one of them: interfaces = [\"eth0\", \"eth1\"]");
        s.faults
            .error(s.key_span("interfaces"), &s.path_of("interfaces"), fault);
    }
    let one = s.get("interface", value::interface);
    let many = s.one_or_more("interfaces", value::interface);
    one.into_iter()
        .chain(many)
        .map(|name| name.into_inner())
        .collect()
}
