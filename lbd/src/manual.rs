//! The manual page lbd(8), from what `--help` says.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};
use std::process::ExitCode;

/// What lbd reads and leaves, in default places.
const FILES: &[(&str, &str)] = &[
    ("/etc/lbd/lbd.toml", "The configuration, see lbd.toml(5)."),
    (
        "/run/lbd",
        "The control socket lbd.sock, which lbctl(1) asks; the flow table.",
    ),
    (
        "/var/lib/lbd",
        "The hash key, the last good configuration, what was changed by command.",
    ),
];

/// Prints it.
pub fn print(command: Command, date: &str) -> ExitCode {
    let page = page(command, date).and_then(|page| io::stdout().write_all(&page));
    match page {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbd: {error}");
            ExitCode::from(71)
        }
    }
}

fn page(command: Command, date: &str) -> io::Result<Vec<u8>> {
    let exit_codes = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let man = Man::new(command.disable_help_subcommand(true))
        .section("8")
        .date(date)
        .source(concat!("lbd ", env!("CARGO_PKG_VERSION")))
        .manual("lbd");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([bold("lbd"), roman(" [OPTIONS]")]);
    synopsis.control("br", []);
    synopsis.text([bold("lbd cleanup"), roman(" [--dry-run]")]);
    synopsis.to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;

    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    roff.control("TP", []);
    roff.text([bold("lbd cleanup"), roman(" [--dry-run]")]);
    roff.text([roman(
        "Remove what an lbd that runs no more has left: nft tables, rules and routes of the proxy, \
         neighbour entries, files in run_dir. Beside a running lbd it refuses.",
    )]);
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(exit_codes)]);
    roff.control("SH", ["FILES"]);
    for (file, what) in FILES {
        roff.control("TP", []);
        roff.text([bold(*file)]);
        roff.text([roman(*what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("lbctl(1), lbd.toml(5), nft(8)")]);
    roff.to_writer(&mut page)?;
    Ok(page)
}
