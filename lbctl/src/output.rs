//! Where data leaves: one document on stdout, or the same one again and again.

use crate::args::{Format, Global};
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{Look, Page, json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// What every command needs: whom to ask and how to print.
pub struct Context {
    /// Asks lbd.
    pub client: Client,
    format: Format,
    headers: bool,
    watch: Option<Duration>,
    color: bool,
    width: Option<u16>,
    terminal: bool,
}

impl Context {
    /// From the options that hold everywhere, and from what stdout is.
    pub fn new(global: Global) -> Self {
        let terminal = io::stdout().is_terminal();
        Context {
            client: Client::new(global.socket),
            format: global.output,
            headers: !global.no_headers,
            watch: global.watch,
            color: terminal && colors_wanted(),
            width: terminal
                .then(|| comfy_table::Table::new().width())
                .flatten(),
            terminal,
        }
    }

    fn look(&self) -> Look {
        Look {
            wide: self.format == Format::Wide,
            headers: self.headers,
            color: self.color,
            width: self.width,
            now: SystemTime::now(),
        }
    }

    fn text<T: Serialize>(&self, view: &T, draw: fn(&T, &mut Page)) -> Result<String, Failure> {
        if self.format == Format::Json {
            return json_text(view);
        }
        let mut page = Page::new(self.look());
        draw(view, &mut page);
        Ok(page.into_text())
    }

    /// Prints one answer.
    ///
    /// # Errors
    /// Only if stdout cannot be written.
    pub fn print<T: Serialize>(
        &self,
        view: &T,
        draw: fn(&T, &mut Page),
    ) -> Result<ExitCode, Failure> {
        write(&self.text(view, draw)?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Whether programs read the answer.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether `--watch` was given.
    pub fn watches(&self) -> bool {
        self.watch.is_some()
    }

    /// What `--watch` was given.
    #[cfg(feature = "top")]
    pub fn interval(&self) -> Option<Duration> {
        self.watch
    }

    /// Whether JSON is wanted.
    #[cfg(feature = "top")]
    pub fn is_for_programs(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints one line of a stream, as it came for programs, drawn for people; and gives what it
    /// says.
    ///
    /// # Errors
    /// It is no `T`, or stdout cannot be written.
    pub fn print_line<T: DeserializeOwned>(
        &self,
        line: &str,
        draw: fn(&T, &mut Page),
    ) -> Result<T, Failure> {
        let view = serde_json::from_str(line).map_err(|e| self.client.bad_answer(e.to_string()))?;
        if self.format == Format::Json {
            write(&json::safe(line))?;
            return Ok(view);
        }
        let mut page = Page::new(self.look());
        draw(&view, &mut page);
        write(&page.into_text())?;
        Ok(view)
    }

    /// Prints one line of a stream that is made here: JSON on a line of its own for programs.
    ///
    /// # Errors
    /// Only if stdout cannot be written.
    pub fn print_streamed<T: Serialize>(
        &self,
        view: &T,
        draw: fn(&T, &mut Page),
    ) -> Result<(), Failure> {
        if self.format == Format::Json {
            return write(&json::line(view).map_err(|e| Failure::Output(e.into()))?);
        }
        let mut page = Page::new(self.look());
        draw(view, &mut page);
        write(&page.into_text())
    }

    /// Fetches and prints, once or as often as `--watch` says. While watching, a failure is shown
    /// and lbd is asked again: it may just be restarting.
    ///
    /// # Errors
    /// What `fetch` says, unless watching.
    pub async fn show<T: Serialize>(
        &self,
        fetch: impl AsyncFn(&Client) -> Result<T, Failure>,
        draw: fn(&T, &mut Page),
    ) -> Result<ExitCode, Failure> {
        let Some(interval) = self.watch else {
            return self.print(&fetch(&self.client).await?, draw);
        };
        loop {
            let text = match fetch(&self.client).await {
                Ok(view) => self.text(&view, draw)?,
                Err(failure) => failure.words(),
            };
            write(&if self.terminal { redrawn(&text) } else { text })?;
            tokio::time::sleep(interval).await;
        }
    }
}

/// From the top left corner, each line to its end, and nothing of the old screen below: without
/// the flicker that clearing first would give.
fn redrawn(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

/// Prints text as it is.
///
/// # Errors
/// Only if stdout cannot be written.
pub fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

/// Prints one document for programs.
///
/// # Errors
/// Only if stdout cannot be written.
pub fn write_json(view: &impl Serialize) -> Result<(), Failure> {
    write(&json_text(view)?)
}

fn json_text(view: &impl Serialize) -> Result<String, Failure> {
    json::document(view).map_err(|e| Failure::Output(e.into()))
}

/// Whether the person who typed likes colours: <https://no-color.org>, and TERM=dumb.
pub fn colors_wanted() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !no_color && !dumb
}

/// Words for the person who typed: stderr, so that stdout stays data.
pub fn say(text: &str) {
    // If nobody can read it, the exit code still tells.
    let _ = writeln!(io::stderr(), "{}", lbcore::api::printable(text));
}
