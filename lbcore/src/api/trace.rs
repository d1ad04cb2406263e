//! Live packets and connections, a line each: what `trace` is asked, and what it shows. `replay`
//! prints the same lines.

use super::{FlowFound, Prefix, RealRef, ServiceRef, Timestamp, Verdict};
use crate::net::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most lines one trace shows.
pub const MAX_TRACE_COUNT: u64 = 1_000_000;

/// The longest a trace lasts: one that is forgotten in a terminal ends by itself.
pub const MAX_TRACE_MS: u64 = 3_600_000;

/// The most lines one trace shows in a second.
pub const MAX_TRACE_RATE: u32 = 10_000;

/// What to show of live packets, and when to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceAsk {
    /// Which of them.
    pub filter: TraceFilter,
    /// Ends after so many lines; at most [`MAX_TRACE_COUNT`].
    pub count: u64,
    /// Ends after so many milliseconds; at most [`MAX_TRACE_MS`].
    pub for_ms: u64,
    /// Of so many that fit, one is shown.
    pub sample: u32,
    /// Shows at most so many in a second; at most [`MAX_TRACE_RATE`].
    pub rate: u32,
}

impl Default for TraceAsk {
    fn default() -> Self {
        TraceAsk {
            filter: TraceFilter::default(),
            count: 100,
            for_ms: 60_000,
            sample: 1,
            rate: 1000,
        }
    }
}

impl TraceAsk {
    /// Whether everything is within its bounds.
    ///
    /// # Errors
    /// What is not, in words.
    pub fn check(&self) -> Result<(), String> {
        let within = |what: &str, value: u64, most: u64| match value {
            0 => Err(format!("{what} 0 shows nothing: at least 1")),
            value if value > most => Err(format!("{what} {value} is too much: at most {most}")),
            _ => Ok(()),
        };
        within("count", self.count, MAX_TRACE_COUNT)?;
        if !(1..=MAX_TRACE_MS).contains(&self.for_ms) {
            let wanted = self.for_ms;
            return Err(format!(
                "a trace lasts at least 1 ms and at most an hour, not {wanted} ms"
            ));
        }
        within("sample", u64::from(self.sample), u64::from(u32::MAX))?;
        within("rate", u64::from(self.rate), u64::from(MAX_TRACE_RATE))
    }
}

/// Which packets and connections; what is `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceFilter {
    /// Of this transport.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// From these clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Prefix>,
    /// Of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// That go to this real.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real: Option<RealRef>,
    /// That end so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// With this drop reason, or result of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Also frames that are this host's business and not ours.
    pub passed: bool,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceView {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: TraceLine,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TraceLine {
    /// The first line of a live trace: what comes from now on is seen.
    Begin(TraceBounds),
    /// A frame and its verdict.
    Packet(Box<PacketView>),
    /// A proxied connection or session has its real.
    Connected(Box<ConnectionView>),
    /// A proxied connection or session has ended, or could not begin.
    Ended(Box<ConnectionView>),
    /// The last line of a live trace.
    End(TraceEnd),
    /// The last line of a replay.
    Summary(Box<SummaryView>),
    /// A kind this version does not know.
    #[serde(other)]
    Unknown,
}

/// A frame and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketView {
    /// The interface it came in by.
    pub interface: Option<String>,
    /// Transport; `None`: neither tcp nor udp.
    pub protocol: Option<Protocol>,
    /// `IP:PORT`; without a port where it could not be read.
    pub client: Option<String>,
    /// `IP:PORT`; without a port where it could not be read.
    pub vip: Option<String>,
    /// It is an ICMP error about a packet of this flow.
    pub icmp_error: bool,
    /// TCP flags: `SYN`, `PSH,ACK`.
    pub flags: Option<String>,
    /// Bytes of the frame.
    pub length: u32,
    /// Packets the client sent: 1, or the segments of a super-frame.
    pub packets: u32,
    /// The service that answers there.
    pub service: Option<String>,
    /// What the flow table knew.
    pub flow: FlowFound,
    /// The flow's state before this packet, where it was known.
    pub flow_state: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was dropped.
    pub drop_reason: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// The real it goes to, or would if that one were alive.
    pub real: Option<String>,
    /// The MAC it goes to.
    pub mac: Option<String>,
    /// The interface it leaves by.
    pub out: Option<String>,
}

/// A proxied connection or session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Transport.
    pub protocol: Protocol,
    /// The client, as it is or as a trusted PROXY header told.
    pub client: String,
    /// What it dialled.
    pub vip: String,
    /// The service.
    pub service: String,
    /// `proxy`: it has (had) a real; `refuse`: it never got one.
    pub verdict: Verdict,
    /// Its real.
    pub real: Option<String>,
    /// Where that was dialled.
    pub server: Option<String>,
    /// Reals that were tried before, in vain.
    pub tried: Vec<String>,
    /// How it ended; `None` while it is open. The words of `lbd_proxy_connections_total`.
    pub result: Option<String>,
    /// Milliseconds since it began.
    pub age_ms: u64,
    /// Payload on its way to the real.
    pub bytes_in: u64,
    /// Payload on its way to the client.
    pub bytes_out: u64,
}

/// When a live trace will end, and how much it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceBounds {
    /// After so many lines.
    pub count: u64,
    /// After so many milliseconds.
    pub for_ms: u64,
    /// Of so many that fit, one is shown.
    pub sample: u32,
    /// At most so many in a second.
    pub rate: u32,
    /// Interfaces on which an XDP program forwards packets itself: those have no line.
    #[serde(default)]
    pub unseen_on: Vec<String>,
}

