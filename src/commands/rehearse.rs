//! `stackdrop rehearse SPEC`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::COMPONENTS;
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Watch;

use super::report::{self, Live};
use super::{complain, in_simulated_time, read, say};

/// Deploy a spec into a simulated AWS account.
#[derive(Debug, clap::Args)]
pub(crate) struct Rehearse {
    /// The spec's file.
    spec: PathBuf,
    /// Let something fail: a component (the first call of its `ensure` that creates something is refused), or a call
    /// such as `ec2:CreateNatGateway`. With `--then` it strikes the second deployment.
    #[arg(long, value_name = "STEP")]
    fail: Option<String>,
    /// Deploy this spec afterwards: the same file again, or a changed one.
    #[arg(long, value_name = "SPEC")]
    then: Option<PathBuf>,
    /// Draw AWS's durations between p10 and p90 from this seed, instead of taking the medians.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print one JSON object for programs instead of a report.
    #[arg(long)]
    json: bool,
}

impl Rehearse {
    pub(super) fn run(self) -> Result<ExitCode> {
        let files = std::iter::once(&self.spec).chain(&self.then);
        let mut specs = Vec::new();
        for file in files {
            let Some((text, spec)) = read(file)? else { return Ok(ExitCode::FAILURE) };
            specs.push((file.clone(), text, spec));
        }
        let fault = self.fail.as_deref().map(fault).transpose()?;
        in_simulated_time(self.rehearse(&specs, fault))
    }

    async fn rehearse(&self, specs: &[(PathBuf, String, Spec)], fault: Option<Fault>) -> Result<ExitCode> {
        let setting = Setting { seed: self.seed, ..Setting::default() };
        let known: Vec<&Spec> = specs.iter().map(|(_, _, spec)| spec).collect();
        let rehearsal = Rehearsal::open(&setting, &known)?;
        let live = Live::default();
        let watch: &dyn Watch = if self.json { &() } else { &live };
        let mut deployments: Vec<Deployed> = Vec::new();
        for (place, (file, text, spec)) in specs.iter().enumerate() {
            if let Some(fault) = fault.as_ref().filter(|_| place + 1 == specs.len()) {
                rehearsal.account().arm(fault.clone());
            }
            if !self.json {
                say(&report::opening(file, spec, self.seed));
            }
            let deployed = rehearsal.deploy(text, watch).await?;
            if !self.json {
                say(&report::closing(&rehearsal, &deployed));
            }
            deployments.push(deployed);
        }
        if self.json {
            say(&serde_json::to_string_pretty(&document(&rehearsal, &deployments))
                .context("writing the report")?);
        }
        if let (Some(asked), true) = (&self.fail, rehearsal.account().strikes().is_empty()) {
            complain(&format!(
                "error: --fail {asked}: this deployment makes no such call, so nothing was refused"
            ));
            return Ok(ExitCode::FAILURE);
        }
        let all_good = deployments.iter().all(Deployed::succeeded);
        Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The fault that `--fail` asks for.
pub(super) fn fault(asked: &str) -> Result<Fault> {
    let refused = FaultKind::Refused {
        code: "RefusedByRehearsal".into(),
        message: format!("refused because of --fail {asked}"),
    };
    if let Some((service, operation)) = asked.split_once(':') {
        // The names that the AWS CLI and IAM use for services, beside those that requests are signed for.
        let service = match service {
            "elb" | "elbv2" => "elasticloadbalancing",
            "autoscaling" => "application-autoscaling",
            "sfn" | "stepfunctions" => "states",
            "cloudwatchlogs" => "logs",
            other => other,
        };
        return Ok(Fault::at(service, operation, When::From(1), refused));
    }
    let names: Vec<&str> = COMPONENTS.iter().map(|part| part.name).collect();
    if !names.contains(&asked) {
        bail!(
            "--fail takes a component ({}) or a call such as ec2:CreateNatGateway, not {asked:?}",
            names.join(", ")
        );
    }
    Ok(Fault::at("*", "*", When::Only(1), refused).during(&format!("/{asked}/apply")))
}

fn document(rehearsal: &Rehearsal, deployments: &[Deployed]) -> Value {
    let deployments: Vec<Value> = deployments
        .iter()
        .map(|deployed| {
            let steps: Vec<Value> = deployed
                .outcome
                .steps
                .iter()
                .map(|step| json!({ "name": step.name, "start": step.start, "end": step.end }))
                .collect();
            json!({
                "result": deployed.result(),
                "error": deployed.error(),
                "seconds": deployed.outcome.seconds,
                "boundSeconds": deployed.bound_seconds,
                "steps": steps,
                "calls": deployed.counts(),
                "outputs": deployed.outputs(),
            })
        })
        .collect();
    json!({ "deployments": deployments, "inventory": rehearsal.account().inventory() })
}
