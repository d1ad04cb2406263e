//! Waiting until the last flow has ended.

use crate::args::WaitArgs;
use crate::failure::Failure;
use crate::output::say;
use crate::render::human;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits until `flows` says that `whose` are none, telling on stderr how it goes.
///
/// # Errors
/// What `flows` says, or that the time is up.
pub async fn until_none(
    whose: &str,
    args: WaitArgs,
    flows: impl AsyncFn() -> Result<u64, Failure>,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let mut said = None;
    loop {
        let now = flows().await?;
        if now == 0 {
            say(&format!("{whose} has no flows left"));
            return Ok(ExitCode::SUCCESS);
        }
        if said != Some(now) {
            say(&format!("{whose} has {} flows left", human::count(now)));
            said = Some(now);
        }
        let waited = began.elapsed();
        let timeout = args.timeout;
        let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(waited));
        if left.is_zero() {
            return Err(Failure::StillRunning {
                flows: now,
                whose: whose.to_owned(),
                waited: timeout.unwrap_or(waited),
            });
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}
