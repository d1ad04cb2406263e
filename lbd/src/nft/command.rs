//! Running the `nft` binary: text in, text out, its refusals in words.

use super::{NftError, Table};
use std::io::ErrorKind;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// By `PATH`, then where Debian and Fedora put it, which is not in every user's `PATH`.
const BINARIES: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// It waits for other programs' transactions; those take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks `text`, then loads it in one transaction.
///
/// # Errors
/// Nothing was changed.
pub async fn load(text: &str) -> Result<(), NftError> {
    for arguments in [&["-c", "-f", "-"][..], &["-f", "-"]] {
        let output = run(arguments, text).await?;
        if !output.status.success() {
            return Err(refusal(&output));
        }
    }
    Ok(())
}

pub(super) async fn list(table: Table) -> Result<Option<String>, NftError> {
    let name = table.to_string();
    let arguments: Vec<&str> = ["-s", "list", "table"]
        .into_iter()
        .chain(name.split(' '))
        .collect();
    listing(&arguments).await
}

/// What `nft` prints for `arguments`, which change nothing; `None`: there is no such thing.
///
/// # Errors
/// `nft` could not be asked.
pub async fn listing(arguments: &[&str]) -> Result<Option<String>, NftError> {
    let output = run(arguments, "").await?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    match refusal(&output) {
        NftError::Refused(words) if words.contains("No such file") => Ok(None),
        other => Err(other),
    }
}

fn refusal(output: &Output) -> NftError {
    let words = String::from_utf8_lossy(&output.stderr);
    // The first line says what is wrong; the others quote the text with a caret.
    let words = words
        .lines()
        .next()
        .unwrap_or("no reason given")
        .trim()
        .to_owned();
    if words.contains("Operation not permitted") || words.contains("must be root") {
        NftError::NotPermitted(words)
    } else {
        NftError::Refused(words)
    }
}

async fn run(arguments: &[&str], input: &str) -> Result<Output, NftError> {
    for binary in BINARIES {
        let spawned = Command::new(binary)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other?,
        };
        let mut stdin = child.stdin.take();
        let talk = async {
            if let Some(stdin) = &mut stdin {
                // One that ends before it has read everything says why on stderr.
                stdin.write_all(input.as_bytes()).await.ok();
            }
            drop(stdin.take());
            child.wait_with_output().await
        };
        let answered = tokio::time::timeout(PATIENCE, talk).await;
        return Ok(answered.map_err(|_| NftError::TimedOut(PATIENCE))??);
    }
    Err(NftError::Missing)
}
