//! How a change is made.

use clap::Args;
use lbcore::api::How;
use lbcore::config::{Keys, TypedSection};

#[derive(Clone, Copy, Debug, Args)]
pub struct ChangeArgs {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Of a change of the configuration.
#[derive(Clone, Copy, Debug, Args)]
pub struct HowArgs {
    /// Change only what runs, not the file: it holds until the file changes the same key, and shows
    /// as drift
    #[arg(long)]
    pub runtime: bool,
    /// Do it even if this host listens on a VIP:port of it, or has no address but VIPs
    #[arg(long)]
    pub force: bool,
    /// Say what would change and what that does to traffic, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Of a change that takes something away.
#[derive(Clone, Copy, Debug, Args)]
pub struct AwayArgs {
    /// Its flows do not linger until they end: they are treated at once as after a death
    #[arg(long)]
    pub now: bool,
    #[command(flatten)]
    pub how: HowArgs,
}

impl From<HowArgs> for How {
    fn from(args: HowArgs) -> Self {
        How {
            runtime: args.runtime,
            force: args.force,
            dry_run: args.dry_run,
            now: false,
        }
    }
}

impl From<AwayArgs> for How {
    fn from(args: AwayArgs) -> Self {
        How {
            now: args.now,
            ..args.how.into()
        }
    }
}

pub fn unset_of_service(text: &str) -> Result<Keys, String> {
    TypedSection::Service.unset(text)
}

pub fn unset_of_real(text: &str) -> Result<Keys, String> {
    TypedSection::Real.unset(text)
}
