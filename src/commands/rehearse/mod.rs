//! `stackdrop rehearse SPEC`

mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use stackdrop::rehearsal::in_simulated_time;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::COMPONENTS;
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_specs::Spec;

use super::watch::{Printer, RehearsalWatch};
use super::{print, print_error, print_json, read_spec};

/// Deploy a spec into a simulated AWS account.
#[derive(Debug, clap::Args)]
pub(super) struct Rehearse {
    /// The spec file.
    spec: PathBuf,
    /// Make a step fail: the first creating call of a component, or every call of an operation such as
    /// `ec2:CreateNatGateway`. With `--then`, the second deployment fails.
    #[arg(long, value_name = "STEP")]
    fail: Option<String>,
    /// Deploy this spec afterwards: the same file again, or a changed one.
    #[arg(long, value_name = "SPEC")]
    then: Option<PathBuf>,
    /// Agree that the data of this resource is deleted, such as `shop-database`. For several resources, repeat the option.
    #[arg(long, value_name = "NAME")]
    delete_data: Vec<String>,
    /// Draw AWS's durations between p10 and p90 with this seed. Default: the medians.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print one JSON document for programs instead of a report.
    #[arg(long)]
    json: bool,
}

impl Rehearse {
    pub(super) fn run(self) -> Result<ExitCode> {
        let files = std::iter::once(&self.spec).chain(&self.then);
        let mut specs = Vec::new();
        for file in files {
            match read_spec(file)? {
                Ok((text, spec)) => specs.push((file.clone(), text, spec)),
                Err(code) => return Ok(code),
            }
        }
        let fault = self.fail.as_deref().map(fault).transpose()?;
        in_simulated_time(self.rehearse(&specs, fault))?
    }

    async fn rehearse(&self, specs: &[(PathBuf, String, Spec)], fault: Option<Fault>) -> Result<ExitCode> {
        // Nobody would approve the cost.
        let parameters = [("MaxMonthlyUsd".to_owned(), u32::MAX.to_string())].into();
        let setting = Setting { seed: self.seed, parameters, ..Setting::default() };
        let agreed: Vec<&str> = self.delete_data.iter().map(String::as_str).collect();
        let known: Vec<&Spec> = specs.iter().map(|(_, _, spec)| spec).collect();
        let rehearsal = Rehearsal::open(&setting, &known)?;
        let watch = RehearsalWatch::new(if self.json { Printer::Quiet } else { Printer::Lines });
        let mut deployments: Vec<Deployed> = Vec::new();
        for (place, (file, text, spec)) in specs.iter().enumerate() {
            if let Some(fault) = fault.as_ref().filter(|_| place + 1 == specs.len()) {
                rehearsal.account().arm(fault.clone());
            }
            if !self.json {
                print(&report::opening(file, spec, self.seed));
            }
            let deployed = rehearsal.deploy_agreeing(text, &agreed, &watch).await?;
            if !self.json {
                print(&report::closing(&rehearsal, &deployed)?);
            }
            deployments.push(deployed);
        }
        if self.json {
            print_json(&document(&rehearsal, &deployments))?;
        }
        if let (Some(call), true) = (&self.fail, rehearsal.account().strikes().is_empty()) {
            print_error(&format!(
                "error: --fail {call}: the deployment makes no such call, so nothing failed"
            ));
            return Ok(ExitCode::from(exit_code::FAILED));
        }
        Ok(ExitCode::from(exit_code(&deployments)))
    }
}

/// The exit code of the first deployment that did not succeed.
fn exit_code(deployments: &[Deployed]) -> u8 {
    let mut codes = deployments.iter().map(|deployed| deployed.result().exit_code());
    codes.find(|code| *code != exit_code::DONE).unwrap_or(exit_code::DONE)
}

/// The fault that `--fail` names.
pub(super) fn fault(step: &str) -> Result<Fault> {
    let refused = FaultKind::Refused {
        code: "RefusedByRehearsal".into(),
        message: format!("refused because of --fail {step}"),
    };
    if let Some((service, operation)) = step.split_once(':') {
        // The names that the AWS CLI and IAM have for services, beside the names that requests are signed with.
        let service = match service {
            "elb" | "elbv2" => "elasticloadbalancing",
            "autoscaling" => "application-autoscaling",
            "sfn" | "stepfunctions" => "states",
            "cloudwatchlogs" => "logs",
            other => other,
        };
        return Ok(Fault::at(service, operation, When::From(1), refused));
    }
    let names: Vec<&str> = COMPONENTS.iter().map(|component| component.name).collect();
    if !names.contains(&step) {
        bail!(
            "--fail {step}: there is no such component\n\
             help: pass a component ({}) or a call such as ec2:CreateNatGateway",
            names.join(", ")
        );
    }
    Ok(Fault::at("*", "*", When::Only(1), refused).during(&format!("/{step}/apply")))
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
