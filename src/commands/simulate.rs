//! `stackdrop simulate --listen ADDR`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use stackdrop::rehearsal::at_pace;
use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::serve;
use stackdrop_specs::Spec;
use tokio::net::TcpListener;

use super::rehearse::fault;
use super::{in_simulated_time, read, say};

/// Serve a simulated AWS account, with Stackdrop installed and at work in it, on a loopback port.
#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// Where to listen: a loopback address. Port 0 takes one that is free.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4599")]
    listen: SocketAddr,
    /// Serve the account as it stands after rehearsing this spec.
    #[arg(long, value_name = "SPEC")]
    after: Option<PathBuf>,
    /// Have in the account what this spec refers to: certificate, hosted zone, secrets. May be given several times.
    #[arg(long, value_name = "SPEC")]
    with: Vec<PathBuf>,
    /// How many times as fast as real time simulated time passes: at 60 a deployment of six minutes takes six seconds.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    speed: f64,
    /// Refuse a call such as `ec2:CreateNatGateway`, each time that it is made.
    #[arg(long, value_name = "CALL")]
    fail: Option<String>,
}

impl Simulate {
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.listen.ip().is_loopback(),
            "--listen {}: the simulated account trusts everybody, so it listens on a loopback address only",
            self.listen
        );
        ensure!(
            self.speed > 0.0 && self.speed <= 1e6,
            "--speed {}: a number above 0, at most 1000000",
            self.speed
        );
        let mut specs = Vec::new();
        for file in self.after.iter().chain(&self.with) {
            match read(file)? {
                None => return Ok(ExitCode::FAILURE),
                Some(spec) => specs.push(spec),
            }
        }
        in_simulated_time(self.serve(&specs))
    }

    async fn serve(&self, specs: &[(String, Spec)]) -> Result<ExitCode> {
        let known: Vec<&Spec> = specs.iter().map(|(_, spec)| spec).collect();
        let fault = self.fail.as_deref().map(fault).transpose()?;
        let rehearsal = Rehearsal::open(&Setting::default(), &known)?;
        if let Some((text, _)) = specs.first().filter(|_| self.after.is_some()) {
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
        let listener =
            TcpListener::bind(self.listen).await.with_context(|| format!("listening on {}", self.listen))?;
        let address = listener.local_addr().context("asking for the address")?;
        let settings = &rehearsal.aws().settings;
        say(&format!(
            "An AWS account ({}, {}) with Stackdrop installed is served on http://{address}, {} times as fast as real time; \
             Ctrl-C ends it. For example:\n  \
             export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION={} AWS_ENDPOINT_URL=http://{address}\n  \
             stackdrop deploy specs/shop.yaml\n  aws ec2 describe-vpcs",
            settings.account, settings.region, self.speed, settings.region
        ));
        tokio::select! {
            never = rehearsal.live() => match never {},
            paced = at_pace(self.speed) => match paced.context("keeping the pace")? {},
            served = serve(rehearsal.account().clone(), listener) => served.context("serving")?,
            stopped = tokio::signal::ctrl_c() => stopped.context("waiting for Ctrl-C")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
