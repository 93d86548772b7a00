//! The workflow file, the list of components, the error names and the template agree.

use std::collections::BTreeSet;

use crate::template::{functions, properties, template};
use serde_json::Value;
use stackdrop::rehearsal::{FUNCTION_SECONDS_MAX, WORKFLOW, pascal_case, substitutions};
use stackdrop_functions::COMPONENTS;
use stackdrop_functions::aws::error::names;
use stackdrop_statemachine::{Machine, StateInfo, StateKind};

fn machine() -> Machine {
    Machine::load(WORKFLOW, &substitutions()).unwrap()
}

fn tasks(machine: &Machine) -> Vec<StateInfo<'_>> {
    machine.states().filter(|state| state.kind == StateKind::Task).collect()
}

fn action(state: &StateInfo<'_>) -> String {
    state.payload.and_then(|payload| payload.get("action")?.as_str()).unwrap_or("run").to_owned()
}

/// The states from one to another along `Next`, and along the last branch of each Choice.
fn path<'m>(machine: &'m Machine, from: &str, to: &str) -> Vec<&'m str> {
    let mut path = Vec::new();
    let mut name = from.to_owned();
    while name != to {
        let state = machine.states().find(|state| state.name == name).unwrap();
        path.push(state.name);
        name = state.next.or(state.choices.last().copied()).unwrap().to_owned();
    }
    path
}

#[test]
fn components_are_applied_in_the_order_of_their_list() {
    let machine = machine();
    let built: Vec<String> = path(&machine, "Network", "Conclude")
        .into_iter()
        .filter(|name| COMPONENTS.iter().any(|part| pascal_case(part.name) == *name))
        .map(str::to_owned)
        .collect();
    assert_eq!(built, COMPONENTS.iter().map(|part| pascal_case(part.name)).collect::<Vec<_>>());
}

#[test]
fn the_rollback_deletes_components_in_reverse_order() {
    let machine = machine();
    let removed: Vec<&str> = path(&machine, "DeleteService", "Conclude");
    let deletions = removed.iter().filter_map(|state| state.strip_prefix("Delete"));
    let created = COMPONENTS.iter().rev().map(|component| pascal_case(component.name));
    assert_eq!(deletions.collect::<Vec<_>>(), created.collect::<Vec<_>>());
}

#[test]
fn every_component_is_planned_applied_and_deleted() {
    let machine = machine();
    let invoked: BTreeSet<(String, String)> =
        tasks(&machine).iter().map(|state| (state.function.unwrap().to_owned(), action(state))).collect();
    for part in &COMPONENTS {
        for action in ["plan", "apply", "await-deletion"] {
            assert!(
                invoked.contains(&(part.name.to_owned(), action.to_owned())),
                "no state invokes {} to {action}",
                part.name
            );
        }
    }
}

#[test]
fn a_failed_apply_or_wait_leads_to_the_rollback() {
    let machine = machine();
    for state in tasks(&machine).iter().filter(|state| state.parent.is_none()) {
        let caught = state.catches.first();
        match action(state).as_str() {
            "apply" | "prepare" | "wait-until-stable" => {
                let catcher = caught.unwrap_or_else(|| panic!("{} catches nothing", state.name));
                assert_eq!(
                    (catcher.errors.as_slice(), catcher.next.as_str()),
                    (&["States.ALL".to_owned()][..], "RollBack")
                );
            }
            "delete" | "await-deletion" => {
                // A rollback continues after an error, to delete as much as possible.
                assert_eq!(caught.unwrap().next, state.next.unwrap(), "{}", state.name);
            }
            _ => {}
        }
    }
}

#[test]
fn a_failure_before_any_change_leads_to_the_conclusion() {
    let workflow: serde_json::Value = serde_json::from_str(WORKFLOW).unwrap();
    for (state, place) in [
        ("Plan", "$.planFailed.Plan"),
        ("Review", "$.planFailed.Review"),
        ("AwaitApproval", "$.notApproved.AwaitApproval"),
        ("ReadReply", "$.notApproved.ReadReply"),
        ("RollBackToBaseline", "$.rollbackFailed.RollBackToBaseline"),
        ("Prune", "$.pruneFailed.Prune"),
    ] {
        let expected =
            serde_json::json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": place, "Next": "Conclude" }]);
        assert_eq!(workflow["States"][state]["Catch"], expected, "{state}");
    }
}

/// Whether a person ends the task by sending its token.
fn waits_for_a_person(state: &StateInfo<'_>) -> bool {
    action(state) == "ask-for-approval"
}

#[test]
fn all_steps_retry_the_same_transient_errors() {
    let machine = machine();
    let transient = |state: &StateInfo<'_>| {
        let mut last = state.retries.last().cloned().unwrap();
        if waits_for_a_person(state) {
            // It times out if no one answers, and does not ask again.
            assert!(!last.errors.contains(&"States.Timeout".to_owned()));
            last.errors.push("States.Timeout".into());
        }
        last
    };
    let states = tasks(&machine);
    for state in &states {
        assert_eq!(transient(state), transient(&states[0]), "{}", state.name);
        assert!(transient(state).errors.iter().any(|error| error == names::TRANSIENT));
    }
}

