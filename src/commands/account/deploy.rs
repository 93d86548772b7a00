//! `stackdrop deploy SPEC`, and `stackdrop deploy STACK --version V`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;
use stackdrop_specs::StackName;

use super::follow::follow;
use super::installation::Installation;
use super::progress::Progress;
use super::{At, code, report, with_installation};
use crate::commands::{read, say};

/// Upload a spec, and follow its deployment to the end; or go back to an earlier version of a stack's spec.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CODES)]
pub(crate) struct Deploy {
    /// The spec's file; with `--version` the stack's name.
    #[arg(value_name = "SPEC")]
    what: PathBuf,
    /// Go back to this S3 version of the stack's spec: `stackdrop history` shows those that were deployed.
    #[arg(long, value_name = "V")]
    version: Option<String>,
    #[command(flatten)]
    at: At,
}

impl Deploy {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Some(version) = &self.version else {
            let Some((text, spec)) = read(&self.what)? else { return Ok(ExitCode::from(code::REJECTED)) };
            let key = key_of("specs", &self.what, &spec.stack);
            return with_installation(&self.at, async |installation| {
                deploy(&installation, &self.at, spec.stack.as_str(), &key, &text).await
            });
        };
        let stack = super::stack_name(&self.what.to_string_lossy()).map_err(anyhow::Error::msg);
        let stack = stack.context("with --version the name of a stack is needed, not a file")?;
        with_installation(&self.at, async |installation| {
            let asked = json!({ "stack": stack, "action": "deploy", "version": version });
            by_hand(&installation, &self.at, stack.as_str(), &asked).await
        })
    }
}

/// The key of a spec under a prefix: its extension is the file's, where S3's events are listened to for that.
pub(super) fn key_of(prefix: &str, file: &Path, stack: &StackName) -> String {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let extension =
        extension.filter(|extension| ["yaml", "yml", "json"].contains(extension)).unwrap_or("yaml");
    format!("{prefix}/{stack}.{extension}")
}

/// Uploads a spec, and follows what that starts.
pub(super) async fn deploy(
    installation: &Installation,
    at: &At,
    stack: &str,
    key: &str,
    text: &str,
) -> Result<u8> {
    let version = installation.upload(key, text).await?;
    if !at.json {
        say(&format!("Uploaded s3://{}/{key} (version {version}).", installation.bucket));
    }
    let arn = installation.started_by(key, &version).await?;
    to_the_end(installation, at, stack, &arn).await
}

/// Starts a deployment by hand, and follows it.
pub(super) async fn by_hand(
    installation: &Installation,
    at: &At,
    stack: &str,
    asked: &serde_json::Value,
) -> Result<u8> {
    let arn = installation.start(asked).await?;
    to_the_end(installation, at, stack, &arn).await
}

async fn to_the_end(installation: &Installation, at: &At, stack: &str, arn: &str) -> Result<u8> {
    if !at.json {
        say(&format!("Deployment {}", arn.rsplit(':').next().unwrap_or(arn)));
    }
    let followed = follow(installation, arn, Progress::new(at), 0).await?;
    report::conclude(installation, at, stack, &followed).await
}
