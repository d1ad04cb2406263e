//! A director with ten reals and its tables, fed frame by frame: for the benchmark and for the test
//! that counts allocations.

use lbcore::config;
use lbcore::director::{Counters, Cursors, Verdict, View, commit, decide};
use lbcore::flow::FlowTable;
use lbcore::load::Loads;
use lbcore::net::{FrameMeta, HashKey, MacAddr};
use lbcore::service::{
    Health, Inputs, Interface, RealInput, Registry, Rings, ServiceInput, ServiceTable, Way, compile,
};
use lbcore::time::Tick;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;

const IFINDEX: u32 = 7;
const OWN: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const NOW: Tick = Tick(1_000_000);

const CONFIG: &str = r#"
[network]
interface = "eth0"
[[service]]
name = "web"
vip = ["192.0.2.10", "2001:db8::10"]
port = 443
protocol = "tcp"
"#;

/// Ten reals, all up.
fn table(key: &HashKey) -> ServiceTable {
    let mut text = CONFIG.to_owned();
    for i in 0..10 {
        text += &format!("[[service.real]]\naddress = \"192.0.2.{}\"\n", 21 + i);
    }
    let config = config::parse(&text).expect("the text above is good");
    let mut registry = Registry::default();
    let mut services = Vec::new();
    for service in &config.services {
        let mut reals = Vec::new();
        for (i, real) in (21u8..).zip(&service.reals) {
            let (id, epoch) = registry.real(&service.name, real.place()).expect("an id");
            let mac = MacAddr(2, 0, 0, 0, 1, i);
            reals.push(RealInput {
                id,
                epoch,
                name: real.name.clone(),
                address: real.address,
                port: real.port,
                max_connections: real.max_connections,
                weight: 1,
                effective_weight: 1,
                admin: real.admin,
                backup: false,
                sorry: false,
                lingering: false,
                health: Health::Unchecked,
                health_reason: String::new(),
                way: Way::Known {
                    ifindex: IFINDEX,
                    mac,
                },
                last: None,
                dead_since: None,
                ramping_since: None,
                held: None,
                ejected: None,
                last_good: false,
            });
        }
        let id = registry.service(&service.name).expect("an id");
        services.push(ServiceInput {
            id,
            config: service,
            admin: service.admin,
            reals,
            weights_due: None,
            remembers: false,
        });
    }
    let interfaces = vec![Interface {
        slot: 0,
        ifindex: IFINDEX,
        name: "eth0".into(),
        mac: OWN,
    }];
    let inputs = Inputs {
        key,
        services,
        interfaces,
        maintenance: false,
        now: NOW,
    };
    compile(&inputs, &mut Rings::default(), 1).table
}

/// A TCP segment of flow number `n` with these flags: 54 bytes and 6 of payload.
pub fn frame(n: u32, flags: u8, v6: bool) -> [u8; 80] {
    let mut f = [0u8; 80];
    f[..6].copy_from_slice(&OWN.octets());
    f[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    let client = n.wrapping_mul(2_654_435_761);
    let port = (1024 + (n >> 16) as u16).to_be_bytes();
    let tcp = if v6 {
        f[12..14].copy_from_slice(&[0x86, 0xdd]);
        f[14] = 0x60;
        f[18..20].copy_from_slice(&26u16.to_be_bytes());
        f[20] = 6;
        f[21] = 64;
        f[22..26].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        f[34..38].copy_from_slice(&client.to_be_bytes());
        f[38..42].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        f[53] = 0x10;
        54
    } else {
        f[12..14].copy_from_slice(&[0x08, 0x00]);
        f[14] = 0x45;
        f[16..18].copy_from_slice(&46u16.to_be_bytes());
        f[22] = 64;
        f[23] = 6;
        let [_, b, c, d] = client.to_be_bytes();
        f[26..30].copy_from_slice(&[10, b, c, d]);
        f[30..34].copy_from_slice(&[192, 0, 2, 10]);
        34
    };
    f[tcp..tcp + 2].copy_from_slice(&port);
    f[tcp + 2..tcp + 4].copy_from_slice(&443u16.to_be_bytes());
    f[tcp + 12] = 0x50;
    f[tcp + 13] = flags;
    f
}

/// The director's tables.
pub struct Rig {
    table: ServiceTable,
    flows: FlowTable<'static>,
    loads: Loads,
    cursors: Cursors,
    /// What was counted.
    pub counters: Counters,
}

impl Rig {
    /// With room for `capacity` flows.
    pub fn new(capacity: usize) -> Self {
        let key = HashKey::new([7; 16]);
        let words = FlowTable::words_for(capacity);
        let memory: &'static [AtomicU64] =
            Vec::leak((0..words).map(|_| AtomicU64::new(0)).collect());
        Rig {
            table: table(&key),
            flows: FlowTable::create(memory, &key).expect("the words it asked for"),
            loads: Loads::default(),
            cursors: Cursors::new(0),
            counters: Counters::default(),
        }
    }

    /// Decides about one frame and carries it out.
    #[inline]
    pub fn packet(&mut self, frame: &mut [u8]) -> Verdict {
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        let view = View {
            table: &self.table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: false,
        };
        let decision = decide(frame, &meta, &view, NOW);
        let verdict = black_box(commit(&decision, frame, &view, &self.counters, 0, NOW));
        self.cursors.placed(&decision, &self.table);
        verdict
    }
}
