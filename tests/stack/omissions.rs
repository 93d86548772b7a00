//! Every entry of the workflow table is needed: without it, a rehearsal fails or leaves the stack incomplete.

use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::workflow::table::{PARTS, Part, Removal};
use stackdrop_functions::workflow::{definition, text_of};
use stackdrop_simulator::{Fault, Seed, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::{PRIVATE, SHOP, refused, resources, unprotected};

/// The table without one entry.
struct Omission {
    what: String,
    parts: Vec<Part>,
}

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
                parts[index].needs = &[]
            });
        }
        if part.stable.is_some() {
            without(format!("the wait until {name} is stable"), &|parts| parts[index].stable = None);
        }
        if part.reapply.is_some() {
            without(format!("the second attempt to apply {name}"), &|parts| parts[index].reapply = None);
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
    for spec in [unprotected(), PRIVATE.to_owned()] {
        if let Some(trouble) = in_a_life(&workflow, &spec).await {
            return Some(trouble);
        }
    }
    after_a_failure(&workflow).await
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

/// Deploys, deploys again, updates and destroys a stack.
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
    let destroy =
        serde_json::json!({ "stack": Spec::read(spec.as_bytes()).unwrap().stack, "action": "destroy" });
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
    let rehearsal = opened(workflow, SHOP, Vec::new()).ok()?;
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    let failed = rehearsal.deploy(SHOP, &()).await.unwrap();
    let remaining = resources(&rehearsal);
    let result = failed.result();
    (result != "Failed" || !remaining.is_empty())
        .then(|| format!("a failed deployment: {result}, and there is still {}", remaining.join(", ")))
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
    assert_eq!(unnoticed, Vec::<String>::new());
}
