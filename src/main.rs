//! The `stackdrop` command.

mod commands;

use std::process::ExitCode;

use clap::Parser;
use commands::Command;

/// Drop a spec in S3; get a running stack.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
