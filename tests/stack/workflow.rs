//! The workflow file follows from the table of the workflow.

use std::path::Path;
use std::time::Duration;

use stackdrop::rehearsal::{WORKFLOW, substitutions};
use stackdrop_functions::aws::error::names;
use stackdrop_functions::workflow::table::{
    ADMIT, APPROVAL, AWAIT_RESTART, CONCLUDE, DEPLOYMENT, INVOCATION, PARTS, PLAN, READ_REPLY, RESTART,
    ROTATE, Removal, Wait,
};
use stackdrop_functions::workflow::{definition, text_of};
use stackdrop_statemachine::{Machine, StateInfo, StateKind};

#[test]
fn workflow_file_is_the_one_generated_from_the_table() {
    let generated = text_of(&definition(&PARTS)).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("statemachine/deploy.asl.json");
        std::fs::write(file, &generated).unwrap();
        return;
    }
    assert!(
        generated == WORKFLOW,
        "statemachine/deploy.asl.json is not what functions/src/workflow/table.rs generates: \
         `UPDATE=1 cargo test workflow` rewrites it"
    );
}

/// Every wait of the table.
fn waits() -> Vec<Wait> {
    let mut waits = vec![ADMIT, PLAN, READ_REPLY, CONCLUDE];
    for part in PARTS {
        let (Removal::Parallel(removal) | Removal::Last(removal)) = part.removal;
        waits.extend([part.apply, removal]);
        waits.extend(part.stable);
        waits.extend(part.needs.iter().map(|need| need.wait));
        waits.extend(part.needs.iter().filter_map(|need| need.again).map(|again| again.wait));
    }
    waits
}

#[test]
fn every_limit_is_a_multiple_of_its_interval() {
    for Wait { every, at_most } in waits() {
        assert_eq!(at_most.as_secs() % every.as_secs(), 0, "{at_most:?} is no multiple of {every:?}");
    }
}

#[test]
fn an_approval_and_all_waits_of_a_deployment_and_its_rollback_fit_into_the_limit() {
    let once: Duration = waits().iter().map(|wait| wait.at_most).sum();
    assert!(APPROVAL + once * 2 <= DEPLOYMENT, "{APPROVAL:?} and twice {once:?}");
}

#[test]
fn no_two_components_wait_for_the_same_one() {
    let mut awaited: Vec<&str> =
        PARTS.iter().flat_map(|part| part.needs).map(|need| need.component).collect();
    awaited.sort_unstable();
    let count = awaited.len();
    awaited.dedup();
    assert_eq!(
        awaited.len(),
        count,
        "two states would have the name Await…: name them after both components"
    );
}

fn action<'m>(state: &StateInfo<'m>) -> &'m str {
    state.payload.and_then(|payload| payload.get("action")?.as_str()).unwrap_or("run")
}

/// How long the table lets a state wait; `None` if its function never has to.
fn wait_of(state: &StateInfo<'_>) -> Option<Wait> {
    let part = PARTS.into_iter().find(|part| Some(part.component) == state.function);
    match (action(state), part) {
        ("run", _) => Some(ADMIT),
        ("read-reply", _) => Some(READ_REPLY),
        ("conclude", _) => Some(CONCLUDE),
        ("plan", _) => Some(PLAN),
        ("rotate", _) => Some(ROTATE),
        ("restart", _) => Some(RESTART),
        ("await-restart", _) => Some(AWAIT_RESTART),
        // Among the waits for everything, one component is applied again.
        ("apply" | "wait-until-stable", Some(part)) if state.parent.is_some() => part.stable,
        ("apply", Some(part)) => {
            let mut again = PARTS.into_iter().flat_map(|other| other.needs).filter_map(|need| need.again);
            let again = again.find(|again| again.states.1 == state.name);
            Some(again.map_or(part.apply, |again| again.wait))
        }
        ("prepare", Some(part)) => part.prepare.map(|prepare| prepare.wait),
        ("wait-until-stable", Some(part)) => {
            let mut needs = PARTS.into_iter().flat_map(|other| other.needs);
            needs.find(|need| need.component == part.component).map(|need| need.wait)
        }
        ("prune" | "await-deletion", Some(part)) => {
            let (Removal::Parallel(wait) | Removal::Last(wait)) = part.removal;
            Some(wait)
        }
        _ => None,
    }
}

#[test]
fn every_state_of_the_workflow_file_waits_as_long_as_the_table_says() {
    let machine = Machine::load(WORKFLOW, &substitutions()).unwrap();
    assert_eq!(machine.timeout_seconds().map(u64::from), Some(DEPLOYMENT.as_secs()));
    for state in machine.states().filter(|state| state.kind == StateKind::Task) {
        let limit = if action(&state) == "ask-for-approval" { APPROVAL } else { INVOCATION };
        assert_eq!(state.timeout_seconds.map(u64::from), Some(limit.as_secs()), "{}", state.name);
        let pending = state.retries.iter().find(|retrier| retrier.errors == [names::PENDING]);
        let waits = pending.map(|it| (it.interval_seconds, it.interval_seconds * it.max_attempts));
        let waits = waits.map(|(every, at_most)| (u64::from(every), u64::from(at_most)));
        let expected = wait_of(&state).map(|wait| (wait.every.as_secs(), wait.at_most.as_secs()));
        assert_eq!(waits, expected, "{}", state.name);
    }
}
