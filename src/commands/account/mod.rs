//! The commands that work with an AWS account. The AWS CLI can do the same with S3, Step Functions and CloudWatch
//! Logs.

mod agreed;
pub(super) mod answer;
pub(super) mod deploy;
pub(super) mod destroy;
mod follow;
pub(super) mod history;
mod installation;
pub(super) mod logs;
pub(super) mod plan;
mod prompt;
mod report;
pub(super) mod status;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use stackdrop_specs::StackName;

use installation::Installation;

/// The last paragraph of the help of these commands.
const CREDENTIALS: &str = "\
Credentials come from the environment or from a profile, as with the AWS CLI. For single sign-on:
  eval \"$(aws configure export-credentials --format env)\"";

/// The options of every command that works with an account.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Target {
    /// The profile of the AWS configuration.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The region in which Stackdrop is installed.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The endpoint of all AWS services, for a simulated account.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Stackdrop's bucket (also `STACKDROP_BUCKET`). Default: stackdrop-ACCOUNT-REGION.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Print one JSON document for programs, and nothing else.
    #[arg(long)]
    json: bool,
}

/// Parses the name of a stack.
fn stack_name(text: &str) -> std::result::Result<StackName, String> {
    StackName::try_from(text.to_owned())
}

/// Runs a command in the installation that the options name.
fn with_installation<F: Future<Output = Result<u8>>>(
    target: &Target,
    work: impl FnOnce(Installation) -> F,
) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    runtime.block_on(async { work(Installation::find(target).await?).await }).map(ExitCode::from)
}

#[expect(clippy::disallowed_methods, reason = "the command polls; no function does")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
