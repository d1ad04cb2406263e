//! What would make forwarding faster.

use crate::doctor::Report;
use crate::doctor::judge::finding;
use lbcore::api::{Code, EngineView, Severity};
use lbcore::config::{Config, EngineChoice, Mode};
use lbcore::sched::Kind;

/// Why an interface has no XDP program, as the engine's reason says it, and what gives it one.
const REMEDIES: [(&str, &str); 4] = [
    (
        "CAP_",
        "the unit's drop-in gives it: cp /usr/share/doc/lbd/lbd-xdp.conf /etc/systemd/system/lbd.service.d/, \
         systemctl daemon-reload, systemctl restart lbd",
    ),
    (
        "on no bpffs",
        "mount -t bpf bpf /sys/fs/bpf (mkdir first), let lbd's user write lbd.bpf_dir, and restart lbd: the \
         README's part on engine xdp has the commands",
    ),
    (
        "bpf_dir",
        "lbd's user must be able to write lbd.bpf_dir, and to pass the bpffs it is on, which systemd mounts \
         for root alone: the unit's drop-in lbd-xdp.conf sees to both (README, engine xdp)",
    ),
    (
        "feature xdp",
        "an lbd that was built with it (cargo build, with clang installed)",
    ),
];

/// The engine of one interface: whether a quicker one could be had, and how.
pub(in crate::doctor::here) fn engine(engine: &EngineView, config: &Config, report: &mut Report) {
    let check = format!("engine on {}", engine.interface);
    let direct = |s: &&lbcore::config::Service| s.mode == Mode::Dr;
    if engine.name == "xdp" {
        let counts = |s: &&lbcore::config::Service| !matches!(s.scheduler, Kind::Maglev | Kind::Sh);
        let slow: Vec<&str> = config
            .services
            .iter()
            .filter(direct)
            .filter(counts)
            .map(|service| service.name.as_str())
            .collect();
        if slow.is_empty() {
            return report.good(&check, format!("{}: {}", engine.name, engine.reason));
        }
        let found = finding(
            Code::EngineSlower,
            Severity::Note,
            &slow.join(", "),
            format!("first packets go by raw sockets on {}", engine.interface),
            "the program decides them only where the ring does; a first packet costs over a microsecond \
             then, instead of a tenth of that",
            "scheduler = \"maglev\" or \"sh\", if these servers need not be chosen by turns or by load"
                .to_owned(),
        );
        return report.found(&check, found);
    }
    let remedy = REMEDIES
        .iter()
        .find(|(reason, _)| engine.reason.contains(reason))
        .map(|(_, remedy)| *remedy)
        .filter(|_| config.network.engine == EngineChoice::Auto);
    // Asked for, or nothing better is right here.
    let (Some(remedy), true) = (remedy, config.services.iter().any(|s| s.mode == Mode::Dr)) else {
        return report.good(&check, format!("{}: {}", engine.name, engine.reason));
    };
    let found = finding(
        Code::EngineSlower,
        Severity::Note,
        &engine.interface,
        engine.reason.clone(),
        match engine.name.as_str() {
            "af_xdp" => {
                "a packet costs some hundreds of nanoseconds by AF_XDP sockets, and a fraction of that in an XDP program"
            }
            _ => {
                "a packet costs over a microsecond by raw sockets, and a tenth of that in an XDP program"
            }
        },
        remedy.to_owned(),
    );
    report.found(&check, found);
}
