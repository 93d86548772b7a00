//! `stackdrop simulate --listen ADDR`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use stackdrop::rehearsal::{at_pace, in_simulated_time};
use stackdrop::{Rehearsal, Setting};
use stackdrop_functions::Settings;
use stackdrop_simulator::serve;
use stackdrop_specs::Spec;
use tokio::net::TcpListener;

use super::rehearse::fault;
use super::{print, read_spec, text};

/// Serve a simulated AWS account, in which Stackdrop is installed and runs, on a loopback port.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// The loopback address to listen on. Port 0 chooses a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4599")]
    listen: SocketAddr,
    /// Deploy this spec before the account is served.
    #[arg(long, value_name = "SPEC")]
    after: Option<PathBuf>,
    /// Create what this spec refers to: certificate, hosted zone, secrets. Can be repeated.
    #[arg(long, value_name = "SPEC")]
    with: Vec<PathBuf>,
    /// How fast simulated time passes: at 60, a deployment of six minutes takes six seconds.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    speed: f64,
    /// Refuse every call of this operation, such as `ec2:CreateNatGateway`.
    #[arg(long, value_name = "CALL")]
    fail: Option<String>,
}

impl Simulate {
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.listen.ip().is_loopback(),
            "--listen {}: not a loopback address\n\
             help: pass an address such as 127.0.0.1:4599; the simulated account does not check credentials",
            self.listen
        );
        ensure!(
            self.speed > 0.0 && self.speed <= 1e6,
            "--speed {}: out of range\nhelp: pass a number above 0, at most 1000000",
            self.speed
        );
        let mut specs = Vec::new();
        for file in self.after.iter().chain(&self.with) {
            match read_spec(file)? {
                Ok(read) => specs.push(read),
                Err(code) => return Ok(code),
            }
        }
        in_simulated_time(self.serve(&specs))?
    }

    async fn serve(&self, specs: &[(String, Spec)]) -> Result<ExitCode> {
        let known: Vec<&Spec> = specs.iter().map(|(_, spec)| spec).collect();
        let fault = self.fail.as_deref().map(fault).transpose()?;
        let rehearsal = Rehearsal::open(&Setting::default(), &known)?;
        if let Some((text, _)) = specs.first().filter(|_| self.after.is_some()) {
            let deployed = rehearsal.deploy(text, &()).await?;
            let headline = text::headline(deployed.result(), deployed.problems()?.len());
            let took = text::duration(deployed.outcome.seconds);
            print(&format!("{headline} ({took} of simulated time)."));
        }
        if let Some(fault) = fault {
            rehearsal.account().arm(fault);
        }
        let listener = TcpListener::bind(self.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", self.listen))?;
        let address = listener.local_addr().context("cannot read the listening address")?;
        print(&self.introduction(&rehearsal, address));
        tokio::select! {
            never = rehearsal.live() => match never {},
            paced = at_pace(self.speed) => match paced.context("cannot keep the pace")? {},
            served = serve(rehearsal.account().clone(), listener) => served.context("cannot serve the account")?,
            stopped = tokio::signal::ctrl_c() => stopped.context("cannot wait for Ctrl-C")?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is served, and how to use it.
    fn introduction(&self, rehearsal: &Rehearsal, address: SocketAddr) -> String {
        let Settings { account, region, .. } = &rehearsal.aws().settings;
        format!(
            "An AWS account ({account}, {region}) with Stackdrop installed is served on http://{address}, at {} times \
             real time. Ctrl-C stops it. For example:\n  \
             export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION={region} AWS_ENDPOINT_URL=http://{address}\n  \
             stackdrop deploy specs/shop.yaml\n  aws ec2 describe-vpcs",
            self.speed
        )
    }
}
