//! `stackdrop validate SPEC`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::{print, read_spec};

/// Check a spec and print every problem in it.
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    /// The spec file.
    spec: PathBuf,
}

impl Validate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (_, spec) = match read_spec(&self.spec)? {
            Ok(read) => read,
            Err(code) => return Ok(code),
        };
        let services: Vec<&str> = spec.services.keys().map(String::as_str).collect();
        print(&format!(
            "{} is a valid spec of stack {}{}.",
            self.spec.display(),
            spec.stack,
            if services.is_empty() { String::new() } else { format!(" (services: {})", services.join(", ")) }
        ));
        Ok(ExitCode::SUCCESS)
    }
}
