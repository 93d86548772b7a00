//! `stackdrop plan SPEC`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::deploy::{deploy, key_of};
use super::{At, code, with_installation};
use crate::commands::read;

/// Show what a deployment of a spec would change, what it would cost, and what would make it fail. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = super::CODES)]
pub(crate) struct Plan {
    /// The spec's file.
    spec: PathBuf,
    #[command(flatten)]
    at: At,
}

impl Plan {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Some((text, spec)) = read(&self.spec)? else { return Ok(ExitCode::from(code::REJECTED)) };
        let key = key_of("plans", &self.spec, &spec.stack);
        with_installation(&self.at, async |installation| {
            deploy(&installation, &self.at, spec.stack.as_str(), &key, &text).await
        })
    }
}
