//! The workflow files that the loader refuses, with the place and the message of each problem.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackdrop_statemachine::Machine;

use crate::support::{definition, load, task, with};

/// The problems, as `pointer: message`.
fn problems(definition: &Value) -> Vec<String> {
    let error = load(definition).expect_err("it was loaded");
    error.problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
}

/// Asserts that these states have one problem, with this pointer and message.
fn refused(states: Value, pointer: &str, message: &str) {
    let problems = problems(&definition(states));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let (place, found) = problems[0].split_once(": ").unwrap();
    assert_eq!(place, pointer, "{found}");
    assert!(found.contains(message), "{found:?} does not contain {message:?}");
}

/// A machine whose only state is `S`.
fn one(state: Value) -> Value {
    json!({ "S": with(state, json!({ "End": true })) })
}

fn pass(more: Value) -> Value {
    one(with(json!({ "Type": "Pass" }), more))
}

fn selecting(path: &str) -> Value {
    pass(json!({ "Parameters": { "it.$": path } }))
}

#[test]
fn invalid_json_is_refused_with_its_line() {
    let error = Machine::load("{\n  \"StartAt\": }", &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    let error = Machine::load(r#"{"StartAt":"S","States":{"S":{"Type":"Succeed"}}} {}"#, &BTreeMap::new())
        .unwrap_err();
    assert!(error.to_string().contains("trailing characters"), "{error}");
}

#[test]
fn duplicate_keys_are_refused() {
    let text = r#"{"StartAt":"S","States":{"S":{"Type":"Succeed"},"S":{"Type":"Succeed"}}}"#;
    let error = Machine::load(text, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.problems[0].pointer, "/States");
    assert!(error.problems[0].message.contains("duplicate key `S`"), "{error}");
}

#[test]
fn a_file_larger_than_a_mebibyte_is_refused() {
    let machine = |length: usize| with(definition(pass(json!({}))), json!({ "Comment": "x".repeat(length) }));
    let room = 1024 * 1024 - machine(0).to_string().len();
    load(&machine(room)).unwrap();
    assert!(problems(&machine(room + 1))[0].contains("at most 1048576 bytes, found 1048577"));
}

#[test]
fn unsupported_fields_of_the_machine_are_refused() {
    for field in ["Timeout", "Version", "QueryLanguage"] {
        let machine = with(definition(pass(json!({}))), json!({ field: "1.0" }));
        assert_eq!(
            problems(&machine),
            [format!(
                "/{field}: `{field}` of the workflow is not supported by this interpreter \
                 (supported: Comment, StartAt, TimeoutSeconds, States)"
            )]
        );
    }
    assert_eq!(problems(&json!({ "States": {} })), [": the workflow must have `StartAt`"]);
    assert_eq!(problems(&json!([])), [": the workflow must be an object"]);
}

#[test]
fn unsupported_fields_of_states_are_refused() {
    let end = |state: Value| with(state, json!({ "End": true }));
    let task = end(task("f", json!({})));
    let pass = end(json!({ "Type": "Pass" }));
    let parallel =
        end(json!({ "Type": "Parallel", "Branches": [definition(json!({ "E": { "Type": "Succeed" } }))] }));
    let rule = json!({ "Variable": "$.a", "IsNull": true, "Next": "S" });
    let choice = json!({ "Type": "Choice", "Choices": [rule], "Default": "S" });
    for (state, fields) in [
        (&pass, &["InputPath", "Result", "ResultSelector", "TimeoutSeconds", "Retry"][..]),
        (&json!({ "Type": "Succeed" }), &["Output", "InputPath", "OutputPath", "End"]),
        (&json!({ "Type": "Fail", "Error": "E" }), &["InputPath", "Next"]),
        (&parallel, &["InputPath", "Parameters", "Arguments", "ItemsPath"]),
        (&choice, &["Assign", "InputPath", "OutputPath", "Next"]),
        (
            &task,
            &[
                "InputPath",
                "Credentials",
                "HeartbeatSeconds",
                "HeartbeatSecondsPath",
                "TimeoutSecondsPath",
                "Assign",
                "Arguments",
                "QueryLanguage",
            ],
        ),
    ] {
        for field in fields {
            let kind = state["Type"].as_str().unwrap();
            let message = format!("`{field}` of the {kind} state `S` is not supported by this interpreter");
            let states = json!({ "S": with(state.clone(), json!({ *field: 1 })) });
            refused(states, &format!("/States/S/{field}"), &message);
        }
    }
}

#[test]
fn unsupported_types_of_states_are_refused() {
    for kind in ["Map", "Wait", "Tusk"] {
        let message = format!(
            "the type `{kind}` of the state `S` is not supported by this interpreter \
             (supported: Task, Parallel, Choice, Pass, Succeed, Fail)"
        );
        refused(json!({ "S": { "Type": kind, "Seconds": 1, "End": true } }), "/States/S/Type", &message);
    }
    refused(json!({ "S": { "End": true } }), "/States/S", "the state `S` must have `Type`");
    refused(json!({ "S": 1 }), "/States/S", "the state `S` must be an object");
}

#[test]
fn unsupported_null_is_refused() {
    refused(pass(json!({ "Parameters": null })), "/States/S/Parameters", "must be an object");
    refused(pass(json!({ "OutputPath": null })), "/States/S/OutputPath", "must not be null");
    refused(pass(json!({ "Comment": null })), "/States/S/Comment", "must not be null");
    refused(
        one(task("f", json!({ "TimeoutSeconds": null }))),
        "/States/S/TimeoutSeconds",
        "must not be null",
    );
    let delay = json!({ "MaxDelaySeconds": null });
    refused(retrying(delay), "/States/S/Retry/0/MaxDelaySeconds", "must not be null");
    let test = json!({ "Variable": "$.a", "IsNull": null });
    refused(choosing(test), "/States/S/Choices/0/IsNull", "must not be null");
    let machine = with(definition(pass(json!({}))), json!({ "TimeoutSeconds": null }));
    assert_eq!(problems(&machine), ["/TimeoutSeconds: `TimeoutSeconds` must not be null"]);
}

#[test]
fn all_problems_of_a_file_are_reported_together() {
    let state = json!({
        "Type": "Task",
        "Comment": null,
        "HeartbeatSeconds": 1,
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Parameters": { "FunctionName.$": "$.f", "Payload": {}, "Qualifier": "x" },
        "OutputPath": "$..a",
        "TimeoutSeconds": 0,
        "Retry": [
            { "ErrorEquals": ["E"], "BackoffRate": 0.5 },
            { "ErrorEquals": ["E"] },
            { "ErrorEquals": ["E"], "Next": "S" },
        ],
        "Catch": [{ "ErrorEquals": ["States.Runtime"], "Next": "S" }, { "ErrorEquals": ["E"] }],
    });
    let error = load(&definition(json!({ "S": state }))).unwrap_err();
    assert_eq!(error.to_string(), PROBLEMS_OF_ONE_STATE.trim_end());
}

const PROBLEMS_OF_ONE_STATE: &str = r#"cannot load the workflow:
  /States/S/HeartbeatSeconds: `HeartbeatSeconds` of the Task state `S` is not supported by this interpreter (supported: Comment, Resource, Parameters, TimeoutSeconds, ResultSelector, ResultPath, OutputPath, Retry, Catch, Next, End)
  /States/S/Comment: `Comment` must not be null
  /States/S/OutputPath: the path `$..a` is not supported by this interpreter: expected a name after `.`, found `.a`
  /States/S/Retry/0: `BackoffRate` must be at least 1.0
  /States/S/Retry/2/Next: `Next` of `Retry` of the Task state `S` is not supported by this interpreter (supported: ErrorEquals, IntervalSeconds, BackoffRate, MaxAttempts, MaxDelaySeconds, JitterStrategy)
  /States/S/Catch/0: `States.Runtime` cannot be retried or caught
  /States/S/Catch/1: missing field `Next`
  /States/S: the Task state `S` must have either `Next` or `"End": true`
  /States/S/Resource: the `Resource` `arn:aws:states:::sqs:sendMessage` of the Task state `S` is not supported by this interpreter (supported: arn:aws:states:::lambda:invoke, arn:aws:states:::lambda:invoke.waitForTaskToken)
  /States/S/TimeoutSeconds: `TimeoutSeconds` must be between 1 and 99999999
  /States/S/Parameters/FunctionName.$: `FunctionName.$` of `Parameters` of the Task state `S` is not supported by this interpreter (supported: FunctionName, Payload, Payload.$)
  /States/S/Parameters/Qualifier: `Qualifier` of `Parameters` of the Task state `S` is not supported by this interpreter (supported: FunctionName, Payload, Payload.$)
  /States/S/Parameters: `Parameters` of the Task state `S` must have `FunctionName`
"#;

#[test]
fn a_state_has_either_next_or_end() {
    for exit in [json!({}), json!({ "End": false }), json!({ "End": true, "Next": "S" })] {
        let states = json!({ "S": with(json!({ "Type": "Pass" }), exit) });
        refused(states, "/States/S", "the Pass state `S` must have either `Next` or");
    }
}

#[test]
fn unknown_states_are_refused() {
    let machine = json!({ "StartAt": "Nowhere", "States": pass(json!({})) });
    assert_eq!(problems(&machine), ["/StartAt: unknown state `Nowhere`"]);
    let end = json!({ "Type": "Succeed" });
    let first = json!({ "Type": "Pass", "Next": "Nowhere" });
    let found = problems(&definition(json!({ "S": first })));
    assert!(found.contains(&"/States/S/Next: unknown state `Nowhere`".to_owned()), "{found:?}");
    let catch = json!({ "Catch": [{ "ErrorEquals": ["E"], "Next": "Nowhere" }] });
    refused(one(task("f", catch)), "/States/S/Catch/0/Next", "unknown state `Nowhere`");
    let rule = json!({ "Variable": "$.a", "IsPresent": true, "Next": "Nowhere" });
    let states = json!({ "S": { "Type": "Choice", "Choices": [rule], "Default": "E" }, "E": end });
    refused(states, "/States/S/Choices/0/Next", "unknown state `Nowhere`");
    let rule = json!({ "Variable": "$.a", "IsPresent": true, "Next": "E" });
    let states = json!({ "S": { "Type": "Choice", "Choices": [rule], "Default": "Nowhere" }, "E": end });
    refused(states, "/States/S/Default", "unknown state `Nowhere`");
}

#[test]
fn a_branch_cannot_continue_outside_of_itself() {
    let branch = json!({ "StartAt": "B", "States": { "B": { "Type": "Pass", "Next": "After" } } });
    let states = json!({
        "S": { "Type": "Parallel", "Branches": [branch], "Next": "After" },
        "After": { "Type": "Succeed" },
    });
    let found = problems(&definition(states));
    assert_eq!(found[0], "/States/S/Branches/0/States/B/Next: unknown state `After`");
}

#[test]
fn an_unreachable_state_is_refused() {
    let states = json!({ "S": { "Type": "Succeed" }, "Alone": { "Type": "Succeed" } });
    refused(states, "/States/Alone", "the state is unreachable");
}

#[test]
fn a_circle_without_an_end_is_refused() {
    let states = json!({ "S": { "Type": "Pass", "Next": "T" }, "T": { "Type": "Pass", "Next": "S" } });
    let found = problems(&definition(states));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|problem| problem.contains("no end is reachable from the state")), "{found:?}");
}

