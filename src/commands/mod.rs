//! The commands, and how they speak.

mod account;
mod rehearse;
mod report;
mod simulate;
mod storm;
mod validate;

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use stackdrop_specs::Spec;

/// What the command can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check a spec, and say all that is wrong with it.
    Validate(validate::Validate),
    /// Deploy a spec into a simulated AWS account: what is made, in which order, how long it takes, what it costs.
    Rehearse(rehearse::Rehearse),
    /// Upload a spec to an account, and follow its deployment to the end.
    Deploy(account::deploy::Deploy),
    /// Show what a deployment would change, cost and take; nothing is changed.
    Plan(account::plan::Plan),
    /// Show how a stack stands.
    Status(account::status::Status),
    /// List a stack's deployments, the newest first.
    History(account::history::History),
    /// Show what the containers of a stack's services have written.
    Logs(account::logs::Logs),
    /// Agree to the plan that waits for approval.
    Approve(account::answer::Approve),
    /// Reject the plan that waits for approval.
    Reject(account::answer::Reject),
    /// Remove a stack and all that is in it.
    Destroy(account::destroy::Destroy),
    /// Serve a simulated AWS account on a loopback port, for the AWS CLI and any SDK.
    Simulate(simulate::Simulate),
    /// Rehearse in random weather, one storm a seed, and say after which something is wrong.
    Storm(storm::Storm),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Validate(validate) => validate.run(),
            Self::Rehearse(rehearse) => rehearse.run(),
            Self::Deploy(deploy) => deploy.run(),
            Self::Plan(plan) => plan.run(),
            Self::Status(status) => status.run(),
            Self::History(history) => history.run(),
            Self::Logs(logs) => logs.run(),
            Self::Approve(approve) => approve.run(),
            Self::Reject(reject) => reject.run(),
            Self::Destroy(destroy) => destroy.run(),
            Self::Simulate(simulate) => simulate.run(),
            Self::Storm(storm) => storm.run(),
        }
    }
}

/// A spec file's text and the spec in it; the problems are said when there are any.
fn read(path: &Path) -> Result<Option<(String, Spec)>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    match Spec::read(&bytes) {
        Ok(spec) => Ok(Some((String::from_utf8(bytes).context("the spec is not UTF-8")?, spec))),
        Err(errors) => {
            complain(&errors.render(&path.display().to_string()));
            Ok(None)
        }
    }
}

/// Runs something in simulated time: the clock moves on by itself whenever everything waits.
fn in_simulated_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(work)
}

/// Prints a line to standard output. A reader who has gone away (`| head`) is no error.
fn say(line: &str) {
    print_to(&mut std::io::stdout().lock(), line);
}

/// Prints a line to standard error.
pub(crate) fn complain(line: &str) {
    print_to(&mut std::io::stderr().lock(), line);
}

fn print_to(out: &mut impl Write, line: &str) {
    match writeln!(out, "{}", line.trim_end_matches('\n')).and_then(|()| out.flush()) {
        // Nowhere is left to say that nothing can be said.
        Ok(()) | Err(_) => {}
    }
}
