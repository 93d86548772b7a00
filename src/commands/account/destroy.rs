//! `stackdrop destroy STACK`

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_specs::StackName;

use super::deploy::deploy_request;
use super::{Target, with_installation};
use crate::commands::{print, print_error};

/// Destroy a stack: delete all its resources. If the database has deletion protection, nothing is deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Destroy {
    /// The stack's name.
    #[arg(value_parser = super::stack_name)]
    stack: StackName,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

impl Destroy {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        let stack = self.stack.as_str();
        if !self.yes && !confirm(stack)? {
            print_error("Not confirmed: nothing was changed.");
            return Ok(ExitCode::from(exit_code::REJECTED));
        }
        with_installation(&self.target, async |installation| {
            let request = json!({ "stack": stack, "action": "destroy" });
            deploy_request(&installation, &self.target, stack, &request).await
        })
    }
}

/// Asks at the terminal for the stack's name.
fn confirm(stack: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("not a terminal: pass --yes to destroy without confirmation");
    }
    print(&format!("This destroys stack {stack} and deletes all its resources."));
    print("Type the stack name to confirm:");
    let mut answer = String::new();
    input.lock().read_line(&mut answer).context("cannot read the confirmation")?;
    Ok(answer.trim() == stack)
}
