//! `stackdrop deploy SPEC`, and `stackdrop deploy STACK --version V`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use stackdrop_functions::deployment::event::EXTENSIONS;
use stackdrop_specs::StackName;

use super::agreed::Agreed;
use super::follow::{deployment_of, follow};
use super::installation::Installation;
use super::{Target, report, with_installation};
use crate::commands::{print, read_spec};

/// Upload a spec and follow its deployment to the end, or deploy an earlier version of a stack's spec again.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Deploy {
    /// The spec file; with `--version`, the stack's name.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Deploy this S3 version of the stack's spec again: `stackdrop history` lists the deployed versions.
    #[arg(long, value_name = "V")]
    version: Option<String>,
    #[command(flatten)]
    agreed: Agreed,
    #[command(flatten)]
    target: Target,
}

impl Deploy {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        let Some(version) = &self.version else {
            return upload_file(&self.target, "specs", &self.spec, &self.agreed, false);
        };
        let stack = super::stack_name(&self.spec.to_string_lossy()).map_err(anyhow::Error::msg);
        let stack = stack.context("--version takes the name of a stack, not a file")?;
        with_installation(&self.target, async |installation| {
            let request = json!({ "stack": stack, "action": "deploy", "version": version });
            let request = self.agreed.add_to(request);
            deploy_request(&installation, &self.target, stack.as_str(), &request).await
        })
    }
}

/// Uploads a spec file under a prefix, and follows the execution that this starts. `tells_changes`: a plan with changes has an
/// exit code of its own.
pub(super) fn upload_file(
    target: &Target,
    prefix: &str,
    file: &Path,
    agreed: &Agreed,
    tells_changes: bool,
) -> Result<ExitCode> {
    let (text, spec) = match read_spec(file)? {
        Ok(read) => read,
        Err(code) => return Ok(code),
    };
    let key = key_of(prefix, file, &spec.stack);
    with_installation(target, async |installation| {
        let version = installation.upload(&key, &text, agreed.metadata()).await?;
        if !target.json {
            print(&format!("Uploaded s3://{}/{key} (version {version}).", installation.bucket));
        }
        let arn = if let Some(arn) = installation.execution_of(&key, &version).await? {
            arn
        } else {
            let request = json!({ "stack": spec.stack, "action": "deploy", "version": version });
            start_without_event(&installation, target, &key, &agreed.add_to(request)).await?
        };
        follow_to_end(&installation, target, spec.stack.as_str(), &arn, tells_changes).await
    })
}

/// Deploys an uploaded version by a manual request, because no event has started its deployment. If the event arrives later,
/// its deployment finds nothing to change.
async fn start_without_event(
    installation: &Installation,
    target: &Target,
    key: &str,
    request: &Value,
) -> Result<String> {
    let why = "the bucket's events of a new installation begin after about five minutes; later, check that the \
               installation's EventBridge rule SpecRule is enabled";
    if !key.starts_with("specs/") {
        bail!(
            "cannot find the plan of {key}: it was uploaded (version {}), but no execution started\nhelp: {why}",
            request["version"].as_str().unwrap_or_default()
        );
    }
    if !target.json {
        print(&format!("No event has started the deployment, so it is started by hand: {why}."));
    }
    installation.start(request).await
}

/// The key of a spec under a prefix. It keeps the file's extension if uploads with that extension start deployments.
fn key_of(prefix: &str, file: &Path, stack: &StackName) -> String {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let extension = extension.filter(|extension| EXTENSIONS.contains(extension)).unwrap_or(EXTENSIONS[0]);
    format!("{prefix}/{stack}.{extension}")
}

/// Starts a deployment with a manual request, and follows it.
pub(super) async fn deploy_request(
    installation: &Installation,
    target: &Target,
    stack: &str,
    request: &Value,
) -> Result<u8> {
    let arn = installation.start(request).await?;
    follow_to_end(installation, target, stack, &arn, false).await
}

async fn follow_to_end(
    installation: &Installation,
    target: &Target,
    stack: &str,
    arn: &str,
    tells_changes: bool,
) -> Result<u8> {
    if !target.json {
        print(&format!("Deployment {}", deployment_of(arn)));
    }
    let followed = follow(installation, target, arn, 0).await?;
    report::finish(installation, target, stack, &followed, tells_changes).await
}
