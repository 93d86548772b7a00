//! The description of a loaded machine, and substitutions.

use std::collections::BTreeMap;

use serde_json::json;
use stackdrop_statemachine::{Machine, StateInfo, StateKind};

use crate::support::{definition, load, task, with};

fn example() -> Machine {
    let parameters =
        json!({ "FunctionName": "network", "Payload": { "action": "apply", "spec.$": "$.spec" } });
    let retry =
        json!([{ "ErrorEquals": ["Pending"], "IntervalSeconds": 15, "BackoffRate": 1, "MaxAttempts": 40 }]);
    let catch = json!([{ "ErrorEquals": ["States.ALL"], "ResultPath": "$.failed", "Next": "Failed" }]);
    let states = json!({
        "Network": task("network", json!({
            "Parameters": parameters, "TimeoutSeconds": 60, "Retry": retry, "Catch": catch, "Next": "Which",
        })),
        "Which": {
            "Type": "Choice",
            "Choices": [{ "Variable": "$.keep", "IsPresent": true, "Next": "Failed" }],
            "Default": "Wait",
        },
        "Wait": {
            "Type": "Parallel",
            "Branches": [definition(json!({ "One": { "Type": "Succeed" } })), definition(json!({ "Two": { "Type": "Succeed" } }))],
            "End": true,
        },
        "Failed": { "Type": "Fail", "Error": "Failed" },
    });
    load(&with(definition(states), json!({ "TimeoutSeconds": 3600, "Comment": "why" }))).unwrap()
}

#[test]
fn states_are_listed_in_file_order_with_branches_after_their_parallel() {
    let machine = example();
    let names: Vec<_> = machine.states().map(|state| (state.name, state.parent)).collect();
    let expected = [
        ("Network", None),
        ("Which", None),
        ("Wait", None),
        ("One", Some("Wait")),
        ("Two", Some("Wait")),
        ("Failed", None),
    ];
    assert_eq!(names, expected);
    assert_eq!((machine.start_at(), machine.timeout_seconds()), ("Network", Some(3600)));
}

#[test]
fn a_task_has_its_function_payload_retries_catches_and_timeout() {
    let machine = example();
    let state: StateInfo<'_> = machine.states().next().unwrap();
    assert_eq!((state.kind, state.function), (StateKind::Task, Some("network")));
    assert_eq!(state.payload.unwrap()["action"], "apply");
    assert_eq!(state.payload.unwrap()["spec.$"], "$.spec");
    assert_eq!((state.timeout_seconds, state.next), (Some(60), Some("Which")));
    let retrier = &state.retries[0];
    assert_eq!(
        (retrier.errors.as_slice(), retrier.interval_seconds),
        (["Pending".to_owned()].as_slice(), 15)
    );
    assert_eq!((retrier.max_attempts, retrier.max_delay_seconds, retrier.full_jitter), (40, None, false));
    let catcher = &state.catches[0];
    assert_eq!((catcher.next.as_str(), catcher.result_path().as_deref()), ("Failed", Some("$.failed")));
}

#[test]
fn a_choice_has_its_next_states_and_a_parallel_its_branches() {
    let machine = example();
    let states: Vec<_> = machine.states().collect();
    assert_eq!(states[1].choices, ["Failed", "Wait"]);
    assert_eq!(states[2].branches, ["One", "Two"]);
}

#[test]
fn the_file_with_every_feature_loads() {
    let names = BTreeMap::from([("AdmitFunction".to_owned(), "admit".to_owned())]);
    let machine = Machine::load(include_str!("../every-feature.asl.json"), &names).unwrap();
    let kinds: std::collections::BTreeSet<_> = machine.states().map(|state| state.kind).collect();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}

fn substituted(text: &str, values: &[(&str, &str)]) -> Result<Machine, String> {
    let values: BTreeMap<String, String> =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Machine::load(text, &values).map_err(|error| error.to_string())
}

#[test]
fn a_substitution_replaces_its_placeholder() {
    let text = definition(json!({ "T": task("${Network}", json!({ "End": true })) })).to_string();
    let machine = substituted(&text, &[("Network", "arn:aws:lambda:x")]).unwrap();
    assert_eq!(machine.states().next().unwrap().function, Some("arn:aws:lambda:x"));
}

#[test]
fn missing_unused_and_malformed_substitutions_are_refused() {
    let text = "{\n\"Comment\": \"${Network} ${not one}\"}";
    let error = substituted(text, &[("Other", "x")]).unwrap_err();
    assert!(error.contains("line 2: no substitution for `${Network}`"), "{error}");
    assert!(error.contains("line 2: expected a name and `}` after `${`"), "{error}");
    assert!(error.contains("unused substitution `Other`"), "{error}");
}

#[test]
fn a_retrier_tells_how_long_all_its_delays_take() {
    for (fields, expected) in [
        (json!({ "IntervalSeconds": 15, "BackoffRate": 1, "MaxAttempts": 40 }), 600.0),
        (json!({ "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 4, "MaxDelaySeconds": 10 }), 28.0),
        (json!({}), 7.0),
        (json!({ "MaxAttempts": 0 }), 0.0),
    ] {
        let retry = json!([with(json!({ "ErrorEquals": ["E"] }), fields)]);
        let state = task("f", json!({ "Retry": retry, "End": true }));
        let machine = load(&definition(json!({ "T": state }))).unwrap();
        let seconds = machine.states().next().unwrap().retries[0].seconds_max();
        assert!((seconds - expected).abs() < 1e-9, "{retry}: {seconds}");
    }
}

#[test]
fn a_catch_tells_where_it_inserts_the_error() {
    let catch = json!([
        { "ErrorEquals": ["A"], "ResultPath": null, "Next": "T" },
        { "ErrorEquals": ["B"], "Next": "T" },
        { "ErrorEquals": ["C"], "ResultPath": "$.failed.T", "Next": "T" },
    ]);
    let state = task("f", json!({ "Catch": catch, "End": true }));
    let machine = load(&definition(json!({ "T": state }))).unwrap();
    let catches = machine.states().next().unwrap().catches;
    let paths: Vec<Option<String>> =
        catches.iter().map(stackdrop_statemachine::Catcher::result_path).collect();
    assert_eq!(paths, [None, Some("$".to_owned()), Some("$.failed.T".to_owned())]);
}