#[test]
fn names_of_states_are_short_and_unique_in_the_machine() {
    let long = "é".repeat(81);
    let found = problems(&definition(json!({ long: { "Type": "Succeed" } })));
    assert!(found[0].contains("1 to 80 characters, found 81"), "{found:?}");
    load(&definition(json!({ "é".repeat(80): { "Type": "Succeed" } }))).unwrap();

    let branch = definition(json!({ "S": { "Type": "Succeed" } }));
    let states = one(json!({ "Type": "Parallel", "Branches": [branch] }));
    refused(states, "/States/S/Branches/0/States/S", "duplicate state `S`");
}

#[test]
fn tasks_other_than_lambda_invoke_are_refused() {
    for resource in ["arn:aws:lambda:us-east-1:1:function:f", "arn:aws:states:::sqs:sendMessage"] {
        let message =
            format!("the `Resource` `{resource}` of the Task state `S` is not supported by this interpreter");
        refused(one(task("f", json!({ "Resource": resource }))), "/States/S/Resource", &message);
    }
    let invoke = |parameters: Value| one(task("f", json!({ "Parameters": parameters })));
    let parameters = "/States/S/Parameters";
    refused(invoke(json!({ "FunctionName": "f" })), parameters, "must have `Payload`");
    refused(invoke(json!({ "Payload": {} })), parameters, "must have `FunctionName`");
    let unnamed = json!({ "FunctionName": "", "Payload": {} });
    refused(invoke(unnamed), "/States/S/Parameters/FunctionName", "must not be empty");
    let asynchronous = json!({ "FunctionName": "f", "Payload": {}, "InvocationType": "Event" });
    let message = "`InvocationType` of `Parameters` of the Task state `S` is not supported";
    refused(invoke(asynchronous), "/States/S/Parameters/InvocationType", message);
    let selected = json!({ "FunctionName": "f", "FunctionName.$": "$.f", "Payload": {} });
    refused(invoke(selected), "/States/S/Parameters/FunctionName.$", "is not supported");
}

