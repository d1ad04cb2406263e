//! What the figures were measured on.

use std::fs;
use std::process::Command;

/// Kernel, processor, cores, commit and date, in a sentence.
pub fn describe() -> String {
    let kernel = first_line("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let commit = said("git", &["describe", "--always", "--dirty"]);
    let date = said("date", &["--utc", "+%F"]);
    format!(
        "on {date} at commit {commit}: Linux {kernel}, {}, {cores} cores.",
        processor()
    )
}

/// Its name, and whether it is a virtual machine's.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = field("model name").unwrap_or_else(|| "a processor without a name".to_owned());
    let guest =
        field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    if guest {
        format!("{model} in a virtual machine")
    } else {
        model
    }
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
