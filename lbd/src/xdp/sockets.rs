//! Opens the engine `af_xdp` on one interface: sockets for all its queues, and the program before them.

use super::choose::{Ground, Queues};
use super::modes::with_tags;
use super::{Mode, ToSockets};
use crate::io::af_xdp::{AfXdp, CHUNKS, OpenError, Options, chunk_for, room_in, with_chunks};
use crate::live::event::Link;
use crate::sys::packet_socket::PacketSocket;
use crate::sys::xsk::Way;
use crate::sys::{affinity, capability, ethtool};

/// Sockets and program on one interface.
#[derive(Debug)]
pub(super) struct Opened {
    pub to_sockets: ToSockets,
    /// One a worker.
    pub workers: Vec<Queues>,
    /// What was got, in words.
    pub how: String,
}

/// Opens and attaches in the first mode that works; what was got says what kept the better ones.
///
/// # Errors
/// Why none does, in words; nothing is left then.
pub(super) fn open(
    ground: &Ground<'_>,
    slot: usize,
    link: &Link,
    modes: &[Mode],
) -> Result<Opened, String> {
    if let Some(missing) = capability::missing_for_bpf() {
        return Err(format!(
            "{missing} is missing (the unit's drop-in lbd-af-xdp.conf gives it)"
        ));
    }
    let mut refused = Vec::new();
    for &mode in modes {
        // A socket has bytes only: a tag beside them would be lost.
        let opened = with_tags(&link.name, || open_in(ground, slot, link, mode));
        match opened {
            Ok(mut opened) => {
                for why in refused {
                    opened.how = format!("{}; {why}", opened.how);
                }
                return Ok(opened);
            }
            Err(why) => refused.push(format!("not {}: {why}", mode.word())),
        }
    }
    Err(refused.join("; "))
}

fn open_in(ground: &Ground<'_>, slot: usize, link: &Link, mode: Mode) -> Result<Opened, String> {
    let queues = queues_of(&link.name)?;
    let shares = shares(queues, workers(queues, ground.network.workers));
    let ask = |way, chunks| -> Result<Vec<AfXdp>, OpenError> {
        let one = |queues: &Vec<u32>| {
            AfXdp::open(&Options {
                ifindex: link.ifindex,
                mtu: link.mtu,
                queues: queues.clone(),
                way,
                chunks,
                busy_poll: ground.network.busy_poll,
            })
        };
        shares.iter().map(one).collect()
    };
    let zero_copy = match mode {
        Mode::Native => with_chunks(|chunks| ask(Way::ZeroCopy, chunks)),
        // Behind the driver there is only what the kernel has copied.
        Mode::Generic => Err(OpenError::NoZeroCopy(
            std::io::ErrorKind::Unsupported.into(),
        )),
    };
    let (got, refused) = match zero_copy {
        Ok(got) => (Ok(got), None),
        Err(why) => (with_chunks(|chunks| ask(Way::Copy, chunks)), Some(why)),
    };
    let (engines, chunks) = got.map_err(|error| error.to_string())?;
    let room = room_in(chunk_for(link.mtu)) as u32;
    let mut to_sockets = ToSockets::load(slot, link.ifindex, queues, room)?;
    let sockets = engines.iter().flat_map(AfXdp::sockets);
    to_sockets.attach(sockets, mode)?;
    let refused = refused.filter(|_| mode == Mode::Native);
    Ok(Opened {
        to_sockets,
        how: how(queues, mode, &engines, chunks, refused),
        workers: engines
            .into_iter()
            .map(|engine| Queues {
                interface: link.name.clone(),
                slot,
                engine,
            })
            .collect(),
    })
}

/// How many queues it has, each of which gets a socket; one where its driver does not tell.
fn queues_of(name: &str) -> Result<u32, String> {
    let asked = PacketSocket::new().and_then(|socket| {
        let receive = ethtool::receive_queues(&socket, name)?;
        Ok((receive, ethtool::send_queues(&socket, name)?))
    });
    let Ok((receive, send)) = asked else {
        return Ok(1);
    };
    if send < receive {
        return Err(format!(
            "{receive} queues receive and {send} send, and a socket has one of each: \
             ethtool -L {name} makes them as many"
        ));
    }
    u32::try_from(receive.max(1)).map_err(|_| "too many queues".to_owned())
}

/// What the configuration says, or one a queue; in no case more than queues or cores.
fn workers(queues: u32, configured: usize) -> usize {
    let cores = affinity::allowed_cores().map_or(1, |cores| cores.len());
    let wanted = if configured == 0 {
        queues as usize
    } else {
        configured
    };
    wanted.min(cores).clamp(1, queues as usize)
}

/// Whose each queue is, in turns.
fn shares(queues: u32, workers: usize) -> Vec<Vec<u32>> {
    let of = |worker| (0..queues).skip(worker).step_by(workers).collect();
    (0..workers).map(of).collect()
}

fn how(
    queues: u32,
    mode: Mode,
    engines: &[AfXdp],
    chunks: usize,
    refused: Option<OpenError>,
) -> String {
    let copies = engines.iter().any(|engine| engine.way() == Way::Copy);
    let mut how = format!(
        "plain TCP and UDP by AF_XDP sockets on {queues} {} ({}, {}), the rest by raw sockets",
        if queues == 1 { "queue" } else { "queues" },
        mode.word(),
        if copies { "copy" } else { "zero-copy" },
    );
    if let Some(why) = refused {
        how = format!("{how}; {why}");
    }
    if chunks < CHUNKS {
        how = format!(
            "{how}; only {chunks} of {CHUNKS} frames a queue, as RLIMIT_MEMLOCK is too low \
             (the unit's drop-in lbd-af-xdp.conf raises it)"
        );
    }
    how
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_one_worker_and_none_is_idle() {
        assert_eq!(shares(1, 1), [vec![0]]);
        assert_eq!(shares(5, 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(workers(4, 1), 1);
        assert_eq!(workers(1, 64), 1);
        assert!(workers(64, 0) >= 1);
        for (queues, workers) in [(1, 1), (7, 3), (8, 8)] {
            let mut all = shares(queues, workers).concat();
            all.sort_unstable();
            assert_eq!(all, (0..queues).collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_is_said_what_was_refused() {
        let refused = OpenError::NoZeroCopy(std::io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        let said = how(2, Mode::Native, &[], 4096, Some(refused));
        assert!(said.contains("2 queues (native, zero-copy)"), "{said}");
        assert!(said.contains("zero-copy is refused"), "{said}");
        assert!(said.contains("only 4096 of 8192"), "{said}");
        let plain = how(1, Mode::Generic, &[], CHUNKS, None);
        assert!(plain.ends_with("the rest by raw sockets"), "{plain}");
    }
}
