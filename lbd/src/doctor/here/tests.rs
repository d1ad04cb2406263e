//! The rules that judge, as tables; then what the kernel says, in a namespace.

use super::facts::Room;
use super::*;
use crate::live::FrameTotals;
use crate::nft::NftError;
use crate::sys::netns::Netns;
use lbcore::api::{Checked, Code, Severity};
use lbcore::flow::FlowTable;
use lbcore::net::{HashKey, Protocol, ServiceKey};
use std::path::Path;
use std::sync::atomic::AtomicU64;

type Told = (Checked, Option<(&'static str, Severity)>);

const GOOD: Told = (Checked::Good, None);
const SKIPPED: Told = (Checked::Skipped, None);

fn found(code: Code, severity: Severity) -> Told {
    (Checked::Found, Some((code.word(), severity)))
}

/// How the last check went, and its finding: it has all its words, in one line each.
fn told(judge: impl FnOnce(&mut Report)) -> Told {
    let mut report = Report::default();
    judge(&mut report);
    for finding in &report.findings {
        for words in [&finding.seen, &finding.why, &finding.fix] {
            assert!(!words.is_empty() && !words.contains('\n'), "{finding:?}");
        }
    }
    let result = report.checks.last().expect("a check").result;
    let code = |word: &str| Code::ALL.iter().find(|code| code.word() == word);
    let finding = report.findings.last().map(|f| {
        let code = code(&f.code).expect("a known code");
        (code.word(), f.severity)
    });
    (result, finding)
}

fn link(name: &str, mtu: u32, up: bool, carrier: bool) -> Link {
    Link {
        ifindex: 2,
        name: name.to_owned(),
        mac: [2, 0, 0, 0, 0, 2].into(),
        mtu,
        up,
        carrier,
        addresses: vec![("192.0.2.2".parse().expect("an address"), 24)],
    }
}

fn config(toml: &str) -> Config {
    let text = format!("[network]\ninterface = \"eth0\"\n{toml}");
    lbcore::config::check(&text).expect("good").config
}

#[test]
fn the_kernel_is_a_fault_only_where_nothing_works_without() {
    let lack = |vital| kernel::Lack {
        what: "a feature",
        since: "Linux 9",
        effect: "slower",
        vital,
    };
    for (lacks, wanted) in [
        (vec![], GOOD),
        (vec![lack(false)], found(Code::KernelLacks, Severity::Note)),
        (vec![lack(true)], found(Code::KernelLacks, Severity::Fault)),
    ] {
        assert_eq!(told(|r| judge::kernel("6.1", &lacks, r)), wanted);
    }
}

#[test]
fn an_interface_is_good_when_frames_come() {
    let (up, down) = (
        link("eth0", 1500, true, true),
        link("eth0", 1500, false, false),
    );
    let dark = link("eth0", 1500, true, false);
    for (link, waiting, wanted) in [
        (Some(&up), None, GOOD),
        (None, None, found(Code::InterfaceMissing, Severity::Fault)),
        (
            Some(&down),
            None,
            found(Code::InterfaceDown, Severity::Fault),
        ),
        (
            Some(&dark),
            Some("down"),
            found(Code::InterfaceDown, Severity::Fault),
        ),
        (
            Some(&up),
            Some("LRO"),
            found(Code::NotReceiving, Severity::Fault),
        ),
    ] {
        assert_eq!(told(|r| judge::interface("eth0", link, waiting, r)), wanted);
    }
    let unequal = found(Code::MtuUnequal, Severity::Warning);
    assert_eq!(
        told(|r| judge::mtus(&[("eth0", 1500), ("eth1", 1500)], r)),
        GOOD
    );
    assert_eq!(
        told(|r| judge::mtus(&[("eth0", 9000), ("eth1", 1500)], r)),
        unequal
    );
    let on = Ok(vec!["eth2".to_owned()]);
    let beneath = found(Code::LroBeneath, Severity::Warning);
    assert_eq!(told(|r| judge::lro("bond0", &on, r)), beneath);
    assert_eq!(told(|r| judge::lro("bond0", &Ok(vec![]), r)), GOOD);
    assert_eq!(told(|r| judge::queues("eth0", Some(4), 4, r)), GOOD);
    assert_eq!(told(|r| judge::queues("eth0", None, 1, r)), SKIPPED);
}

#[test]
fn nft_that_may_not_be_asked_says_nothing_and_without_it_all_is_lost() {
    let not_permitted = || NftError::NotPermitted("no".to_owned());
    assert_eq!(told(|r| judge::nft(&Ok(None), r)), GOOD);
    assert_eq!(told(|r| judge::nft(&Err(not_permitted()), r)), SKIPPED);
    let fails = found(Code::NftFails, Severity::Fault);
    assert_eq!(told(|r| judge::nft(&Err(NftError::Missing), r)), fails);
    assert_eq!(told(|r| judge::guard(&Err(not_permitted()), r)), fails);
    let missing = Ok(vec!["its chain for eth0".to_owned()]);
    let wanted = found(Code::GuardMissing, Severity::Fault);
    assert_eq!(told(|r| judge::guard(&missing, r)), wanted);
    assert_eq!(told(|r| judge::guard(&Ok(vec![]), r)), GOOD);
}

#[test]
fn tables_are_full_before_they_are() {
    for (count, full) in [(79, false), (80, true), (100, true)] {
        let wanted = |code| match full {
            true => found(code, Severity::Warning),
            false => GOOD,
        };
        let entries = usize::try_from(count).expect("small");
        let flows = told(|r| judge::flow_table(entries, 100, r));
        assert_eq!(flows, wanted(Code::FlowTableFull), "{count}");
        let open = told(|r| judge::descriptors(Some((count, 100)), r));
        assert_eq!(open, wanted(Code::DescriptorsLow), "{count}");
        let tracked = told(|r| judge::conntrack(Some((count, 100)), r));
        assert_eq!(tracked, wanted(Code::ConntrackFull), "{count}");
    }
    assert_eq!(told(|r| judge::conntrack(None, r)), GOOD);
    assert_eq!(told(|r| judge::descriptors(None, r)), SKIPPED);
}

#[test]
fn frames_lost_now_are_wrong_those_lost_once_are_known() {
    let totals = |ring_drops| FrameTotals {
        ring_drops,
        ..FrameTotals::default()
    };
    for (before, after, wanted) in [
        (0, 0, GOOD),
        (7, 7, found(Code::RingDrops, Severity::Note)),
        (7, 9, found(Code::RingDrops, Severity::Warning)),
    ] {
        let (before, after) = (totals(before), totals(after));
        let seen = told(|r| judge::ring_drops("eth0", before, after, 64, r));
        assert_eq!(seen, wanted);
    }
}

#[test]
fn directories_want_room_and_the_right_kind_of_it() {
    let dir = Path::new("/run/lbd");
    let room = |free, files, in_memory| {
        Ok(Room {
            free,
            files,
            in_memory,
        })
    };
    let full = found(Code::DiskFull, Severity::Warning);
    let on_disk = found(Code::RunDirOnDisk, Severity::Note);
    for (seen, wanted) in [
        (room(1 << 30, None, true), GOOD),
        (room(1 << 20, None, true), full),
        (room(1 << 30, Some(0), true), full),
        (room(1 << 30, Some(1000), false), on_disk),
        (Err("gone".to_owned()), SKIPPED),
    ] {
        assert_eq!(told(|r| judge::run_dir(dir, seen, r)), wanted);
    }
    let volatile = found(Code::StateDirVolatile, Severity::Note);
    let seen = |in_memory| told(|r| judge::state_dir(dir, room(1 << 30, None, in_memory), r));
    assert_eq!((seen(true), seen(false)), (volatile, GOOD));
}

fn flows() -> FlowTable<'static> {
    let memory = (0..FlowTable::words_for(64)).map(|_| AtomicU64::new(0));
    FlowTable::create(Vec::leak(memory.collect()), &HashKey::new([1; 16])).expect("room")
}

#[test]
fn what_would_be_faster_is_a_note_where_it_can_be_had() {
    let config = |engine: &str, scheduler: &str| {
        let text = format!(
            "[network]\ninterface = \"eth0\"\nengine = \"{engine}\"\n[[service]]\nname = \"web\"\n\
             vip = \"192.0.2.10\"\nport = 80\nprotocol = \"tcp\"\nmode = \"dr\"\n\
             scheduler = \"{scheduler}\"\n[[service.real]]\naddress = \"192.0.2.21\"\n"
        );
        lbcore::config::parse(&text).expect("a configuration")
    };
    let engine = |name: &str, reason: &str| EngineView {
        name: name.to_owned(),
        interface: "eth0".to_owned(),
        reason: reason.to_owned(),
        workers: 1,
    };
    let slower = found(Code::EngineSlower, Severity::Note);
    for (name, reason, config, wanted) in [
        (
            "af_packet",
            "no xdp: CAP_BPF is missing",
            config("auto", "rr"),
            slower,
        ),
        (
            "af_packet",
            "no xdp: x is on no bpffs",
            config("auto", "rr"),
            slower,
        ),
        (
            "af_xdp",
            "AF_XDP sockets; no xdp: bpf_dir /sys/fs/bpf/lbd: Permission denied (os error 13)",
            config("auto", "rr"),
            slower,
        ),
        (
            "af_packet",
            "no xdp: its MTU may be too large for XDP (`bpf_link_create` failed)",
            config("auto", "rr"),
            GOOD,
        ),
        (
            "af_packet",
            "no xdp: eth0 is a veth",
            config("auto", "rr"),
            GOOD,
        ),
        ("af_packet", "asked for", config("af_packet", "rr"), GOOD),
        (
            "xdp",
            "a program in the driver",
            config("auto", "maglev"),
            GOOD,
        ),
        (
            "xdp",
            "a program in the driver",
            config("auto", "wlc"),
            slower,
        ),
    ] {
        let told = told(|r| judge::engine(&engine(name, reason), &config, r));
        assert_eq!(told, wanted, "{name}: {reason}");
    }
}

#[test]
fn the_file_is_compared_with_what_runs() {
    let running = |compared, last_good_in_use, drift: &[&str]| Running {
        started: SystemTime::UNIX_EPOCH,
        revision: 1,
        loaded: None,
        file: "/etc/lbd/lbd.toml".into(),
        compared,
        last_good_in_use,
        drift: drift.iter().map(ToString::to_string).collect(),
        guard: GuardPlan::default(),
        engines: Vec::new(),
        live: Arc::new(Live::new(HashKey::new([1; 16]), flows(), Vec::new(), 0)),
    };
    let differs = FileState::Differs(vec!["service web: removed".to_owned(), "x".to_owned()]);
    for (running, wanted) in [
        (running(FileState::Same, false, &[]), GOOD),
        (
            running(FileState::Bad("line 3".to_owned()), true, &[]),
            found(Code::ConfigBad, Severity::Warning),
        ),
        (
            running(differs, false, &[]),
            found(Code::ConfigNotLoaded, Severity::Note),
        ),
        (
            running(FileState::Same, false, &["web/rs1 weight"]),
            found(Code::ConfigDrift, Severity::Note),
        ),
    ] {
        assert_eq!(told(|r| judge::configuration(&running, r)), wanted);
    }
}

#[test]
fn rivals_matter_where_they_come_first() {
    let vip: IpAddr = "192.0.2.10".parse().expect("an address");
    for (found_at, proxied, wanted) in [
        (vec![], vec![], GOOD),
        (
            vec![vip],
            vec![vip],
            found(Code::IpvsHasVip, Severity::Fault),
        ),
        (vec![vip], vec![], found(Code::IpvsHasVip, Severity::Note)),
    ] {
        assert_eq!(told(|r| judge::ipvs(&found_at, &proxied, r)), wanted);
    }
    let seen = [(vip, "its nft map has it")];
    let wanted = found(Code::KubeProxyHasVip, Severity::Fault);
    assert_eq!(told(|r| judge::kube_proxy(&seen, r)), wanted);
}

#[test]
fn virtual_services_of_ipvs_are_read_as_the_kernel_writes_them() {
    for (line, wanted) in [
        ("TCP  C000020A:01BB wlc  ", Some("192.0.2.10")),
        (
            "UDP  [2001:0db8:0000:0000:0000:0000:0000:0010]:0035 rr ",
            Some("2001:db8::10"),
        ),
        ("  -> C0000215:01BB      Route   1      0          0", None),
        ("IP Virtual Server version 1.2.1 (size=4096)", None),
        ("Prot LocalAddress:Port Scheduler Flags", None),
        ("FWM  00000001 wlc ", None),
        ("TCP  XYZ:1", None),
        ("", None),
    ] {
        let address = wanted.map(|text| text.parse::<IpAddr>().expect("an address"));
        assert_eq!(rivals::virtual_service(line), address, "{line}");
    }
}

#[test]
fn an_address_is_found_in_a_listing_and_no_part_of_another_is() {
    let listing = "elements = { 192.0.2.100 . tcp . 80 : goto x,\n2001:db8::10 . tcp . 80 }";
    for (address, there) in [
        ("192.0.2.100", true),
        ("192.0.2.10", false),
        ("92.0.2.100", false),
        ("2001:db8::10", true),
        ("2001:db8::1", false),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(rivals::mentions(listing, address), there, "{address}");
    }
    let rule = "ip daddr 192.0.2.10/32 counter jump KUBE-EXT-X";
    assert!(rivals::mentions(
        rule,
        "192.0.2.10".parse().expect("an address")
    ));
}

#[test]
fn a_vip_that_this_host_has_is_told_unless_that_is_meant() {
    let service = "[[service]]\nname = \"web\"\nvip = \"192.0.2.2\"\nport = 80\n";
    let links = [link("eth0", 1500, true, true)];
    let wanted = found(Code::VipOnHost, Severity::Note);
    assert_eq!(
        told(|r| judge::vips_on_host(&config(service), &links, r)),
        wanted
    );
    for meant in ["announce = \"when-owned\"\n", "announce = \"never\"\n"] {
        let mut report = Report::default();
        let config = config(&format!("{service}{meant}"));
        judge::vips_on_host(&config, &links, &mut report);
        assert!(report.findings.is_empty() && report.checks.is_empty());
    }
}

#[test]
fn the_kernel_is_asked_for_what_it_has_of_the_guard() {
    let Some(netns) = Netns::new() else { return };
    netns.ip("link add lbdg0 type veth peer name lbdg1");
    let key = |vip: &str| ServiceKey {
        vip: vip.parse::<IpAddr>().expect("an address").into(),
        port: 80,
        protocol: Protocol::Tcp,
    };
    let interfaces = || vec!["lbdg0".to_owned(), "nowhere".to_owned()];
    let plan = GuardPlan::new(interfaces(), vec![key("192.0.2.10"), key("2001:db8::10")]);
    let more = GuardPlan::new(
        vec!["lbdg0".to_owned(), "lbdg1".to_owned()],
        vec![key("192.0.2.10"), key("192.0.2.11"), key("2001:db8::10")],
    );
    netns.block_on(move || async move {
        let none = match guard::missing(&plan).await {
            Err(NftError::Missing) => return println!("skipped: no `nft`; install nftables"),
            none => none.expect("asked"),
        };
        assert_eq!(none, ["lbd's nft table `netdev lbd`"]);
        guard::apply(&plan).await.expect("in force");
        assert_eq!(guard::missing(&plan).await.expect("asked"), [""; 0]);
        let missing = guard::missing(&more).await.expect("asked");
        assert_eq!(missing, ["its chain for lbdg1", "its entry for 192.0.2.11"]);
        let empty = GuardPlan::new(interfaces(), Vec::new());
        assert_eq!(guard::missing(&empty).await.expect("asked"), [""; 0]);
    });
}
