//! Logs: one line an event, to stderr as text or JSON, or to journald with its fields.

use lbcore::config::{Lbd, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// Sets up logging as the configuration says. Later calls change nothing.
pub fn set(lbd: &Lbd) {
    let by_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let default = if by_systemd {
        LogFormat::Journald
    } else {
        LogFormat::Text
    };
    let format = lbd.log_format.unwrap_or(default);
    let filter = EnvFilter::try_new(&lbd.log).unwrap_or_else(|_| EnvFilter::new("info"));
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
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
}
