//! `stackdrop simulate --listen ADDR`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::serve;
use tokio::net::TcpListener;

use super::rehearse::fault;
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
    /// Serve the account as it is before this spec is deployed: with the certificates and secrets that it refers to.
    #[arg(long, value_name = "SPEC", conflicts_with = "after")]
    before: Option<PathBuf>,
    /// Let AWS take this many times less time than it does.
    #[arg(long, value_name = "N", value_parser = speed)]
    speed: Option<f64>,
    /// Refuse a call such as `ec2:CreateNatGateway`, each time that it is made.
    #[arg(long, value_name = "CALL")]
    fail: Option<String>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "this is no number".to_owned())?;
    if (1.0..=1000.0).contains(&speed) { Ok(speed) } else { Err("from 1 to 1000".into()) }
}

impl Simulate {
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.listen.ip().is_loopback(),
            "--listen {}: the simulated account trusts everybody, so it listens on a loopback address only",
            self.listen
        );
        let fault = self.fail.as_deref().map(fault).transpose()?;
        let spec = match self.after.as_ref().or(self.before.as_ref()) {
            None => None,
            Some(file) => match read(file)? {
                None => return Ok(ExitCode::FAILURE),
                spec => spec,
            },
        };
        in_simulated_time(async move {
            let known: Vec<_> = spec.iter().map(|(_, spec)| spec).collect();
            let setting = Setting { speed: self.speed, ..Setting::default() };
            let rehearsal = Rehearsal::open(&setting, &known)?;
            if let Some((text, _)) = spec.as_ref().filter(|_| self.before.is_none()) {
                let deployed = rehearsal.deploy(text, &()).await?;
                say(&format!(
                    "The rehearsal ended as {} after {:.1} simulated seconds.",
                    deployed.result(),
                    deployed.outcome.seconds
                ));
            }
            if let Some(fault) = fault {
                rehearsal.account().arm(fault);
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
