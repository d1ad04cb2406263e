//! `lbctl real`

use super::WaitArgs;
use super::change::{AwayArgs, HowArgs, unset_of_real};
use super::typed::RealFlags;
use super::value::{place, real, service};
use clap::{Args, Subcommand};
use lbcore::api::{RealRef, ServiceRef};
use lbcore::config::Keys;
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
pub enum RealCommand {
    /// The reals of one service, or of all
    List {
        /// Name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: Option<ServiceRef>,
    },
    /// One real: state, checks, MAC, counters, its last ten transitions
    Show(RealArgs),
    /// No new flows; those it has may end by themselves
    Drain {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        how: HowArgs,
    },
    /// New flows again: undoes drain and disable
    Enable {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        how: HowArgs,
    },
    /// No flows at all: those it has are treated at once as if it had died (see on_dead)
    Disable {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        how: HowArgs,
    },
    /// A new real, also written to the configuration file, after the last one of its service
    Add {
        /// Of this service: name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: ServiceRef,
        /// Its address; in mode tproxy with a port where that is not the one clients dial
        #[arg(value_name = "ADDRESS[:PORT]", value_parser = place)]
        place: (IpAddr, Option<u16>),
        #[command(flatten)]
        keys: RealFlags,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Change keys of a real, also in the configuration file
    ///
    /// What is not named stays.
    Set {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        keys: RealFlags,
        /// Take a key out, back to its default: weight, mac, labels.rack; may be repeated
        #[arg(long, value_name = "KEY", value_parser = unset_of_real)]
        unset: Vec<Keys>,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Take a real away, also from the configuration file; its flows linger until they end
    Remove {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        away: AwayArgs,
    },
}

#[derive(Debug, Args)]
pub struct RealArgs {
    /// Name, or VIP:PORT/PROTO
    #[arg(value_parser = service)]
    pub service: ServiceRef,
    /// Name, address, or ADDRESS:PORT
    #[arg(value_parser = real)]
    pub real: RealRef,
}
