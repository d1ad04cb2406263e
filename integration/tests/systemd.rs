//! What lbd tells systemd (sd_notify(3)).

use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::isolated;
use integration::stage::{RoutedStage, proxied};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Reads messages until one has a line that begins with `wanted`; returns those before it.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut before = Vec::new();
    loop {
        let mut room = [0; 4096];
        let length = socket.recv(&mut room);
        let length = length.unwrap_or_else(|e| panic!("no {wanted} ({e}): {before:?}"));
        let message = String::from_utf8_lossy(&room[..length]).into_owned();
        if message.lines().any(|line| line.starts_with(wanted)) {
            return before;
        }
        before.push(message);
    }
}

/// A first check may be an hour away, and `shutdown_timeout` an hour: the unit's limits are for an lbd
/// that hangs.
#[test]
fn systemd_is_asked_to_wait_while_a_start_or_a_stop_takes_its_time() {
    isolated(|| {
        let slow = [("type", "\"tcp\""), ("interval", "\"30m\"")];
        let conf = Conf::one(proxied(1).check(FAST_TCP_CHECK).check(&slow))
            .lbd("shutdown_timeout", "\"10m\"");
        let mut stage = RoutedStage::before_lbd(1, &conf);
        let path = stage.lbd.dir().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time limit");
        stage.lbd.notify(&path);
        stage.lbd.spawn();
        let before = until(&socket, "EXTEND_TIMEOUT_USEC=30000000");
        assert!(!before.iter().any(|m| m.contains("READY=1")), "{before:?}");

        // In force at once: nobody waits for half an hour.
        stage
            .lbd
            .reload(&Conf::one(proxied(1)).lbd("shutdown_timeout", "\"10m\""));
        until(&socket, "READY=1");
        let flows = stage.flows(1, Duration::from_millis(50));
        stage.lbd.signal(Signal::SIGTERM);
        until(&socket, "STOPPING=1");
        until(&socket, "EXTEND_TIMEOUT_USEC=30000000");
        drop(flows);
        assert!(stage.lbd.wait_exit().success());
    });
}