#[test]
fn unsupported_paths_are_refused() {
    for path in [
        "x",
        "$x",
        "$.",
        "$..a",
        "$.a.",
        "$.*",
        "$.a[*]",
        "$.a[-1]",
        "$.a[0:2]",
        "$.a[?(@.b)]",
        "$.a-b",
        "$.a b",
        "$['a']",
        "$.a[0",
        "$[]",
        "$.a[+1]",
        "$[99999999999999999999]",
    ] {
        let found = problems(&definition(pass(json!({ "OutputPath": path }))));
        assert!(found[0].starts_with("/States/S/OutputPath: "), "{path}: {found:?}");
        assert!(found[0].contains("path"), "{path}: {found:?}");
    }
    refused(selecting("$.a[*]"), "/States/S/Parameters/it.$", "is not supported by this interpreter");
}

#[test]
fn unsupported_fields_of_the_context_object_are_refused() {
    for path in ["$$", "$$.Execution", "$$.Execution.Inputs", "$$.State.Name", "$$.Map.Item.Index"] {
        let message = format!("the context path `{path}` is not supported by this interpreter");
        refused(selecting(path), "/States/S/Parameters/it.$", &message);
    }
}

#[test]
fn a_result_path_consists_of_names() {
    for path in ["$$.Execution.Id", "$.a[0]", "a", "$..a"] {
        let found = problems(&definition(pass(json!({ "ResultPath": path }))));
        assert!(found[0].starts_with("/States/S/ResultPath: "), "{path}: {found:?}");
    }
}

