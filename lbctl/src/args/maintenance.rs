//! `lbctl maintenance`

use super::{ChangeArgs, WaitArgs};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// No new flows here, no VIP answered for, /readyz 503; the flows there are go on
    ///
    /// First packets are dropped, not refused: clients send them again, to whoever answers for the
    /// VIP by then. A standby lbd takes the VIPs over within 30 s, or at once by: lbctl vip take
    /// there. Outlives restarts.
    On {
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// As before: VIPs are held as they were, new flows are taken
    Off {
        #[command(flatten)]
        change: ChangeArgs,
    },
}
