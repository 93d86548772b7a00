//! Runs without a fault, from whose checkpoints the cases resume; and the resources that a run leaves.

use aws_sdk_s3::operation::head_object::HeadObjectError;
use stackdrop::rehearsal::{Checkpoint, announces};
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Call, Caller, as_caller};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::case::{Case, cases, transient};
use crate::runner::{Ended, run_all};
use crate::{same, simulated};

/// A run without a fault: its calls, its checkpoints and its result.
#[derive(Debug)]
pub(crate) struct UndisturbedRun {
    /// Every call in the account, including those before this run.
    pub(crate) call_log: Vec<Call>,
    /// One for each step, in order.
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) result: String,
    pub(crate) resources: Vec<String>,
}

impl UndisturbedRun {
    /// Runs one execution.
    pub(crate) async fn run(rehearsal: &Rehearsal, input: serde_json::Value) -> Self {
        let (deployed, checkpoints) = rehearsal.run_with_checkpoints(input).await;
        Self { checkpoints, ..Self::of(rehearsal, &deployed) }
    }

    /// Resumes from a checkpoint, without a fault.
    pub(crate) async fn resume(from: &Checkpoint) -> Self {
        let rehearsal = Rehearsal::resume(from);
        let deployed = rehearsal.go_on(from).await.unwrap();
        Self::of(&rehearsal, &deployed)
    }

    fn of(rehearsal: &Rehearsal, deployed: &Deployed) -> Self {
        Self {
            call_log: rehearsal.account().call_log(),
            checkpoints: Vec::new(),
            result: format!("{} {:?}", deployed.result(), deployed.error()),
            resources: resources(rehearsal),
        }
    }

    /// The calls of the execution.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.call_log[self.checkpoints[0].calls()..]
    }

    /// The last checkpoint before the call.
    pub(crate) fn before(&self, call: &Call) -> &Checkpoint {
        self.checkpoints.iter().rev().find(|checkpoint| checkpoint.calls() <= call.number).unwrap()
    }

    /// The step that makes the call.
    pub(crate) fn step(&self, call: &Call) -> &str {
        self.before(call).step().unwrap()
    }

    /// The calls of this step and all later ones.
    pub(crate) fn calls_from(&self, step: &str) -> &[Call] {
        let checkpoint = self.checkpoints.iter().find(|checkpoint| checkpoint.step() == Some(step)).unwrap();
        &self.call_log[checkpoint.calls()..]
    }

    /// Runs a case: resumes before the call's step with the fault armed, and checks that the fault struck that call.
    pub(crate) async fn run_with_fault(&self, case: &Case) -> Result<(Rehearsal, Deployed), String> {
        let from = self.before(&case.call);
        let rehearsal = Rehearsal::resume(from);
        rehearsal.account().arm(case.fault(&self.call_log, from));
        let deployed = rehearsal.go_on(from).await.unwrap();
        case.check_struck(&rehearsal)?;
        Ok((rehearsal, deployed))
    }
}

/// How many times as fast as AWS the account is. Waits poll at a fixed pace, so a faster account means fewer polls.
const SPEED: f64 = 5.0;

/// An account in which the spec can be deployed.
pub(crate) fn open(spec: &str) -> Rehearsal {
    let setting = Setting { speed: Some(SPEED), ..Setting::default() };
    Rehearsal::open(&setting, &[&Spec::read(spec.as_bytes()).unwrap()]).unwrap()
}

/// Uploads a spec, and returns the event that S3 sends.
pub(crate) async fn upload(rehearsal: &Rehearsal, spec: &str) -> serde_json::Value {
    rehearsal.upload("specs/shop.yaml", spec.as_bytes()).await.unwrap()
}

/// Uploads a spec and deploys it.
pub(crate) async fn deploy(rehearsal: &Rehearsal, spec: &str) -> Deployed {
    let event = upload(rehearsal, spec).await;
    run(rehearsal, event).await
}

/// Runs an execution.
pub(crate) async fn run(rehearsal: &Rehearsal, input: serde_json::Value) -> Deployed {
    rehearsal.run(input, &(), &Abort::default()).await
}

/// The resources in the account, as `type name` lines. Omits what differs in a second stack of the same account: the part
/// of a name that comes from the VPC's ID, the number of a revision, and a time.
pub(crate) fn resources(rehearsal: &Rehearsal) -> Vec<String> {
    let stable_name = |kind: &str, name: &str| match kind {
        "AWS::ElasticLoadBalancingV2::TargetGroup" | "AWS::RDS::DBSnapshot" => {
            name.rsplit_once('-').map(|(name, _)| name.to_owned())
        }
        "AWS::ECS::TaskDefinition" => name.rsplit_once(':').map(|(name, _)| name.to_owned()),
        _ => None,
    };
    let items = rehearsal.account().inventory().into_iter();
    let mut names: Vec<String> = items
        .map(|item| format!("{} {}", item.kind, stable_name(&item.kind, &item.name).unwrap_or(item.name)))
        .collect();
    names.sort();
    names
}

/// `Ok` if exactly the expected resources exist, apart from the log groups that a rollback keeps, and IAM has denied no call.
pub(crate) fn check_resources(rehearsal: &Rehearsal, expected: &[String]) -> Result<(), String> {
    if let Some(denial) = rehearsal.account().denials().first() {
        return Err(denial.to_string());
    }
    let is_kept_log = |name: &String| name.starts_with("AWS::Logs::LogGroup") && !expected.contains(name);
    let actual: Vec<String> = resources(rehearsal).into_iter().filter(|name| !is_kept_log(name)).collect();
    if actual == expected {
        return Ok(());
    }
    let without = |all: &[String], others: &[String]| {
        let mut rest = all.to_vec();
        for other in others {
            if let Some(place) = rest.iter().position(|name| name == other) {
                rest.remove(place);
            }
        }
        rest
    };
    Err(format!("leaked: {:?}, lost: {:?}", without(&actual, expected), without(expected, &actual)))
}

/// `Ok` if no execution holds the stack's lock.
pub(crate) async fn lock_is_free(rehearsal: &Rehearsal) -> Result<(), String> {
    let aws = rehearsal.aws();
    let head = aws.s3().head_object().bucket(&aws.settings.bucket).key("stacks/shop/lock.json");
    match as_caller(Caller::new("test"), head.send()).await {
        Ok(_) => Err("the lock is still held".into()),
        Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(()),
        Err(error) => Err(format!("cannot read the lock: {error:?}")),
    }
}

/// The writing calls of a deployment, except its records in the bucket and its announcements.
pub(crate) fn changes(deployed: &Deployed) -> Vec<String> {
    let recorded = ["s3:PutObject", "s3:DeleteObject"];
    let writes = deployed.calls.iter().filter(|call| call.writes && !announces(call)).map(Call::name);
    writes.filter(|name| !recorded.contains(&name.as_str())).collect()
}

/// Runs with a transient fault at each call, and expects the end, the resources and the lock of the undisturbed run.
pub(crate) fn transient_faults_change_nothing(title: &str, undisturbed: &UndisturbedRun, end: Outcome) {
    run_all(title, &cases(undisturbed.calls(), transient), |case| {
        simulated(async {
            let (rehearsal, deployed) = undisturbed.run_with_fault(case).await?;
            same("the end", (deployed.result(), deployed.error()), (end, None))?;
            check_resources(&rehearsal, &undisturbed.resources)?;
            lock_is_free(&rehearsal).await?;
            Ok(Ended::Succeeded)
        })
    });
}