#[test]
fn intrinsic_functions_are_refused() {
    for function in ["States.Format('{}', $.a)", "States.JsonToString($)", "States.UUID()"] {
        let message = format!("the intrinsic function `{function}` is not supported by this interpreter");
        refused(selecting(function), "/States/S/Parameters/it.$", &message);
        let fail = json!({ "S": { "Type": "Fail", "Error": "E", "CausePath": function } });
        refused(fail, "/States/S/CausePath", &message);
    }
}

#[test]
fn malformed_templates_are_refused() {
    let list = pass(json!({ "Parameters": { "list": [{ "a.$": 1 }] } }));
    refused(list, "/States/S/Parameters/list/0/a.$", "must be a path");
    let twice = pass(json!({ "Parameters": { "a": 1, "a.$": "$" } }));
    refused(twice, "/States/S/Parameters/a.$", "duplicate field `a`");
    refused(pass(json!({ "Parameters": "$" })), "/States/S/Parameters", "must be an object");
}

fn choosing(more: Value) -> Value {
    let rule = with(json!({ "Next": "E" }), more);
    json!({ "S": { "Type": "Choice", "Choices": [rule], "Default": "E" }, "E": { "Type": "Succeed" } })
}

#[test]
fn a_choice_without_default_or_rules_is_refused() {
    let rule = json!({ "Variable": "$.a", "IsPresent": true, "Next": "E" });
    let end = json!({ "Type": "Succeed" });
    refused(
        json!({ "S": { "Type": "Choice", "Choices": [rule] }, "E": end }),
        "/States/S",
        "the Choice state `S` must have `Default`",
    );
    let states = json!({ "S": { "Type": "Choice", "Choices": [], "Default": "E" }, "E": end });
    refused(states, "/States/S/Choices", "`Choices` must not be empty");
}

