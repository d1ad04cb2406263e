//! lbctl(1), and lbctl-NOUN(1) and lbctl-NOUN-VERB(1).

use super::{Page, paragraphs};
use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::Roff;
use std::io;

/// The page of a command, and those of all below it that are shown.
///
/// # Errors
/// None that is known: they are written into memory.
pub fn commands(root: Command, date: &str) -> io::Result<Vec<Page>> {
    let global: Vec<String> = root
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| arg.get_id().to_string())
        .collect();
    let mut root = root.disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add(&root, &global, date, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, global: &[String], date: &str, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let is_root = pages.is_empty();
    pages.push(Page {
        file: format!("{name}.1"),
        text: page(command, global, date, is_root)?,
    });
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        add(below, global, date, pages)?;
    }
    Ok(())
}

fn page(command: &Command, global: &[String], date: &str, is_root: bool) -> io::Result<Vec<u8>> {
    // What works everywhere is told once.
    let local = command.clone().mut_args(|arg| {
        let id = arg.get_id().as_str();
        let told_elsewhere =
            global.iter().any(|told| told == id) || ["help", "version"].contains(&id);
        match told_elsewhere && !is_root {
            true => arg.hide(true),
            false => with_values(arg),
        }
    });
    let has_arguments = local.get_arguments().any(|arg| !arg.is_hide_set());
    let has_commands = local.has_subcommands();
    let man = Man::new(local)
        .date(date)
        .source(concat!("lbd ", env!("CARGO_PKG_VERSION")))
        .manual("lbd");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if has_arguments {
        man.render_options_section(&mut text)?;
    }
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    let mut tail = Roff::new();
    if is_root {
        paragraphs(
            &mut tail,
            "FILES",
            &["/run/lbd/lbd.sock: the control socket; it speaks HTTP with JSON (see --socket)."],
        );
        paragraphs(&mut tail, "SEE ALSO", &["lbd(8), lbd.toml(5)"]);
    } else {
        let others = "lbctl(1) for what works with every command (--output, --watch, --socket and \
                      others) and for exit codes; lbd(8), lbd.toml(5)";
        paragraphs(&mut tail, "SEE ALSO", &[others]);
    }
    tail.to_writer(&mut text)?;
    Ok(tidy(&text))
}

/// Puts the words an argument takes, and the variable that says it, too, into its help: as lists of
/// their own they would be longer than all else on the page.
fn with_values(arg: Arg) -> Arg {
    let mut help = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let values = arg.get_possible_values();
    let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    if !values.is_empty() {
        help += &format!(" ({})", values.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        help += &format!(" (also in the environment: {})", variable.to_string_lossy());
    }
    arg.hide_possible_values(true)
        .help(help.clone())
        .long_help(help)
}

/// Without blanks at the ends of lines and without empty lines, which clap_mangen leaves and man(7)
/// does not want.
fn tidy(page: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(page);
    let lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    lines
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect()
}
