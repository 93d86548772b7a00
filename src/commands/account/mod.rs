//! The commands that speak to an account. They do nothing that a person could not do by hand with S3, Step Functions and
//! CloudWatch Logs.

pub(super) mod answer;
pub(super) mod deploy;
pub(super) mod destroy;
mod follow;
pub(super) mod history;
mod installation;
pub(super) mod logs;
pub(super) mod plan;
mod progress;
mod report;
pub(super) mod status;
mod steps;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use stackdrop_specs::StackName;

use installation::Installation;

/// How a command ends, for scripts. 2 is a usage error, or no connection.
mod code {
    pub(super) const GOOD: u8 = 0;
    pub(super) const FAILED: u8 = 1;
    pub(super) const REJECTED: u8 = 4;
    pub(super) const NOT_DONE: u8 = 5;
}

/// What the help of each of these commands ends with.
pub(super) const CODES: &str = "\
Exit codes:
  0  it is done
  1  the deployment failed, and was undone or left as the spec says
  2  it was not understood, or AWS could not be reached
  3  the deployment failed, and so did its undo
  4  the spec, the request or the plan was rejected; nothing was changed
  5  it is not done: superseded, or waiting for approval

Credentials come from the environment or from a profile, as the AWS CLI has them. For single sign-on:
  eval \"$(aws configure export-credentials --format env)\"";

/// Where Stackdrop is installed, and in which form to answer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct At {
    /// The profile of the AWS configuration.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The region that Stackdrop is installed in.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Where AWS answers, for a simulated account.
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Stackdrop's bucket, also `STACKDROP_BUCKET`. Left out: stackdrop-ACCOUNT-REGION.
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    /// Print one JSON object for programs, and nothing else.
    #[arg(long)]
    json: bool,
}

/// A stack's name as an argument.
fn stack_name(text: &str) -> std::result::Result<StackName, String> {
    StackName::try_from(text.to_owned())
}

/// Runs something that speaks to AWS.
fn with_installation<F: Future<Output = Result<u8>>>(
    at: &At,
    work: impl FnOnce(Installation) -> F,
) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async { work(Installation::find(at).await?).await }).map(ExitCode::from)
}

#[expect(clippy::disallowed_methods, reason = "the command asks again; no function does")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A time as people say it.
fn in_words(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}
