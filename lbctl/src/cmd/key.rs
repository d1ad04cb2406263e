//! `lbctl key`: of a file, it needs no daemon.

use crate::args::KeyCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::files::read;
use crate::output::Context;
use crate::render::Page;
use lbcore::api::{KeyView, Request};
use lbcore::net::HashKey;
use std::path::Path;
use std::process::ExitCode;

/// Bytes of a key.
const BYTES: usize = 16;

pub async fn run(command: KeyCommand, context: &Context) -> Result<ExitCode, Failure> {
    let KeyCommand::Fingerprint { file } = command;
    match file {
        Some(file) => context.print(&of_file(&file)?, draw),
        None => {
            let fetch = async |client: &Client| client.ask::<KeyView>(&Request::Key).await;
            context.show(fetch, draw).await
        }
    }
}

fn of_file(file: &Path) -> Result<KeyView, Failure> {
    let bytes = read(file, BYTES)?;
    let key = <[u8; BYTES]>::try_from(bytes).map_err(|_| Failure::NoKey { file: file.into() })?;
    Ok(KeyView {
        fingerprint: HashKey::new(key).fingerprint(),
        file: file.display().to_string(),
    })
}

/// The digits alone, as scripts want them.
fn draw(view: &KeyView, page: &mut Page) {
    page.line(&view.fingerprint);
}
