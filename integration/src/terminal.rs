//! A terminal for a program: tmux holds it, reads its screen and presses its keys.

use crate::wait::wait_until;
use std::fmt::Write;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// See the module; program and terminal end with it.
#[derive(Debug)]
pub struct Terminal {
    dir: TempDir,
}

impl Terminal {
    /// Runs `command`, with its arguments and environment, on a screen of this size.
    ///
    /// # Panics
    /// When tmux is not installed.
    pub fn start(command: &Command, columns: u16, lines: u16) -> Terminal {
        let dir = tempfile::tempdir().expect("a directory");
        let conf = "set -g remain-on-exit on\nset -g default-terminal tmux-256color\n";
        std::fs::write(dir.path().join("conf"), conf).expect("tmux's configuration");
        let terminal = Terminal { dir };
        let mut new = terminal.tmux();
        new.args([
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            &lines.to_string(),
        ]);
        for (key, value) in command.get_envs() {
            let value = value.unwrap_or_default().to_string_lossy();
            new.args(["-e", &format!("{}={value}", key.to_string_lossy())]);
        }
        // Several words are run as they are, without a shell.
        new.arg("env")
            .arg(command.get_program())
            .args(command.get_args());
        done(&mut new);
        terminal
    }

    /// Presses keys, named as tmux names them: `d`, `Down`, `C-c`.
    pub fn press(&self, keys: &[&str]) {
        done(self.tmux().arg("send-keys").args(keys));
    }

    /// Gives the screen another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        done(
            self.tmux()
                .args(["resize-window", "-x", &columns, "-y", &lines]),
        );
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        let output = done(self.tmux().args(["capture-pane", "-p"]));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the screen shows `text`.
    ///
    /// # Panics
    /// When it does not within `deadline`; with what it shows.
    pub fn wait(&self, text: &str, deadline: Duration) {
        self.wait_for(text, deadline, |screen| screen.contains(text));
    }

    /// Waits until the screen is as `condition` wants it.
    ///
    /// # Panics
    /// When it is not within `deadline`; with what it shows.
    pub fn wait_for(&self, what: &str, deadline: Duration, condition: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, deadline, || {
                last = self.text();
                condition(&last)
            });
        }));
        if let Err(panic) = waited {
            eprintln!("the screen:\n{last}");
            std::panic::resume_unwind(panic);
        }
    }

    /// How the program ended, if it did: its exit code.
    pub fn ended(&self) -> Option<i32> {
        // tmux 3.3 now and then misses that a child has ended, until the next one does.
        done(self.tmux().args(["run-shell", "true"]));
        let format = "#{pane_dead} #{pane_dead_status}";
        let output = done(self.tmux().args(["display-message", "-p", format]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = text.trim().strip_prefix("1 ")?;
        code.parse().ok()
    }

    /// Whether the program has taken the whole screen for itself (and not given it back).
    pub fn is_taken(&self) -> bool {
        let output = done(
            self.tmux()
                .args(["display-message", "-p", "#{alternate_on}"]),
        );
        output.stdout.starts_with(b"1")
    }

    /// The program's process.
    pub fn pid(&self) -> i32 {
        let output = done(self.tmux().args(["display-message", "-p", "#{pane_pid}"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.trim().parse().expect("a process id")
    }

    /// The screen in its colours, as a page.
    pub fn html(&self) -> String {
        let output = done(self.tmux().args(["capture-pane", "-e", "-p"]));
        page(&String::from_utf8_lossy(&output.stdout))
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.dir.path().join("socket"));
        tmux.arg("-f").arg(self.dir.path().join("conf"));
        tmux.env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("tmux is needed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

const COLOURS: [&str; 16] = [
    "#3b4048", "#ff8d7b", "#4fcfa4", "#f1b93f", "#74bdf4", "#d3a6f5", "#6fd6d6", "#c8cdd2", //
    "#7f8890", "#ff8d7b", "#4fcfa4", "#f1b93f", "#74bdf4", "#d3a6f5", "#6fd6d6", "#ffffff",
];

/// One character's looks.
#[derive(Clone, Copy, Default)]
struct Style {
    ink: Option<usize>,
    paper: Option<usize>,
    bold: bool,
    dim: bool,
    reversed: bool,
}

impl Style {
    /// Applies the numbers of one `ESC [ ... m` (ECMA-48, SGR; 38;5 and 48;5 by ISO 8613-6).
    fn apply(&mut self, numbers: &str) {
        let mut numbers = numbers.split(';').map(|n| n.parse::<usize>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                // Of the 256 colours the first 16 are the terminal's own.
                38 | 48 => {
                    let colour = (numbers.next() == Some(5))
                        .then(|| numbers.next())
                        .flatten();
                    let colour = colour.filter(|n| *n < COLOURS.len());
                    match number {
                        38 => self.ink = colour,
                        _ => self.paper = colour,
                    }
                }
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                7 => self.reversed = true,
                22 => (self.bold, self.dim) = (false, false),
                27 => self.reversed = false,
                n @ 30..=37 => self.ink = Some(n - 30),
                39 => self.ink = None,
                n @ 40..=47 => self.paper = Some(n - 40),
                49 => self.paper = None,
                n @ 90..=97 => self.ink = Some(n - 82),
                n @ 100..=107 => self.paper = Some(n - 92),
                _ => {}
            }
        }
    }

    fn css(self) -> String {
        let ink = self.ink.map_or("#e5e8ea", |n| COLOURS[n]);
        let paper = self.paper.map_or("#14171a", |n| COLOURS[n]);
        let (ink, paper) = if self.reversed {
            (paper, ink)
        } else {
            (ink, paper)
        };
        let weight = if self.bold { 700 } else { 400 };
        let opacity = if self.dim { 0.65 } else { 1.0 };
        format!("color:{ink};background:{paper};font-weight:{weight};opacity:{opacity}")
    }
}

fn page(screen: &str) -> String {
    let mut html = String::from(
        "<!doctype html><meta charset=utf-8><style>body{margin:0;background:#14171a}\
         pre{margin:14px 18px;font:13.5px/1.32 'DejaVu Sans Mono',monospace;display:inline-block}</style><pre>",
    );
    let mut style = Style::default();
    for piece in screen.split("\x1b[") {
        // The first piece has no sequence before it; others than SGR tmux does not write.
        let text = match piece.split_once('m') {
            Some((numbers, text)) if numbers.bytes().all(|b| b.is_ascii_digit() || b == b';') => {
                style.apply(numbers);
                text
            }
            _ => piece,
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = write!(html, "<span style=\"{}\">{text}</span>", style.css());
    }
    html + "</pre>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_colours_and_text_stays_text() {
        assert_eq!(page("\x1b[1;38;5;2mup\x1b[0m"), page("\x1b[1;32mup\x1b[0m"));
        let html = page("a<b \x1b[1;32mup\x1b[0m m");
        assert!(html.contains(">a&lt;b </span>"), "{html}");
        assert!(
            html.contains("color:#4fcfa4;background:#14171a;font-weight:700;opacity:1\">up</span>"),
            "{html}"
        );
        assert!(html.ends_with("opacity:1\"> m</span></pre>"), "{html}");
    }
}
