//! What flows each second: two pictures of the counters and the time between them.

use super::{RealView, ServiceView, StatusView};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// From clients, each second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Packets; `None` where the kernel alone knows them.
    pub packets: Option<f64>,
    /// Bits.
    pub bits: f64,
    /// New flows.
    pub new_flows: f64,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    services: HashMap<String, Count>,
    reals: HashMap<RealKey, Count>,
}

/// A real's identity: its service's name, its address and port.
type RealKey = (String, IpAddr, u16);

#[derive(Clone, Copy, Debug)]
struct Count {
    packets: Option<u64>,
    bytes: u64,
    new_flows: u64,
}

/// Rates between two moments. Who is new since the first has none, nor has who counts from 0 again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    services: HashMap<String, Rate>,
    reals: HashMap<RealKey, Rate>,
}

impl Counts {
    /// Those of a picture.
    pub fn of(status: &StatusView) -> Counts {
        let mut counts = Counts::default();
        for service in &status.services {
            let count = Count {
                packets: service.packets,
                bytes: service.bytes,
                new_flows: service.new_flows,
            };
            counts.services.insert(service.name.clone(), count);
            for real in &service.reals {
                let count = Count {
                    packets: real.packets,
                    bytes: real.bytes,
                    new_flows: real.new_flows,
                };
                counts.reals.insert(key(&service.name, real), count);
            }
        }
        counts
    }

    /// What has flowed each second since `earlier`, which was `span` before.
    pub fn since(&self, earlier: &Counts, span: Duration) -> Rates {
        let services = self.services.iter().filter_map(|(name, now)| {
            let before = earlier.services.get(name)?;
            Some((name.clone(), now.since(before, span)?))
        });
        let reals = self.reals.iter().filter_map(|(key, now)| {
            let before = earlier.reals.get(key)?;
            Some((key.clone(), now.since(before, span)?))
        });
        Rates {
            services: services.collect(),
            reals: reals.collect(),
        }
    }
}

impl Count {
    fn since(&self, before: &Count, span: Duration) -> Option<Rate> {
        let seconds = span.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let each = |now: u64, before: u64| Some(now.checked_sub(before)? as f64 / seconds);
        Some(Rate {
            packets: match (self.packets, before.packets) {
                (Some(now), Some(before)) => Some(each(now, before)?),
                _ => None,
            },
            bits: each(self.bytes, before.bytes)? * 8.0,
            new_flows: each(self.new_flows, before.new_flows)?,
        })
    }
}

impl Rates {
    /// Of a service.
    pub fn service(&self, service: &ServiceView) -> Option<Rate> {
        self.services.get(&service.name).copied()
    }

    /// Of a real.
    pub fn real(&self, service: &ServiceView, real: &RealView) -> Option<Rate> {
        self.reals.get(&key(&service.name, real)).copied()
    }

    /// Of all services together; `None` while none is known. Packets are those that are known.
    pub fn total(&self) -> Option<Rate> {
        self.services.values().copied().reduce(|sum, rate| Rate {
            packets: match (sum.packets, rate.packets) {
                (Some(sum), Some(rate)) => Some(sum + rate),
                (known, None) | (None, known) => known,
            },
            bits: sum.bits + rate.bits,
            new_flows: sum.new_flows + rate.new_flows,
        })
    }
}

fn key(service: &str, real: &RealView) -> RealKey {
    (service.to_owned(), real.address, real.port)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn status() -> StatusView {
        serde_json::from_str(include_str!("fixtures/status.json")).unwrap()
    }

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    #[test]
    fn rates_are_differences_by_the_second() {
        let before = status();
        let mut now = before.clone();
        let web = &mut now.services[0];
        web.packets = web.packets.map(|n| n + 1000);
        web.bytes += 50_000;
        web.new_flows += 4;
        web.reals[0].bytes += 50_000;
        let rates = Counts::of(&now).since(&Counts::of(&before), TWO_SECONDS);
        let rate = rates.service(&now.services[0]).unwrap();
        assert_eq!(
            (rate.packets, rate.bits, rate.new_flows),
            (Some(500.0), 200_000.0, 2.0)
        );
        let (web, dns) = (&now.services[0], &now.services[1]);
        assert_eq!(rates.real(web, &web.reals[0]).unwrap().bits, 200_000.0);
        assert_eq!(rates.real(web, &web.reals[1]).unwrap().bits, 0.0);
        assert_eq!(rates.service(dns).unwrap().bits, 0.0);
        assert_eq!(rates.total().unwrap().bits, 200_000.0);
    }

    #[test]
    fn who_is_new_or_counts_anew_has_no_rate() {
        let mut before = status();
        let now = status();
        before.services.truncate(1);
        before.services[0].bytes += 1;
        let rates = Counts::of(&now).since(&Counts::of(&before), TWO_SECONDS);
        assert_eq!(rates.service(&now.services[0]), None);
        assert_eq!(rates.service(&now.services[1]), None);
        assert_eq!(rates.total(), None);
        let none = Counts::of(&now).since(&Counts::of(&now), Duration::ZERO);
        assert_eq!(none, Rates::default());
    }

    #[test]
    fn unknown_packets_do_not_hide_the_known() {
        let before = status();
        let mut now = before.clone();
        now.services[1].packets = None;
        let rates = Counts::of(&now).since(&Counts::of(&before), TWO_SECONDS);
        assert_eq!(rates.service(&now.services[1]).unwrap().packets, None);
        assert_eq!(rates.total().unwrap().packets, Some(0.0));
    }
}
