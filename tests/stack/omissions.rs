//! Every entry of the workflow table is needed: without it, a rehearsal fails or leaves the stack incomplete.

use std::time::Duration;

use aws_sdk_ec2::types::IamInstanceProfileAssociationState;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::workflow::table::{PARTS, Part, Removal};
use stackdrop_functions::workflow::{definition, text_of};
use stackdrop_simulator::{Fault, Seed, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::{PRIVATE, SHOP, pause, refused, resources, unprotected, with};

/// The table without one entry.
struct Omission {
    what: String,
    parts: Vec<Part>,
}

/// A stack without tasks. Only the last wait of its deployment waits for its database and its load balancer.
const IDLE: &str = "
stack: shop
database: { deletionProtection: false }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, count: 0, routes: [{ path: /* }] }
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
";

/// Entries that only make a deployment faster: a rehearsal succeeds without them as well.
const FASTER: [&str; 4] = [
    // Earlier attempts to delete the groups are refused while something uses them.
    "that security-groups is deleted last",
    // The slowest components are started first.
    "the order of load-balancer and database",
    "the order of egress and load-balancer",
    // The roles of the services are then created in their turn, which waits until ECS sees them.
    "the preparation of service",
];

/// The table without each component, each need, each wait and each order of deletion in turn.
fn omissions() -> Vec<Omission> {
    let mut all = Vec::new();
    for (index, part) in PARTS.iter().enumerate() {
        let name = part.component;
        let mut without = |what: String, change: &dyn Fn(&mut Vec<Part>)| {
            let mut parts = PARTS.to_vec();
            change(&mut parts);
            all.push(Omission { what, parts });
        };
        without(format!("the component {name}"), &|parts| {
            parts.remove(index);
        });
        for need in part.needs {
            without(format!("the wait for {} before {name}", need.component), &|parts| {
                parts[index].needs = &[];
            });
        }
        if part.prepare.is_some() {
            without(format!("the preparation of {name}"), &|parts| parts[index].prepare = None);
        }
        if part.stable.is_some() {
            without(format!("the wait until {name} is stable"), &|parts| parts[index].stable = None);
        }
        if part.reapply.is_some() {
            without(format!("the second attempt to apply {name}"), &|parts| parts[index].reapply = None);
        }
        if part.finish.is_some() {
            without(format!("the last attempt to apply {name}"), &|parts| parts[index].finish = None);
        }
        if let Removal::Last(wait) = part.removal {
            without(format!("that {name} is deleted last"), &|parts| {
                parts[index].removal = Removal::Parallel(wait);
            });
        }
        if index > 0 {
            without(format!("the order of {name} and {}", PARTS[index - 1].component), &|parts| {
                parts.swap(index - 1, index);
            });
        }
    }
    all
}

/// A problem that the table causes in a stack's life cycle, or `None`.
async fn noticed(parts: &[Part]) -> Option<String> {
    let workflow = text_of(&definition(parts)).unwrap();
    let without_database = with(IDLE, "database: { deletionProtection: false }\n", "");
    let private = with(PRIVATE, "  multiAz: true", "  multiAz: true\n  deletionProtection: false");
    for spec in [without_database, IDLE.to_owned(), unprotected(), private] {
        if let Some(trouble) = in_a_life(&workflow, &spec).await {
            return Some(trouble);
        }
    }
    match after_a_failure(&workflow).await {
        None => {}
        trouble => return trouble,
    }
    match with_a_lost_profile(&workflow).await {
        None => with_a_renamed_service(&workflow).await,
        trouble => trouble,
    }
}

/// Renames the service of a stack, and deploys the stack again.
async fn with_a_renamed_service(workflow: &str) -> Option<String> {
    let spec = with(IDLE, "database: { deletionProtection: false }\n", "");
    let spec = with(&spec, "count: 0", "count: 1");
    let rehearsal = match opened(workflow, &spec, Vec::new()) {
        Ok(rehearsal) => rehearsal,
        Err(error) => return Some(error),
    };
    let renamed = with(&spec, "  web:", "  site:");
    for spec in [&spec, &renamed] {
        let deployed = rehearsal.deploy(spec, &()).await.unwrap();
        if let Some(trouble) = trouble("with a renamed service", &deployed) {
            return Some(trouble);
        }
    }
    let again = rehearsal.deploy(&renamed, &()).await.unwrap();
    let finished = again.outcome.input_of("NeedsApproval").is_none();
    (!finished).then(|| "the renamed service gets no requests after a deployment that succeeded".into())
}

fn opened(workflow: &str, spec: &str, seeds: Vec<Seed>) -> Result<Rehearsal, String> {
    let spec = Spec::read(spec.as_bytes()).unwrap();
    let setting = Setting { workflow: Some(workflow.to_owned()), seeds, ..Setting::default() };
    Rehearsal::open(&setting, &[&spec]).map_err(|error| format!("{error:#}"))
}

fn trouble(when: &str, deployed: &Deployed) -> Option<String> {
    let (result, error) = (deployed.result(), deployed.error());
    (!deployed.succeeded()).then(|| format!("{when}: {result} {}", error.unwrap_or_default()))
}

/// Deploys a stack, deploys it again and destroys it.
async fn in_a_life(workflow: &str, spec: &str) -> Option<String> {
    let rehearsal = match opened(workflow, spec, Vec::new()) {
        Ok(rehearsal) => rehearsal,
        Err(error) => return Some(error),
    };
    let first = rehearsal.deploy(spec, &()).await.unwrap();
    if let Some(trouble) = trouble("the first deployment", &first) {
        return Some(trouble);
    }
    let again = rehearsal.deploy(spec, &()).await.unwrap();
    if again.outcome.input_of("NeedsApproval").is_some() {
        return Some(
            "the second deployment of the same spec: the stack was not finished after the first".into(),
        );
    }
    let stack = Spec::read(spec.as_bytes()).unwrap().stack;
    let names = [format!("{stack}-instance")];
    let destroy = serde_json::json!({ "stack": stack, "action": "destroy", "deleteData": names });
    let destroyed = rehearsal.run(destroy, &(), &Abort::default()).await;
    trouble("the destruction", &destroyed).or_else(|| {
        let remaining: Vec<String> =
            resources(&rehearsal).into_iter().filter(|name| !name.contains("Snapshot")).collect();
        (!remaining.is_empty())
            .then(|| format!("after the destruction there is still {}", remaining.join(", ")))
    })
}

/// Deploys a stack whose services AWS refuses, and checks that the stack is deleted.
async fn after_a_failure(workflow: &str) -> Option<String> {
    let rehearsal = match opened(workflow, SHOP, Vec::new()) {
        Ok(rehearsal) => rehearsal,
        Err(error) => return Some(error),
    };
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    let failed = rehearsal.deploy(SHOP, &()).await.unwrap();
    let remaining = resources(&rehearsal);
    let result = failed.result();
    (result != Outcome::Failed || !remaining.is_empty())
        .then(|| format!("a failed deployment: {result}, and there is still {}", remaining.join(", ")))
}

/// Deploys a stack whose instance loses its profile while it starts, and checks that the profile is restored.
async fn with_a_lost_profile(workflow: &str) -> Option<String> {
    let spec = unprotected();
    let rehearsal = match opened(workflow, &spec, Vec::new()) {
        Ok(rehearsal) => rehearsal,
        Err(error) => return Some(error),
    };
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let remove_profile = async {
        for _ in 0..600 {
            pause(Duration::from_secs(1)).await;
            let found = ec2.describe_iam_instance_profile_associations().send().await.unwrap();
            if let [association] = found.iam_instance_profile_associations()
                && association.state() == Some(&IamInstanceProfileAssociationState::Associated)
            {
                let id = association.association_id().unwrap();
                ec2.disassociate_iam_instance_profile().association_id(id).send().await.unwrap();
                return;
            }
        }
    };
    let (deployed, ()) = tokio::join!(rehearsal.deploy(&spec, &()), remove_profile);
    if let Some(trouble) = trouble("with a lost instance profile", &deployed.unwrap()) {
        return Some(trouble);
    }
    let again = rehearsal.deploy(&spec, &()).await.unwrap();
    let finished = again.outcome.input_of("NeedsApproval").is_none();
    (!finished).then(|| "the instance has no profile after a deployment that succeeded".into())
}

#[tokio::test(start_paused = true)]
async fn a_complete_table_has_no_problems() {
    assert_eq!(noticed(&PARTS).await, None);
}

#[tokio::test(start_paused = true)]
async fn every_missing_entry_of_the_table_is_detected() {
    let mut unnoticed = Vec::new();
    for omission in omissions() {
        match noticed(&omission.parts).await {
            Some(trouble) => println!("{}: {}", omission.what, trouble.lines().next().unwrap_or_default()),
            None => unnoticed.push(omission.what),
        }
    }
    assert_eq!(unnoticed, FASTER);
}
