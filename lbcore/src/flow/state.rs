//! How far a flow is, as a balancer can know that sees only the client's side of it: IPVS's
//! input-only table (Linux `ip_vs_proto_tcp.c`, direct routing and tunnels).

use crate::load::Weightiness;
use crate::net::packet::{TcpFlags, Transport};

/// How far a flow is. The numbers stand in flow entries, which outlive the process: a changed
/// number needs a new layout version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// TCP: the client sent a SYN.
    SynRecv = 1,
    /// TCP: the client acknowledged.
    Established = 2,
    /// TCP: the client sent a FIN. The last state that one direction shows.
    FinWait = 3,
    /// TCP: the client sent a FIN before it acknowledged anything.
    TimeWait = 4,
    /// TCP: the client sent a RST.
    Close = 5,
    /// TCP met in mid-flow: one packet that was no SYN; the next one makes it established.
    Adopted = 6,
    /// UDP: more than one datagram.
    Udp = 7,
    /// UDP: one datagram.
    UdpNew = 8,
    /// TCP: the client sent a SYN and then a RST, as checkers do that open a connection by half: it
    /// had an answer. Everything else is as after the SYN alone, for the RST may be forged.
    SynReset = 9,
}

impl State {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => State::SynRecv,
            2 => State::Established,
            3 => State::FinWait,
            4 => State::TimeWait,
            5 => State::Close,
            6 => State::Adopted,
            7 => State::Udp,
            8 => State::UdpNew,
            9 => State::SynReset,
            _ => return None,
        })
    }

    /// The word listings show.
    pub fn word(self) -> &'static str {
        match self {
            State::SynRecv => "syn_recv",
            State::Established => "established",
            State::FinWait => "fin_wait",
            State::TimeWait => "time_wait",
            State::Close => "close",
            State::Adopted => "adopted",
            State::Udp => "udp",
            State::UdpNew => "udp_new",
            State::SynReset => "syn_reset",
        }
    }

    /// The state of a flow whose first packet this is. `None` for a RST: what it would end is not
    /// there.
    #[inline]
    pub fn first(transport: Transport) -> Option<Self> {
        match transport {
            Transport::Udp => Some(State::UdpNew),
            Transport::Tcp(flags) if flags.rst() => None,
            Transport::Tcp(flags) if flags.syn() => Some(State::SynRecv),
            Transport::Tcp(flags) if flags.fin() => Some(State::FinWait),
            Transport::Tcp(_) => Some(State::Adopted),
        }
    }

    /// The state after one more packet.
    #[inline]
    pub fn next(self, transport: Transport) -> Self {
        match transport {
            Transport::Udp => State::Udp,
            Transport::Tcp(flags) => tcp_next(self, flags),
        }
    }

    /// Which of a real's counts the flow belongs to.
    #[inline]
    pub fn weightiness(self) -> Weightiness {
        match self {
            State::Established | State::Udp | State::UdpNew => Weightiness::Active,
            _ => Weightiness::Inactive,
        }
    }

    /// Whether the client has ended the flow: a SYN may start a new one on the same ports.
    #[inline]
    pub fn closing(self) -> bool {
        matches!(self, State::FinWait | State::TimeWait | State::Close)
    }

    /// Whether nothing but its opening was seen, which anybody can send from any address: first
    /// to go, after closing flows, when room is needed.
    #[inline]
    pub fn opening(self) -> bool {
        matches!(
            self,
            State::SynRecv | State::SynReset | State::Adopted | State::UdpNew
        )
    }

    /// Whether the client has acknowledged the real's answer to its SYN between this state and
    /// `next`.
    #[inline]
    pub fn completes(self, next: State) -> bool {
        matches!(self, State::SynRecv | State::SynReset) && next == State::Established
    }
}

/// The state of a TCP flow after a client's segment with `flags`. Where several are set, RST wins
/// over SYN over FIN over ACK.
#[inline]
pub fn tcp_next(state: State, flags: TcpFlags) -> State {
    if flags.rst() {
        return match state {
            // A RST guessed into a handshake must not shorten what the real may still complete.
            State::SynRecv | State::SynReset => State::SynReset,
            _ => State::Close,
        };
    }
    if flags.syn() {
        return match state {
            // A retransmitted SYN, or a forged one: the flow is what it was.
            State::Established => State::Established,
            _ => State::SynRecv,
        };
    }
    if flags.fin() {
        return match state {
            State::SynRecv | State::SynReset | State::TimeWait => State::TimeWait,
            State::Close => State::Close,
            _ => State::FinWait,
        };
    }
    match state {
        State::SynRecv | State::SynReset | State::Adopted if flags.ack() => State::Established,
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::*;
    use rstest::rstest;

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const FIN: TcpFlags = TcpFlags::FIN;
    const RST: TcpFlags = TcpFlags::RST;

    /// Columns: the state after SYN, FIN, ACK, RST.
    #[rstest]
    #[case(SynRecv, [SynRecv, TimeWait, Established, SynReset])]
    #[case(SynReset, [SynRecv, TimeWait, Established, SynReset])]
    #[case(Established, [Established, FinWait, Established, Close])]
    #[case(FinWait, [SynRecv, FinWait, FinWait, Close])]
    #[case(TimeWait, [SynRecv, TimeWait, TimeWait, Close])]
    #[case(Close, [SynRecv, Close, Close, Close])]
    #[case(Adopted, [SynRecv, FinWait, Established, Close])]
    fn input_only_table(#[case] from: State, #[case] to: [State; 4]) {
        let after = [SYN, FIN.with(ACK), ACK, RST.with(ACK)].map(|flags| tcp_next(from, flags));
        assert_eq!(after, to);
    }

    #[test]
    fn stronger_flags_win() {
        assert_eq!(tcp_next(Established, RST.with(FIN)), Close);
        assert_eq!(tcp_next(FinWait, SYN.with(ACK)), SynRecv);
        assert_eq!(tcp_next(SynRecv, TcpFlags::PSH), SynRecv);
    }

    #[test]
    fn first_packets() {
        assert_eq!(State::first(Transport::Tcp(SYN)), Some(SynRecv));
        assert_eq!(State::first(Transport::Tcp(ACK)), Some(Adopted));
        assert_eq!(State::first(Transport::Tcp(FIN.with(ACK))), Some(FinWait));
        assert_eq!(State::first(Transport::Tcp(RST)), None);
        assert_eq!(State::first(Transport::Udp), Some(UdpNew));
        assert_eq!(UdpNew.next(Transport::Udp), Udp);
    }

    #[test]
    fn numbers_come_back() {
        for number in 0..=255 {
            if let Some(state) = State::from_number(number) {
                assert_eq!(state as u8, number);
            }
        }
        assert_eq!((0..=255).filter_map(State::from_number).count(), 9);
    }
}
