//! What is measured, and what is wanted of lbd.

use std::fmt;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Requests per second on kept connections.
    Requests,
    /// 99th percentile of their latency, ms.
    RequestP99,
    /// The proxy's processor time for one, us.
    RequestCpu,
    /// Connections per second, each for one request.
    Connections,
    /// 99th percentile of the latency of these requests, ms.
    ConnectionP99,
    /// The proxy's processor time for one, us.
    ConnectionCpu,
    /// One bulk stream, Gbit/s.
    OneStream,
    /// The proxy's processor time for it, s per GB.
    OneStreamCpu,
    /// Eight, together.
    EightStreams,
    /// The proxy's processor time for them, s per GB.
    EightStreamsCpu,
    /// User-space memory per idle connection.
    IdleBytes,
    /// Descriptors per idle connection.
    IdleDescriptors,
}

/// What lbd's figure, as a ratio to HAProxy's, should be.
pub struct Wanted {
    /// At least (or at most, where less is better).
    pub floor: f64,
    /// Hoped for.
    pub goal: f64,
}

impl Measure {
    /// In the order of the table.
    pub const ALL: [Measure; 12] = [
        Measure::Requests,
        Measure::RequestP99,
        Measure::RequestCpu,
        Measure::Connections,
        Measure::ConnectionP99,
        Measure::ConnectionCpu,
        Measure::OneStream,
        Measure::OneStreamCpu,
        Measure::EightStreams,
        Measure::EightStreamsCpu,
        Measure::IdleBytes,
        Measure::IdleDescriptors,
    ];

    /// What is wanted; nothing where the row only explains another.
    pub fn wanted(self) -> Option<Wanted> {
        let (floor, goal) = match self {
            Measure::Requests | Measure::Connections => (1.0, 1.15),
            Measure::RequestP99 | Measure::ConnectionP99 => (1.1, 0.8),
            Measure::RequestCpu | Measure::ConnectionCpu => return None,
            Measure::OneStream | Measure::EightStreams => (1.0, 1.1),
            Measure::OneStreamCpu | Measure::EightStreamsCpu => (1.0, 0.75),
            Measure::IdleBytes => (1.0, 0.5),
            Measure::IdleDescriptors => (1.0, 1.0),
        };
        Some(Wanted { floor, goal })
    }

    /// A figure with the digits that mean something.
    pub fn show(self, value: f64) -> String {
        match self {
            Measure::Requests | Measure::Connections | Measure::IdleBytes => thousands(value),
            Measure::RequestCpu | Measure::ConnectionCpu => format!("{value:.1}"),
            Measure::OneStreamCpu | Measure::EightStreamsCpu => format!("{value:.3}"),
            _ => format!("{value:.2}"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Measure::Requests => "requests/s, kept connections",
            Measure::RequestP99 => "their p99, ms",
            Measure::RequestCpu => "processor time each, us",
            Measure::Connections => "new connections/s",
            Measure::ConnectionP99 => "p99 of their requests, ms",
            Measure::ConnectionCpu => "processor time each, us",
            Measure::OneStream => "one stream, Gbit/s",
            Measure::OneStreamCpu => "processor time, s per GB",
            Measure::EightStreams => "eight streams, Gbit/s",
            Measure::EightStreamsCpu => "processor time, s per GB",
            Measure::IdleBytes => "bytes per idle connection",
            Measure::IdleDescriptors => "descriptors per connection",
        })
    }
}

/// `56173.1` as `56,173`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        let left = digits.len() - i;
        if i > 0 && left % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
