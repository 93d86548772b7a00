//! `stackdrop destroy STACK`

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;
use stackdrop_specs::StackName;

use super::deploy::by_hand;
use super::{At, code, with_installation};
use crate::commands::{complain, say};

/// Remove a stack and all that is in it. A database that is protected is not removed, nor anything else then.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CODES)]
pub(crate) struct Destroy {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// Do not ask whether it is meant.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    at: At,
}

impl Destroy {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let name = self.stack.as_str();
        if !self.yes && !is_meant(name)? {
            complain("Nothing was removed.");
            return Ok(ExitCode::from(code::REJECTED));
        }
        with_installation(&self.at, async |installation| {
            by_hand(&installation, &self.at, name, &json!({ "stack": name, "action": "destroy" })).await
        })
    }
}

/// Asks whoever sits at the terminal.
fn is_meant(stack: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("nobody is here to be asked whether the stack {stack} is to be removed: give --yes");
    }
    say(&format!("This removes the stack {stack} and all that is in it. Type its name if that is meant:"));
    let mut answer = String::new();
    input.lock().read_line(&mut answer).context("reading the answer")?;
    Ok(answer.trim() == stack)
}
