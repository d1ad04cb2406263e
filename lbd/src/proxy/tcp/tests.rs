mod bounds;
mod dialling;
mod ends;
mod headers;
mod relaying;

use crate::live::Outcome;
use crate::proxy::budget::Budget;
use crate::proxy::testbed::*;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const RS1: &str = "10.0.0.1:8080";
const RS2: &str = "10.0.0.2:8080";

/// A client's connection through the proxy and the real's end of it.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = call();
    (client, accepted(listener))
}

fn said(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).expect("so many bytes");
    bytes
}

fn is_reset(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}
