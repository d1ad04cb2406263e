//! `lbctl config`

mod check;

pub use check::BAD_CONFIG;

use crate::args::{ConfigCommand, Global};
use crate::failure::Failure;
use crate::files::read;
use crate::output::{self, Context, say};
use crate::render;
use lbcore::api::{
    ApiError, ChangeView, ConfigDiffView, ConfigRequest, ConfigView, Draft, ErrorCode, HistoryView,
    Request,
};
use lbcore::config::{self, MAX_BYTES};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

/// What `lbctl config diff` exits with where there is a difference, as `diff` does.
const DIFFERS: u8 = 1;

pub fn run(command: ConfigCommand, global: Global) -> Result<ExitCode, Failure> {
    let request = match command {
        ConfigCommand::Check { file } => return check::run(&file, &global),
        ConfigCommand::Schema => return super::schema::run(),
        ConfigCommand::Show { revision } => ConfigRequest::Show { revision },
        ConfigCommand::History => ConfigRequest::History,
        ConfigCommand::Diff { file } => ConfigRequest::Diff {
            draft: file.as_deref().map(draft).transpose()?,
        },
        ConfigCommand::Apply {
            file,
            confirm,
            force,
            change,
        } => ConfigRequest::Apply {
            draft: draft(&file)?,
            confirm,
            force,
            dry_run: change.dry_run,
        },
        ConfigCommand::Confirm { change } => ConfigRequest::Confirm {
            dry_run: change.dry_run,
        },
        ConfigCommand::Undo {
            revision,
            force,
            change,
        } => ConfigRequest::Undo {
            revision,
            force,
            dry_run: change.dry_run,
        },
    };
    super::block_on(ask(request, &Context::new(global)))
}

async fn ask(request: ConfigRequest, context: &Context) -> Result<ExitCode, Failure> {
    match request {
        ConfigRequest::Show { .. } => show(context, request).await,
        ConfigRequest::History => {
            let view: HistoryView = put(context, request).await?;
            warn(&view.warnings);
            context.print(&view, render::config::history)
        }
        ConfigRequest::Diff { .. } => {
            let view: ConfigDiffView = put(context, request).await?;
            warn(&view.warnings);
            context.print(&view, render::config::diff)?;
            Ok(match view.same && view.diff.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(DIFFERS),
            })
        }
        ConfigRequest::Apply { .. }
        | ConfigRequest::Confirm { .. }
        | ConfigRequest::Undo { .. } => {
            let done: ChangeView = put(context, request).await?;
            warn(&done.warnings);
            context.print(&done, render::config::changed)
        }
    }
}

async fn show(context: &Context, request: ConfigRequest) -> Result<ExitCode, Failure> {
    let view: ConfigView = put(context, request).await?;
    if context.is_json() {
        return context.print(&view, |_, _| ());
    }
    output::write(&render::config::show(&view, io::stdout().is_terminal()))?;
    Ok(ExitCode::SUCCESS)
}

fn warn(warnings: &[String]) {
    warnings.iter().for_each(|w| say(&format!("warning: {w}")));
}

async fn put<T: serde::de::DeserializeOwned>(
    context: &Context,
    request: ConfigRequest,
) -> Result<T, Failure> {
    context.client.ask(&Request::Config(request)).await
}

/// A file as it is sent: lbd itself may have no right to read it. What is no text, or too much of
/// it, is not sent at all.
fn draft(file: &Path) -> Result<Draft, Failure> {
    let bytes = read(file, MAX_BYTES)?;
    let name = match file.as_os_str() == "-" {
        true => "stdin".to_owned(),
        false => file.display().to_string(),
    };
    match String::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_BYTES => Ok(Draft { name, text }),
        odd => {
            let bytes = odd.map_or_else(|e| e.into_bytes(), String::into_bytes);
            let report = config::offline_check(&name, &bytes, false);
            let message = format!("{name} is no configuration; nothing was changed");
            let error = ApiError::new(ErrorCode::BadConfig, message);
            Err(Failure::Refused(error.detail(report.text)))
        }
    }
}
