//! The whole packet worker: engine, director, flow table and counters, with one service.

use super::VIP;
use super::rate::Progress;
use lbcore::config;
use lbcore::director::{DropReason, Recognised};
use lbcore::flow::FlowTable;
use lbcore::net::{FrameMeta, HashKey, MacAddr};
use lbcore::service::{
    Health, Inputs, Interface, RealInput, Registry, Rings, ServiceInput, ServiceTable, Way, compile,
};
use lbd::dataplane::Packets;
use lbd::io::{Disposition, FrameHandler};
use lbd::live::{Live, Source, WorkerShared};
use lbd::sys::clock;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The default capacity.
const FLOWS: usize = 1 << 20;

/// lbd's own packet handler, with its progress told.
pub struct Director {
    packets: Packets,
    progress: Arc<Progress>,
}

impl Director {
    /// One UDP service with one real, reached through `ifindex`; MACs as they go out.
    pub fn new(ifindex: u32, macs: [u8; 12], progress: Arc<Progress>) -> Self {
        let key = HashKey::new([7; 16]);
        let words = (0..FlowTable::words_for(FLOWS)).map(|_| AtomicU64::new(0));
        let flows = FlowTable::create(words.collect::<Vec<_>>().leak(), &key).expect("flow table");
        let worker = Arc::new(WorkerShared::new("lb", 0, 0, Source::RawSocket));
        let live = Arc::new(Live::new(key.clone(), flows, vec![worker.clone()], 0));
        live.publish(table(&key, ifindex, macs));
        Director {
            packets: Packets::new(live, worker, 0),
            progress,
        }
    }
}

fn table(key: &HashKey, ifindex: u32, macs: [u8; 12]) -> ServiceTable {
    let [a, b, c, d, e, f, own @ ..] = macs;
    let vip = Ipv4Addr::from(VIP);
    let text = format!(
        "[network]\ninterface = \"lb\"\n[[service]]\nname = \"dns\"\nvip = \"{vip}\"\nport = 53\n\
         protocol = \"udp\"\n[[service.real]]\naddress = \"192.0.2.21\"\n"
    );
    let config = config::parse(&text).expect("the text above is good");
    let (service, mut registry) = (&config.services[0], Registry::default());
    let real = &service.reals[0];
    let (id, epoch) = registry.real(&service.name, real.place()).expect("an id");
    let reals = vec![RealInput {
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
            ifindex,
            mac: MacAddr(a, b, c, d, e, f),
        },
        last: None,
        dead_since: None,
        ramping_since: None,
        held: None,
        ejected: None,
        last_good: false,
    }];
    let id = registry.service(&service.name).expect("an id");
    let services = vec![ServiceInput {
        id,
        config: service,
        admin: service.admin,
        reals,
        weights_due: None,
        remembers: false,
    }];
    let [a, b, c, d, e, f] = own;
    let mac = MacAddr(a, b, c, d, e, f);
    let interfaces = vec![Interface {
        slot: 0,
        ifindex,
        name: "lb".into(),
        mac,
    }];
    let inputs = Inputs {
        key,
        services,
        interfaces,
        maintenance: false,
        now: clock::now(),
    };
    compile(&inputs, &mut Rings::default(), 1).table
}

impl FrameHandler for Director {
    type Recognised = Recognised;
    fn recognise(&self, frame: &[u8], meta: &FrameMeta) -> Recognised {
        self.packets.recognise(frame, meta)
    }
    fn begin(&mut self) {
        self.packets.begin();
    }
    fn frame(
        &mut self,
        frame: &mut [u8],
        meta: &FrameMeta,
        recognised: &Recognised,
    ) -> Disposition {
        self.packets.frame(frame, meta, recognised)
    }
    fn sent(&mut self, ifindex: u32, frames: u64) {
        self.packets.sent(ifindex, frames);
        let sent = self.progress.sent.load(Relaxed);
        self.progress.sent.store(sent + frames, Relaxed);
    }
    fn lost(&mut self, ifindex: u32, reason: DropReason) {
        self.packets.lost(ifindex, reason);
    }
    fn idle(&mut self) {
        self.packets.idle();
    }
}
