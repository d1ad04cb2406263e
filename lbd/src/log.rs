//! Logs: one line an event, to stderr as text or JSON, or to journald with its fields.

use lbcore::api::{printable, printable_json};
use lbcore::config::{Lbd, LogFormat};
use std::fmt::Debug;
use std::io::{self, IsTerminal, Write};
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// The filter of this process's log, which may be exchanged while it runs.
#[derive(Debug, Default)]
pub struct LogFilter(Option<reload::Handle<EnvFilter, Registry>>);

impl LogFilter {
    /// Puts other directives in force (as in `log` of the configuration).
    ///
    /// # Errors
    /// They are none, or the log is not ours.
    pub fn exchange(&self, directives: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(directives).map_err(|e| e.to_string())?;
        match &self.0 {
            Some(handle) => handle.reload(filter).map_err(|e| e.to_string()),
            None => Err("this process has no log of its own".to_owned()),
        }
    }
}

/// Sets up logging as the configuration says. Later calls change nothing.
pub fn set(lbd: &Lbd) -> LogFilter {
    let by_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let default = if by_systemd {
        LogFormat::Journald
    } else {
        LogFormat::Text
    };
    let format = lbd.log_format.unwrap_or(default);
    let filter = EnvFilter::try_new(&lbd.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = || {
        fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colour)
            .with_target(false)
            .fmt_fields(format::debug_fn(field).delimited(" "))
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => text().boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(|| SafeJson(io::stderr()))
            .boxed(),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => layer.boxed(),
            Err(_) => text().boxed(),
        },
    };
    // Fails only when a subscriber is set already, and then that one stays.
    let set = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
    LogFilter(set.is_ok().then_some(handle))
}

/// One field of an event. Its text may be other people's (a server's answer, a name in a request),
/// and here is where it leaves.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", printable(&text)),
        name => write!(writer, "{name}={}", printable(&text)),
    }
}

/// Takes whole events; JSON itself leaves some characters alone that terminals obey.
struct SafeJson(io::Stderr);

impl Write for SafeJson {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let safe = printable_json(&String::from_utf8_lossy(event));
        self.0.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use lbcore::api::is_printable;
    use std::sync::{Arc, Mutex};

    const NASTY: &str = "a\n2026-01-01 forged\x1b[2J\u{9b}\u{202e}\0b";

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn t60c_an_event_is_one_line_whatever_it_is_about() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .fmt_fields(format::debug_fn(field).delimited(" "));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::info!(reason = NASTY, shown = %NASTY, "said {NASTY}");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(line.chars().all(is_printable), "{line:?}");
        assert!(
            line.contains("said a\\n2026-01-01 forged\\u{1b}[2J"),
            "{line}"
        );
        assert!(line.contains(" shown=a\\n2026"), "{line}");
    }
}