#[test]
fn every_wait_has_a_limit_and_a_fixed_pace() {
    let machine = machine();
    for state in tasks(&machine) {
        let pending = state.retries.iter().find(|retrier| retrier.errors == [names::PENDING]);
        let waits = !["delete", "review", "roll-back", "ask-for-approval"].contains(&&*action(&state));
        assert_eq!(pending.is_some(), waits, "{}", state.name);
        let stalled = state.retries.iter().find(|retrier| retrier.errors == [names::STALLED]);
        let idle = stalled.map(stackdrop_statemachine::Retrier::seconds_max);
        assert!(idle.is_none_or(|seconds| (70.0..=80.0).contains(&seconds)), "{}: {idle:?}", state.name);
        assert_eq!(stalled.is_some(), waits, "{}", state.name);
        if let Some(pending) = pending {
            assert!((1.0..=1.0).contains(&pending.backoff_rate), "{}", state.name);
            assert!(pending.interval_seconds * pending.max_attempts <= 6 * 3600, "{}", state.name);
        }
    }
}

#[test]
fn no_function_is_still_running_when_its_state_times_out() {
    let machine = machine();
    for state in tasks(&machine) {
        assert!(u64::from(state.timeout_seconds.unwrap()) > FUNCTION_SECONDS_MAX, "{}", state.name);
    }
}

#[test]
fn the_workflow_handles_only_errors_that_functions_return() {
    let machine = machine();
    let aws = ["Lambda.", "States.", "Runtime.", "Sandbox."];
    for state in tasks(&machine) {
        let errors = state.retries.iter().flat_map(|retrier| &retrier.errors);
        for error in errors.chain(state.catches.iter().flat_map(|catcher| &catcher.errors)) {
            let known =
                names::ALL.contains(&error.as_str()) || aws.iter().any(|prefix| error.starts_with(prefix));
            assert!(known, "{}: {error}", state.name);
        }
    }
}

#[test]
fn the_template_has_a_function_and_a_role_for_every_name_in_the_workflow() {
    let template = template();
    let mut programs = BTreeSet::new();
    for (name, resource) in &functions() {
        let function = properties(&template, resource);
        let program = &template["Resources"][resource]["Metadata"]["BuildProperties"]["Binary"];
        assert_eq!(program, name.as_str(), "{resource}");
        assert_eq!(function["Role"], format!("{}Role.Arn", pascal_case(name)), "{resource}");
        assert_eq!(function["LoggingConfig"]["LogGroup"], format!("{}Logs", pascal_case(name)), "{resource}");
        let group = &properties(&template, &format!("{}Logs", pascal_case(name)))["LogGroupName"];
        assert_eq!(*group, format!("/aws/lambda/${{AWS::StackName}}-{name}"), "{resource}");
        programs.insert(name.clone());
    }
    let resources = template["Resources"].as_object().unwrap();
    let there = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    assert_eq!(there.count(), programs.len(), "the template has a function that the workflow does not know");
}

/// A function's resource of this kind, without what is its own: its name, its description, its permissions.
fn common_part(template: &Value, function: &str, kind: &str) -> String {
    let name = pascal_case(function);
    let mut resource = template["Resources"][format!("{name}{kind}")].clone();
    let properties = resource["Properties"].as_object_mut().unwrap();
    properties.remove("Description");
    properties.remove("Policies");
    let mut text = resource.to_string();
    for (own, common) in [
        (format!("{name}Logs"), "NAMELogs"),
        (format!("{name}Role"), "NAMERole"),
        (format!("-{function}\""), "-name\""),
        (format!("\"{function}\""), "\"name\""),
    ] {
        text = text.replace(&own, common);
    }
    text
}

#[test]
fn function_log_group_and_role_are_alike_for_every_function_of_the_template() {
    let template = template();
    for kind in ["Function", "Logs", "Role"] {
        let expected = common_part(&template, "network", kind);
        for function in functions().keys() {
            assert_eq!(common_part(&template, function, kind), expected, "{function} {kind}");
        }
    }
}

#[test]
fn every_list_of_functions_in_the_template_has_the_order_of_the_workflow() {
    let text = include_str!("../../template.yaml");
    let order = ["admit"].into_iter().chain(COMPONENTS.iter().map(|part| part.name)).chain(["conclude"]);
    let order: Vec<String> = order.map(pascal_case).collect();
    for (before, after) in [
        ("\n  ", "Function:"),
        (": !Ref ", "Function.Version"),
        ("- !Sub ${", "Function.Arn}:*"),
        ("\"Duration\", \"FunctionName\", \"${", "Function}\""),
        ("\"Errors\", \"FunctionName\", \"${", "Function}\""),
        ("SOURCE '${", "Logs}'"),
        ("Name: FunctionName, Value: !Ref ", "Function}]"),
    ] {
        let listed = text.split(before).skip(1).filter_map(|rest| {
            let name = rest.split(after).next().filter(|name| name.len() < rest.len())?;
            (!name.is_empty() && name.chars().all(char::is_alphanumeric)).then(|| name.to_owned())
        });
        assert_eq!(listed.collect::<Vec<_>>(), order, "the list of {before:?}…{after:?}");
    }
}

#[test]
fn functions_of_the_template_have_the_timeout_that_rehearsals_have() {
    let globals = &template()["Globals"]["Function"];
    assert_eq!(
        globals["Timeout"], FUNCTION_SECONDS_MAX,
        "rehearsals have the function timeout of the template"
    );
}

#[test]
fn the_template_sets_the_environment_that_functions_read() {
    let template = template();
    let set = template["Globals"]["Function"]["Environment"]["Variables"].as_object().unwrap();
    let sources =
        [include_str!("../../functions/src/aws/mod.rs"), include_str!("../../functions/src/aws/rules.rs")];
    let code = sources.iter().filter_map(|source| source.split("#[cfg(test)]").next());
    let read = code.flat_map(|code| code.split('"')).filter(|text| text.starts_with("STACKDROP_"));
    assert_eq!(set.keys().map(String::as_str).collect::<BTreeSet<_>>(), read.collect::<BTreeSet<_>>());
}