/// Why a live trace ended, and what it did not show. Of all that `matched`, one part was `shown`;
/// the rest is counted by why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEnd {
    /// `count`, `time` or `stopping`.
    pub why: String,
    /// Fitted the filter.
    pub matched: u64,
    /// Lines.
    pub shown: u64,
    /// Left out by `sample`.
    pub sampled_out: u64,
    /// More than `rate` in their second.
    pub over_rate: u64,
    /// Came faster than they were read.
    pub queue_full: u64,
    /// Came when the last line was written already.
    pub late: u64,
}

/// What became of all packets of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryView {
    /// Packets of the capture that fitted the filter.
    pub packets: u64,
    /// Of these, cut short by the capture's snapshot length.
    pub cut_short: u64,
    /// From the first to the last, in milliseconds.
    pub time_ms: u64,
    /// By verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// By drop reason.
    pub drops: BTreeMap<String, u64>,
    /// Forwarded, by service and real, in file order.
    pub reals: Vec<ShareView>,
}

/// What one real got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    /// Its service.
    pub service: String,
    /// Its name.
    pub real: String,
    /// Flows that began.
    pub new_flows: u64,
    /// Packets.
    pub packets: u64,
    /// IP bytes.
    pub bytes: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn lines_keep_their_keys() {
        let at = Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_710_265_250));
        let packet = PacketView {
            interface: Some("eth0".into()),
            protocol: Some(Protocol::Tcp),
            client: Some("198.51.100.7:40000".into()),
            vip: Some("192.0.2.10:443".into()),
            icmp_error: false,
            flags: Some("SYN".into()),
            length: 74,
            packets: 1,
            service: Some("web".into()),
            flow: FlowFound::Miss,
            flow_state: None,
            verdict: Verdict::Forward,
            drop_reason: None,
            reason: "a new flow: maglev decides".into(),
            real: Some("rs1".into()),
            mac: Some("02:00:00:00:00:21".into()),
            out: Some("eth0".into()),
        };
        let connection = ConnectionView {
            protocol: Protocol::Tcp,
            client: "198.51.100.7:40000".into(),
            vip: "192.0.2.10:443".into(),
            service: "shop".into(),
            verdict: Verdict::Proxy,
            real: Some("rs1".into()),
            server: Some("10.0.0.1:8443".into()),
            tried: vec!["rs2".into()],
            result: Some("ok".into()),
            age_ms: 12,
            bytes_in: 1,
            bytes_out: 2,
        };
        let end = TraceEnd {
            why: "time".into(),
            matched: 3,
            shown: 2,
            sampled_out: 1,
            over_rate: 0,
            queue_full: 0,
            late: 0,
        };
        for (what, json) in [
            (
                TraceLine::Packet(Box::new(packet)),
                r#""event":"packet","interface":"eth0","protocol":"tcp","client":"198.51.100.7:40000","vip":"192.0.2.10:443","icmp_error":false,"flags":"SYN","length":74,"packets":1,"service":"web","flow":"miss","flow_state":null,"verdict":"forward","drop_reason":null,"reason":"a new flow: maglev decides","real":"rs1","mac":"02:00:00:00:00:21","out":"eth0"}"#,
            ),
            (
                TraceLine::Ended(Box::new(connection)),
                r#""event":"ended","protocol":"tcp","client":"198.51.100.7:40000","vip":"192.0.2.10:443","service":"shop","verdict":"proxy","real":"rs1","server":"10.0.0.1:8443","tried":["rs2"],"result":"ok","age_ms":12,"bytes_in":1,"bytes_out":2}"#,
            ),
            (
                TraceLine::End(end),
                r#""event":"end","why":"time","matched":3,"shown":2,"sampled_out":1,"over_rate":0,"queue_full":0,"late":0}"#,
            ),
        ] {
            let view = TraceView { at, what };
            let line = serde_json::to_string(&view).unwrap();
            let expected = format!(r#"{{"at":"2025-11-21T07:31:05.250Z",{json}"#);
            assert_eq!(line, expected);
            assert_eq!(serde_json::from_str::<TraceView>(&line).unwrap(), view);
        }
        let strange = r#"{"at":"2025-11-21T07:31:05.250Z","event":"eclipse","of":"moon"}"#;
        let view: TraceView = serde_json::from_str(strange).unwrap();
        assert_eq!(view.what, TraceLine::Unknown);
    }

    #[test]
    fn what_is_asked_has_bounds_and_defaults() {
        let ask: TraceAsk = serde_json::from_str(r#"{"filter":{"service":"web"}}"#).unwrap();
        assert_eq!(ask.filter.service, Some(ServiceRef::from("web")));
        assert_eq!(ask.count, TraceAsk::default().count);
        assert!(ask.check().is_ok());
        assert!(serde_json::from_str::<TraceAsk>(r#"{"filter":{"colour":"red"}}"#).is_err());
        for (ask, words) in [
            (r#"{"count":0}"#, "count 0 shows nothing"),
            (r#"{"count":1000001}"#, "at most 1000000"),
            (r#"{"for_ms":3600001}"#, "at most an hour"),
            (r#"{"sample":0}"#, "sample 0 shows nothing"),
            (r#"{"rate":10001}"#, "at most 10000"),
        ] {
            let ask: TraceAsk = serde_json::from_str(ask).unwrap();
            let why = ask.check().unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
