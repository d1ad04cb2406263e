//! What is measured, and what is wanted of lbd.

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds a packet.
    Ns,
    /// Million packets a second.
    Mpps,
    /// Gigabits a second.
    Gbit,
    /// One rate as a part of another.
    Ratio,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Million bytes.
    Mb,
}

/// What lbd's figure should be; less is better where the goal is below the floor.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// At least.
    pub floor: f64,
    /// Hoped for.
    pub goal: f64,
}

/// One row of a table.
#[derive(Debug)]
pub struct Row {
    /// In words.
    pub what: &'static str,
    /// What its figures count.
    pub unit: Unit,
    /// What is wanted; nothing where it explains another row.
    pub wanted: Option<Wanted>,
}

const fn plain(what: &'static str, unit: Unit) -> Row {
    Row {
        what,
        unit,
        wanted: None,
    }
}

const fn wanted(what: &'static str, unit: Unit, floor: f64, goal: f64) -> Row {
    Row {
        what,
        unit,
        wanted: Some(Wanted { floor, goal }),
    }
}

/// The empty program, with the making of frames.
pub static EMPTY: Row = plain("empty program and the making of frames", Unit::Ns);
/// The program alone, over the empty one.
pub static PROGRAM_1K: Row = wanted("program, 1,000 flows", Unit::Ns, 80.0, 55.0);
/// See above.
pub static PROGRAM_1K_V6: Row = plain("program, 1,000 flows, IPv6", Unit::Ns);
/// See above.
pub static PROGRAM_1K_TCP: Row = plain("program, 1,000 flows, TCP", Unit::Ns);
/// See above.
pub static PROGRAM_100_SERVICES: Row = plain("program, 1,000 flows over 100 services", Unit::Ns);
/// See above.
pub static PROGRAM_1000_SERVICES: Row = plain("program, 1,000 flows over 1,000 services", Unit::Ns);
/// See above.
pub static PROGRAM_100K: Row = plain("program, 100,000 flows", Unit::Ns);
/// See above.
pub static PROGRAM_1M: Row = wanted("program, 1 million flows", Unit::Ns, 300.0, 200.0);
/// See above.
pub static PROGRAM_10M: Row = plain("program, 10 million flows", Unit::Ns);
/// See above.
pub static PROGRAM_CHANGES: Row = wanted(
    "program, 1 million flows, TCP, `track = \"changes\"`",
    Unit::Ns,
    85.0,
    65.0,
);

/// One arm, end to end.
pub static BARE_1K: Row = plain("bare XDP_TX, 1,000 flows", Unit::Mpps);
/// See above.
pub static BARE_1M: Row = plain("bare XDP_TX, 1 million flows", Unit::Mpps);
/// See above.
pub static NFT_1K: Row = plain("nft netdev with jhash, 1,000 flows", Unit::Mpps);
/// See above.
pub static NFT_1M: Row = plain("nft netdev with jhash, 1 million flows", Unit::Mpps);
/// See above.
pub static NATIVE_1K: Row = plain("lbd, xdp native, 1,000 flows", Unit::Mpps);
/// See above.
pub static NATIVE_1M: Row = plain("lbd, xdp native, 1 million flows", Unit::Mpps);
/// See above.
pub static GENERIC_1K: Row = plain("lbd, xdp generic, 1,000 flows", Unit::Mpps);
/// See above.
pub static NATIVE_NEW: Row = plain("lbd, xdp native, new flows only", Unit::Mpps);
/// See above.
pub static NATIVE_AGAIN: Row = plain("lbd, xdp native, the same frames again", Unit::Mpps);
/// See above.
pub static NATIVE_DECLINED: Row = plain("lbd, xdp native, 1 % declined", Unit::Mpps);
/// As a part of another.
pub static NATIVE_TO_BARE_1K: Row = wanted(
    "xdp against bare XDP_TX, 1,000 flows",
    Unit::Ratio,
    0.85,
    0.93,
);
/// See above.
pub static NATIVE_TO_BARE_1M: Row = wanted(
    "xdp against bare XDP_TX, 1 million flows",
    Unit::Ratio,
    0.70,
    0.80,
);
/// See above.
pub static NATIVE_TO_NFT: Row = wanted("xdp against nft, 1,000 flows", Unit::Ratio, 1.8, 2.2);
/// See above.
pub static NEW_TO_HIT: Row = wanted(
    "xdp, new flows only, against its known ones",
    Unit::Ratio,
    0.6,
    0.8,
);
/// See above.
pub static NEW_TO_AGAIN: Row = plain(
    "xdp, new flows only, against the same frames again",
    Unit::Ratio,
);
/// See above.
pub static DECLINED_TO_BARE: Row = wanted(
    "xdp with 1 % declined to user space, against bare XDP_TX",
    Unit::Ratio,
    0.85,
    0.95,
);

