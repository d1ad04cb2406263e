//! Logs: one line an event, to stderr as text or JSON, or to journald with its fields.

use lbcore::config::{Lbd, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::filter::EnvFilter;
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
            .with_writer(std::io::stderr)
            .with_ansi(colour)
            .with_target(false)
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => text().boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
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
