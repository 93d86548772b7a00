//! `stackdrop validate SPEC`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{read, say};

/// Check a spec, and say all that is wrong with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// The spec's file.
    spec: PathBuf,
}

impl Validate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let Some((_, spec)) = read(&self.spec)? else { return Ok(ExitCode::FAILURE) };
        let services: Vec<&str> = spec.services.keys().map(String::as_str).collect();
        say(&format!(
            "{} is a valid spec of the stack {}{}.",
            self.spec.display(),
            spec.stack,
            if services.is_empty() { String::new() } else { format!(" (services: {})", services.join(", ")) }
        ));
        Ok(ExitCode::SUCCESS)
    }
}
