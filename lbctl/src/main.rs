//! `lbctl`: talks to the control socket.

fn main() {}
