//! `stackdrop plan SPEC`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::Target;
use super::agreed::Agreed;
use super::deploy::upload_file;

/// Show what a deployment of a spec would change, its cost and duration, and what would make it fail. Nothing is
/// changed.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CREDENTIALS)]
pub(in crate::commands) struct Plan {
    /// The spec file.
    spec: PathBuf,
    /// Exit with 10 if the plan has changes, and with 0 only if it has none.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    agreed: Agreed,
    #[command(flatten)]
    target: Target,
}

impl Plan {
    pub(in crate::commands) fn run(self) -> Result<ExitCode> {
        upload_file(&self.target, "plans", &self.spec, &self.agreed, self.exit_code)
    }
}
