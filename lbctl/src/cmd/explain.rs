//! `lbctl explain`

use crate::args::ExplainArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{ExplainView, PacketKind, Request};
use std::process::ExitCode;

pub async fn run(args: ExplainArgs, context: &Context) -> Result<ExitCode, Failure> {
    let ExplainArgs {
        protocol,
        client,
        vip,
        syn,
        ack,
    } = args;
    let packet = match (syn, ack) {
        (true, _) => Some(PacketKind::Syn),
        (_, true) => Some(PacketKind::Ack),
        _ => None,
    };
    let request = Request::Explain {
        protocol,
        client,
        vip,
        packet,
    };
    let fetch = async |client: &Client| client.ask::<ExplainView>(&request).await;
    context.show(fetch, render::explain::explain).await
}
