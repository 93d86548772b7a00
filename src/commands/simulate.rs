//! `stackdrop simulate --listen ADDR`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::serve;
use tokio::net::TcpListener;

use super::{in_simulated_time, read, say};

/// Serve a simulated AWS account on a loopback port, for the AWS CLI and any SDK.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// Where to listen: a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4599")]
    listen: SocketAddr,
    /// Serve the account as it stands after rehearsing this spec.
    #[arg(long, value_name = "SPEC")]
    after: Option<PathBuf>,
}

impl Simulate {
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.listen.ip().is_loopback(),
            "--listen {}: the simulated account trusts everybody, so it listens on a loopback address only",
            self.listen
        );
        let spec = match &self.after {
            None => None,
            Some(file) => match read(file)? {
                None => return Ok(ExitCode::FAILURE),
                spec => spec,
            },
        };
        in_simulated_time(async move {
            let known: Vec<_> = spec.iter().map(|(_, spec)| spec).collect();
            let rehearsal = Rehearsal::open(&Setting::default(), &known)?;
            if let Some((text, _)) = &spec {
                let deployed = rehearsal.deploy(text, &()).await?;
                say(&format!(
                    "The rehearsal ended as {} after {:.1} simulated seconds.",
                    deployed.result(),
                    deployed.outcome.seconds
                ));
            }
            // From here on the account lives at the pace of the world outside.
            tokio::time::resume();
            let listener = TcpListener::bind(self.listen)
                .await
                .with_context(|| format!("listening on {}", self.listen))?;
            let address = listener.local_addr().context("asking for the address")?;
            let settings = &rehearsal.aws().settings;
            say(&format!(
                "An AWS account ({}, {}) is served on http://{address}; Ctrl-C ends it. For example:\n  \
                 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws --region {} --endpoint-url http://{address} ec2 describe-vpcs",
                settings.account, settings.region, settings.region
            ));
            tokio::select! {
                served = serve(rehearsal.account().clone(), listener) => served.context("serving")?,
                stopped = tokio::signal::ctrl_c() => stopped.context("waiting for Ctrl-C")?,
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
