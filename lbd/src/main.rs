//! `lbd`: parse the command line, then run.

mod args;
mod manual;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use lbcore::api::Envelope;
use lbd::daemon::{self, Options, StartError};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lbd: no threads: {error}");
            return ExitCode::from(71);
        }
    };
    runtime.block_on(async {
        match &args.command {
            Some(Command::Cleanup { dry_run }) => cleanup(&args, *dry_run).await,
            Some(Command::Doctor) => examine(&args).await,
            Some(Command::Man { date }) => manual::print(Args::command(), date),
            None if args.check => check(&args).await,
            None if args.print_rules => print_rules(&args).await,
            None => run(args).await,
        }
    })
}

async fn run(args: Args) -> ExitCode {
    let options = Options {
        config: args.config,
        strict: args.strict,
        force: args.force,
    };
    match daemon::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn check(args: &Args) -> ExitCode {
    match daemon::check_file(&args.config, args.host, args.force).await {
        Ok(loaded) => {
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
            eprintln!("{}: good", args.config.display());
            ExitCode::SUCCESS
        }
        Err(refused) => {
            let error = StartError::Config(refused);
            eprintln!("{}", error.to_string().trim_end());
            ExitCode::from(error.exit_code())
        }
    }
}

async fn print_rules(args: &Args) -> ExitCode {
    match daemon::check_file(&args.config, false, false).await {
        Ok(loaded) => {
            print!("{}", daemon::print_rules(&loaded.config));
            ExitCode::SUCCESS
        }
        Err(refused) => {
            let error = StartError::Config(refused);
            eprintln!("{}", error.to_string().trim_end());
            ExitCode::from(error.exit_code())
        }
    }
}

async fn examine(args: &Args) -> ExitCode {
    let view = daemon::examine_host(&args.config).await;
    match serde_json::to_string_pretty(&Envelope::new(&view)) {
        Ok(json) => {
            println!("{json}");
            ExitCode::from(u8::from(!view.clean))
        }
        Err(error) => {
            eprintln!("lbd: {error}");
            ExitCode::from(71)
        }
    }
}

async fn cleanup(args: &Args, dry_run: bool) -> ExitCode {
    let config = daemon::config_to_clean(&args.config);
    let (done, failed) = daemon::cleanup(&config, dry_run).await;
    let verb = if dry_run { "would remove" } else { "removed" };
    done.iter().for_each(|what| println!("{verb}: {what}"));
    if done.is_empty() && failed.is_empty() {
        println!("nothing to remove");
    }
    failed
        .iter()
        .for_each(|what| eprintln!("lbd: not removed: {what}"));
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(71)
    }
}