/// Engines in user space.
pub static BARE_PACKET: Row = plain("bare TPACKET_V3 with sendmmsg", Unit::Mpps);
/// See above.
pub static LBD_PACKET: Row = plain("lbd, af_packet", Unit::Mpps);
/// See above.
pub static BARE_AF_XDP: Row = plain("bare AF_XDP", Unit::Mpps);
/// See above.
pub static LBD_AF_XDP: Row = plain("lbd, af_xdp", Unit::Mpps);
/// As a part of another.
pub static PACKET_TO_BARE: Row = wanted(
    "af_packet against a bare TPACKET_V3 + sendmmsg echo",
    Unit::Ratio,
    0.85,
    0.95,
);
/// See above.
pub static AF_XDP_TO_BARE: Row = wanted(
    "af_xdp against a bare AF_XDP echo, paced",
    Unit::Ratio,
    0.85,
    1.0,
);

/// One bulk stream of super-frames.
pub static STREAM_DIRECT: Row = plain("one TCP stream, straight to the real", Unit::Gbit);
/// See above.
pub static STREAM_PACKET: Row = plain("one TCP stream, af_packet", Unit::Gbit);
/// See above.
pub static STREAM_AF_XDP: Row = plain("one TCP stream, af_xdp generic", Unit::Gbit);
/// See above.
pub static STREAM_XDP: Row = plain("one TCP stream, xdp generic", Unit::Gbit);
/// As a part of the first. 0.44 to 0.85 were seen before there was an lbd.
pub static STREAM_PACKET_TO_DIRECT: Row = wanted(
    "one TCP stream by af_packet against straight to the real",
    Unit::Ratio,
    0.4,
    0.85,
);
/// See above.
pub static STREAM_AF_XDP_TO_DIRECT: Row = wanted(
    "one TCP stream by af_xdp against straight to the real",
    Unit::Ratio,
    0.4,
    0.85,
);
/// See above.
pub static STREAM_XDP_TO_DIRECT: Row = wanted(
    "one TCP stream by xdp against straight to the real",
    Unit::Ratio,
    0.4,
    0.85,
);

/// There and back at rest.
pub static REST_BARE_P50: Row = plain("bare XDP_TX, median", Unit::Us);
/// See above.
pub static REST_BARE_P99: Row = plain("bare XDP_TX, p99", Unit::Us);
/// Added to that.
pub static REST_XDP_P50: Row = plain("xdp adds at rest, median", Unit::Us);
/// See above.
pub static REST_XDP_P99: Row = wanted("xdp adds at rest, p99", Unit::Us, 20.0, 10.0);
/// See above.
pub static REST_NEW_P50: Row = plain("xdp adds to a flow's first packet, median", Unit::Us);
/// See above.
pub static REST_NEW_P99: Row = plain("xdp adds to a flow's first packet, p99", Unit::Us);
/// See above.
pub static REST_PACKET_P50: Row = plain("af_packet adds at rest, median", Unit::Us);
/// See above.
pub static REST_PACKET_P99: Row = wanted("af_packet adds at rest, p99", Unit::Us, 200.0, 100.0);
/// See above.
pub static REST_AF_XDP_P50: Row = plain("af_xdp adds at rest, median", Unit::Us);
/// See above.
pub static REST_AF_XDP_P99: Row = wanted("af_xdp adds at rest, p99", Unit::Us, 200.0, 100.0);

/// What it takes besides packets.
pub static MEMORY: Row = wanted("memory per million flows", Unit::Mb, 96.0, 64.0);
/// See above.
pub static PUBLISH: Row = plain("until a change of 1,000 reals is in force", Unit::Ms);

impl Row {
    /// A figure with the digits that mean something.
    pub fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Ns => format!("{value:.0} ns"),
            Unit::Mpps => format!("{value:.2} Mpps"),
            Unit::Gbit => format!("{value:.1} Gbit/s"),
            Unit::Ratio => format!("{value:.2}"),
            Unit::Us => format!("{value:.1} us"),
            Unit::Ms => format!("{value:.0} ms"),
            Unit::Mb => format!("{value:.0} MB"),
        }
    }

    /// What stands in the table's last column.
    pub fn judge(&self, value: f64) -> &'static str {
        let Some(Wanted { floor, goal }) = self.wanted else {
            return "";
        };
        let reaches = |mark: f64| {
            if goal < floor {
                value <= mark
            } else {
                value >= mark
            }
        };
        match (reaches(floor), reaches(goal)) {
            (_, true) => "goal",
            (true, false) => "floor",
            (false, false) => "**missed**",
        }
    }
}
