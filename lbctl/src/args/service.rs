//! `lbctl service`

use super::value::service;
use clap::Subcommand;
use lbcore::api::ServiceRef;

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
}