#[test]
fn unsupported_and_malformed_conditions_are_refused() {
    let rule = "/States/S/Choices/0";
    for operator in ["NumericEquals", "NumericLessThan", "StringGreaterThan", "TimestampEquals"] {
        let test = json!({ "Variable": "$.a", operator: 1 });
        let message = format!(
            "`{operator}` of a condition of the Choice state `S` is not supported by this interpreter"
        );
        refused(choosing(test), &format!("{rule}/{operator}"), &message);
    }
    refused(choosing(json!({ "StringEquals": "x" })), rule, "must have `Variable`");
    refused(choosing(json!({ "Variable": "$.a" })), rule, "exactly one operator");
    let two = json!({ "Variable": "$.a", "IsNull": true, "IsPresent": true });
    refused(choosing(two), rule, "exactly one operator");
    let both = json!({ "Variable": "$.a", "Not": { "Variable": "$.a", "IsNull": true } });
    refused(choosing(both), rule, "must not have `Variable` beside `Not`");
    refused(choosing(json!({ "And": [] })), "/States/S/Choices/0/And", "`And` must not be empty");
    let inner = json!({ "Variable": "$.a", "IsNull": true, "Next": "E" });
    refused(choosing(json!({ "And": [inner] })), "/States/S/Choices/0/And/0/Next", "is not supported");
    let typed = json!({ "Variable": "$.a", "BooleanEquals": "true" });
    refused(choosing(typed), "/States/S/Choices/0/BooleanEquals", "invalid type");
    let path = json!({ "Not": { "Variable": "$.a[*]", "IsNull": true } });
    refused(choosing(path), "/States/S/Choices/0/Not/Variable", "is not supported");
}

fn retrying(retrier: Value) -> Value {
    one(task("f", json!({ "Retry": [with(json!({ "ErrorEquals": ["E"] }), retrier)] })))
}

