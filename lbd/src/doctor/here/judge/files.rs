//! Directories and the configuration file.

use super::super::facts::Room;
use super::super::{FileState, Running};
use crate::doctor::Report;
use crate::doctor::judge::finding;
use lbcore::api::{Code, Severity, Timestamp};
use std::path::Path;

/// What lbd's files need: the set and the last good configuration, each beside its successor.
const ROOM: u64 = 16 << 20;

pub(in crate::doctor::here) fn run_dir(
    dir: &Path,
    room: Result<Room, String>,
    report: &mut Report,
) {
    let check = "run_dir";
    let Some(room) = with_room(check, dir, room, report) else {
        return;
    };
    if !room.in_memory {
        let found = finding(
            Code::RunDirOnDisk,
            Severity::Note,
            "",
            format!("{} is not a tmpfs", dir.display()),
            "the flow table lies there: the kernel writes it to the disk all the time",
            "run_dir = \"/run/lbd\" in the configuration, then: systemctl restart lbd".to_owned(),
        );
        return report.found(check, found);
    }
    report.good(check, free(dir, room));
}

pub(in crate::doctor::here) fn state_dir(
    dir: &Path,
    room: Result<Room, String>,
    report: &mut Report,
) {
    let check = "state_dir";
    let Some(room) = with_room(check, dir, room, report) else {
        return;
    };
    if room.in_memory {
        let found = finding(
            Code::StateDirVolatile,
            Severity::Note,
            "",
            format!("{} is in memory", dir.display()),
            "hash key, last good configuration and changes by command are gone after a boot: flows \
             move, and a peer has another key",
            "state_dir = \"/var/lib/lbd\" in the configuration, then: systemctl restart lbd"
                .to_owned(),
        );
        return report.found(check, found);
    }
    report.good(check, free(dir, room));
}

fn free(dir: &Path, room: Room) -> String {
    format!("{}: {} MiB free", dir.display(), room.free >> 20)
}

/// What there is, if there is room.
fn with_room(
    check: &str,
    dir: &Path,
    room: Result<Room, String>,
    report: &mut Report,
) -> Option<Room> {
    let room = match room {
        Ok(room) => room,
        Err(error) => {
            report.skipped(check, format!("{}: {error}", dir.display()));
            return None;
        }
    };
    let mib = room.free >> 20;
    if room.free >= ROOM && room.files.is_none_or(|files| files > 8) {
        return Some(room);
    }
    let files = room
        .files
        .map_or_else(String::new, |n| format!(", {n} files"));
    let found = finding(
        Code::DiskFull,
        Severity::Warning,
        "",
        format!("{}: {mib} MiB{files} free", dir.display()),
        "what lbd must remember cannot be written: after a crash flows move, and changes are lost",
        format!("make room: df -h {0}; df -i {0}", dir.display()),
    );
    report.found(check, found);
    None
}

pub(in crate::doctor::here) fn configuration(running: &Running, report: &mut Report) {
    let Running {
        started,
        revision,
        loaded,
        file,
        compared,
        last_good_in_use,
        drift,
        ..
    } = running;
    let at = loaded.unwrap_or(*started);
    let words = format!(
        "lbd runs since {}, revision {revision} since {}",
        Timestamp(*started),
        Timestamp(at)
    );
    report.good("running", words);
    let check = "configuration file";
    let name = file.display();
    if *last_good_in_use {
        let found = finding(
            Code::LastGoodInUse,
            Severity::Warning,
            "",
            format!("{name} was bad when lbd started: the last good configuration runs"),
            "what the file says is not in force, and lbd --strict would not start",
            format!("lbctl config check {name}; mend it; then: lbctl reload"),
        );
        report.found(check, found);
    }
    match compared {
        FileState::Same => report.good(check, format!("{name} says what runs")),
        FileState::Bad(reason) => {
            let found = finding(
                Code::ConfigBad,
                Severity::Warning,
                "",
                reason.clone(),
                "what runs goes on, but the next start would not take this file",
                format!("lbctl config check {name}"),
            );
            report.found(check, found);
        }
        FileState::Differs(changes) => {
            let more = match changes.len() {
                0 | 1 => String::new(),
                n => format!("; and {} more", n - 1),
            };
            let first = changes.first().map_or("", String::as_str);
            let found = finding(
                Code::ConfigNotLoaded,
                Severity::Note,
                "",
                format!("{name} says otherwise than what runs: {first}{more}"),
                "whoever changed it may think it is in force; the next start will put it in force",
                "lbctl reload --dry-run says all that would change; then: lbctl reload".to_owned(),
            );
            report.found(check, found);
        }
    }
    if !drift.is_empty() {
        let found = finding(
            Code::ConfigDrift,
            Severity::Note,
            "",
            format!("by command, and not in the file: {}", drift.join(", ")),
            "the file alone does not say what runs",
            "lbctl status has each with both values; write it into the file, or take it back by \
             command"
                .to_owned(),
        );
        report.found("drift", found);
    }
}
