//! `lbctl service`

use super::change::{AwayArgs, HowArgs, unset_of_service};
use super::typed::ServiceFlags;
use super::value::{endpoint, service};
use clap::Subcommand;
use lbcore::api::ServiceRef;
use lbcore::config::Keys;
use lbcore::net::ServiceKey;

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// All services
    List,
    /// One service with its reals
    Show {
        /// Name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: ServiceRef,
    },
    /// A new service, also written to the end of the configuration file
    ///
    /// Example: lbctl service add web 192.0.2.10:443/tcp --scheduler wrr --check tcp
    /// --real 192.0.2.21 --real 192.0.2.22,weight=2
    Add {
        /// Its name
        #[arg(value_name = "NAME")]
        new: String,
        /// What clients dial: IP:PORT/PROTO or [IPv6]:PORT/PROTO
        #[arg(value_name = "VIP:PORT/PROTO", value_parser = endpoint)]
        endpoint: ServiceKey,
        #[command(flatten)]
        keys: ServiceFlags,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Change keys of a service, also in the configuration file
    ///
    /// What is not named stays. --check replaces all its checks, --real all its reals, --labels adds
    /// to its labels.
    Set {
        /// Name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: ServiceRef,
        #[command(flatten)]
        keys: ServiceFlags,
        /// Take a key out, back to its default: scheduler, check, proxy.retries, labels.team; may be
        /// repeated
        #[arg(long, value_name = "KEY", value_parser = unset_of_service)]
        unset: Vec<Keys>,
        #[command(flatten)]
        how: HowArgs,
    },
    /// Take a service away, also from the configuration file; its flows linger until they end
    Remove {
        /// Name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: ServiceRef,
        #[command(flatten)]
        away: AwayArgs,
    },
}