#[test]
fn retries_with_numbers_out_of_range_or_unsupported_fields_are_refused() {
    for (retrier, pointer, message) in [
        (json!({ "IntervalSeconds": 0 }), "/States/S/Retry/0", "`IntervalSeconds` must be between 1 and"),
        (json!({ "IntervalSeconds": 1.5 }), "/States/S/Retry/0/IntervalSeconds", "invalid type"),
        (json!({ "BackoffRate": 0.5 }), "/States/S/Retry/0", "`BackoffRate` must be at least 1.0"),
        (json!({ "MaxAttempts": 100_000_000 }), "/States/S/Retry/0", "`MaxAttempts` must be at most"),
        (json!({ "MaxAttempts": -1 }), "/States/S/Retry/0/MaxAttempts", "invalid value"),
        (json!({ "MaxDelaySeconds": 31_622_400 }), "/States/S/Retry/0", "`MaxDelaySeconds` must be"),
        (
            json!({ "IntervalSeconds": 5, "MaxDelaySeconds": 4 }),
            "/States/S/Retry/0",
            "`MaxDelaySeconds` must be",
        ),
        (
            json!({ "JitterStrategy": "NONE" }),
            "/States/S/Retry/0",
            "the `JitterStrategy` `NONE` is not supported",
        ),
        (
            json!({ "Jitter": "FULL" }),
            "/States/S/Retry/0/Jitter",
            "`Jitter` of `Retry` of the Task state `S` is not supported by this interpreter",
        ),
        (json!({ "ErrorEquals": [] }), "/States/S/Retry/0", "`ErrorEquals` must not be empty"),
    ] {
        refused(retrying(retrier), pointer, message);
    }
}

#[test]
fn error_names_that_nothing_matches_are_refused() {
    for (names, message) in [
        (json!(["States.Runtime"]), "cannot be retried or caught"),
        (json!(["States.AlL"]), "the error name `States.AlL` is not supported by this interpreter"),
        (json!(["States.IntrinsicFailure"]), "is not supported by this interpreter"),
        (json!(["States.ALL", "E"]), "`States.ALL` must be the only name"),
    ] {
        refused(retrying(json!({ "ErrorEquals": names })), "/States/S/Retry/0", message);
        let catch = json!({ "Catch": [{ "ErrorEquals": names, "Next": "S" }] });
        refused(one(task("f", catch)), "/States/S/Catch/0", message);
    }
    let all = json!({ "ErrorEquals": ["States.ALL"], "Next": "S" });
    let other = json!({ "ErrorEquals": ["E"], "Next": "S" });
    let states = one(task("f", json!({ "Catch": [all, other] })));
    refused(states, "/States/S/Catch/0", "the entry with `States.ALL` must be the last one");
}

#[test]
fn timeouts_out_of_range_are_refused() {
    refused(
        one(task("f", json!({ "TimeoutSeconds": 0 }))),
        "/States/S/TimeoutSeconds",
        "between 1 and 99999999",
    );
    let machine = with(definition(pass(json!({}))), json!({ "TimeoutSeconds": 0 }));
    assert_eq!(problems(&machine), ["/TimeoutSeconds: `TimeoutSeconds` must be between 1 and 99999999"]);
}

#[test]
fn a_fail_without_an_error_or_with_two_is_refused() {
    refused(json!({ "S": { "Type": "Fail" } }), "/States/S", "must have `Error` or `ErrorPath`");
    let both = json!({ "S": { "Type": "Fail", "Error": "E", "ErrorPath": "$.e" } });
    refused(both, "/States/S", "must not have both `Error` and `ErrorPath`");
    let path = json!({ "S": { "Type": "Fail", "Error": "E", "CausePath": "$.*" } });
    refused(path, "/States/S/CausePath", "is not supported by this interpreter");
}

#[test]
fn malformed_parallels_are_refused() {
    refused(
        one(json!({ "Type": "Parallel", "Branches": [] })),
        "/States/S/Branches",
        "`Branches` must not be empty",
    );
    refused(one(json!({ "Type": "Parallel" })), "/States/S", "must have `Branches`");
    let chain = definition(json!({ "I": { "Type": "Succeed" } }));
    let branch = with(chain, json!({ "ProcessorConfig": { "Mode": "INLINE" } }));
    let parallel = one(json!({ "Type": "Parallel", "Branches": [branch] }));
    let message = "`ProcessorConfig` of a branch of the Parallel state `S` is not supported";
    refused(parallel, "/States/S/Branches/0/ProcessorConfig", message);
}
