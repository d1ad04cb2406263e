//! Real traffic for lbd: network namespaces, real servers, clients, frames, and the daemon itself.
//!
//! | room | what it holds |
//! |---|---|
//! | [`isolate`] | a test runs in namespaces of its own, which the kernel takes back when it ends |
//! | [`netns`], [`topology`], [`routed`], [`behind`] | named network namespaces; the networks the tests run on (SW, WIRE, RT) |
//! | [`host`], [`sockets`] | what stands in a namespace: nft tables, rules, routes; TCP sockets |
//! | [`conf`], [`daemon`], [`metrics`] | a configuration as text; lbd and lbctl as processes; what `/metrics` says |
//! | [`engine`] | which engine lbd runs in tests that do not say |
//! | [`real_server`] | `whoami`: says who it is and whom it sees |
//! | [`ingress`] | nginx and HAProxy as ingress controllers between lbd and `whoami` |
//! | [`kubernetes`] | nodes with pods, kube-proxy's rules and its health servers |
//! | [`front`] | a balancer in front of lbd: tells clients in PROXY headers, good and bad |
//! | [`client`], [`dial`] | curl and single requests; connections held by hand |
//! | [`doctor`] | what `lbctl doctor` says |
//! | [`browser`], [`terminal`] | a headless Chromium that looks at the status page; a screen for `lbctl top` |
//! | [`long_flows`], [`storm`], [`crowd`] | thousands of flows that must not break; that end in every way; that take up room |
//! | [`transfer`], [`pattern`], [`fnv`] | bytes both ways at once; a stream of bytes known by their place; a hash of one |
//! | [`frames`], [`wire`], [`load`], [`tally`], [`capture`] | frames built byte by byte; a raw socket; a steady rate; exact counting; capture files |
//! | [`stage`] | a network with real servers and lbd, ready |
//! | [`wait`], [`fair_clock`] | conditions with a deadline; time in which the machine did not stand still |
//!
//! Nothing here uses code of lbd or lbctl: they are judged from outside.

pub mod behind;
pub mod browser;
pub mod capture;
pub mod client;
pub mod conf;
pub mod crowd;
pub mod daemon;
pub mod dial;
pub mod doctor;
pub mod engine;
pub mod fair_clock;
pub mod fnv;
pub mod frames;
pub mod front;
pub mod host;
pub mod ingress;
pub mod isolate;
pub mod kubernetes;
pub mod load;
pub mod long_flows;
pub mod metrics;
pub mod netns;
pub mod pattern;
pub mod real_server;
pub mod routed;
pub mod sockets;
pub mod stage;
pub mod storm;
pub mod tally;
pub mod terminal;
pub mod topology;
pub mod transfer;
pub mod wait;
pub mod wire;

pub use fair_clock::FairClock;
pub use isolate::{figure, isolated, isolated_within};
pub use wait::wait_until;
