//! `lbctl top`

use crate::failure::Failure;
use crate::output::Context;
use crate::top;
use std::process::ExitCode;
use std::time::Duration;

/// As often as rates are worth reading.
const PERIOD: Duration = Duration::from_secs(1);

pub async fn run(context: &Context) -> Result<ExitCode, Failure> {
    // For programs there is status.
    if context.is_for_programs() {
        return Err(Failure::NoTerminal);
    }
    top::run(&context.client, context.interval().unwrap_or(PERIOD)).await
}
