//! What is refused when a workflow is loaded, and at which place.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackdrop_statemachine::Machine;

use crate::support::{definition, load, task, with};

/// The problems, as `pointer: message`.
fn problems(definition: &Value) -> Vec<String> {
    let error = load(definition).expect_err("it was loaded");
    error.problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
}

/// Asserts that these states are refused for one reason, at this place.
fn refused(states: Value, pointer: &str, message: &str) {
    let problems = problems(&definition(states));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let (place, told) = problems[0].split_once(": ").unwrap();
    assert_eq!(place, pointer, "{told}");
    assert!(told.contains(message), "{told:?} does not say {message:?}");
}

/// A machine whose one state `S` ends it.
fn one(state: Value) -> Value {
    json!({ "S": with(state, json!({ "End": true })) })
}

fn pass(more: Value) -> Value {
    one(with(json!({ "Type": "Pass" }), more))
}

fn queried(query: &str) -> Value {
    pass(json!({ "Parameters": { "it.$": query } }))
}

#[test]
fn text_that_is_no_json_is_refused_with_its_line() {
    let error = Machine::load("{\n  \"StartAt\": }", &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
    let error = Machine::load(r#"{"StartAt":"S","States":{"S":{"Type":"Succeed"}}} {}"#, &BTreeMap::new())
        .unwrap_err();
    assert!(error.to_string().contains("trailing characters"), "{error}");
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let text = r#"{"StartAt":"S","States":{"S":{"Type":"Succeed"},"S":{"Type":"Succeed"}}}"#;
    let error = Machine::load(text, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.problems[0].pointer, "/States");
    assert!(error.problems[0].message.contains("`S` is there twice"), "{error}");
}

#[test]
fn a_file_larger_than_a_mebibyte_is_refused() {
    let machine = |length: usize| with(definition(pass(json!({}))), json!({ "Comment": "x".repeat(length) }));
    let room = 1024 * 1024 - machine(0).to_string().len();
    load(&machine(room)).unwrap();
    assert!(problems(&machine(room + 1))[0].contains("1048577 bytes"));
}

#[test]
fn unknown_fields_of_the_machine_are_refused() {
    let machine = with(definition(pass(json!({}))), json!({ "Timeout": 1 }));
    assert_eq!(
        problems(&machine),
        [
            "/Timeout: a workflow may have only `Comment`, `Version`, `QueryLanguage`, `StartAt`, `TimeoutSeconds`, `States`"
        ]
    );
    let machine = with(definition(pass(json!({}))), json!({ "QueryLanguage": "JSONata" }));
    assert!(problems(&machine)[0].starts_with("/QueryLanguage: unknown variant"), "{:?}", problems(&machine));
    assert_eq!(problems(&json!({ "States": {} })), [": it needs `StartAt`"]);
    assert_eq!(problems(&json!([])), [": a workflow is an object"]);
}

#[test]
fn fields_that_a_kind_of_state_does_not_have_are_refused() {
    let end = |state: Value| with(state, json!({ "End": true }));
    let task = |function: &str, more: Value| end(task(function, more));
    let map =
        end(json!({ "Type": "Map", "ItemProcessor": definition(json!({ "E": { "Type": "Succeed" } })) }));
    let rule = json!({ "Variable": "$.a", "IsNull": true, "Next": "S" });
    for (state, field) in [
        (end(json!({ "Type": "Wait", "Seconds": 1 })), "ResultPath"),
        (end(json!({ "Type": "Wait", "Seconds": 1 })), "TimestampPath"),
        (end(json!({ "Type": "Pass" })), "ResultSelector"),
        (end(json!({ "Type": "Pass" })), "TimeoutSeconds"),
        (json!({ "Type": "Succeed" }), "Output"),
        (json!({ "Type": "Fail", "Error": "E" }), "InputPath"),
        (map.clone(), "ItemReader"),
        (map.clone(), "Iterator"),
        (map.clone(), "MaxConcurrencyPath"),
        (map, "ToleratedFailureCount"),
        (task("f", json!({})), "Credentials"),
        (task("f", json!({})), "HeartbeatSecondsPath"),
        (task("f", json!({})), "HeartbeatSeconds"),
        (task("f", json!({})), "TimeoutSecondsPath"),
        (task("f", json!({})), "Assign"),
        (task("f", json!({})), "Arguments"),
        (task("f", json!({})), "QueryLanguage"),
        (json!({ "Type": "Choice", "Choices": [rule], "Default": "S" }), "Assign"),
    ] {
        let kind = state["Type"].as_str().unwrap().to_owned();
        let message = format!("a {kind} state may have only");
        refused(json!({ "S": with(state, json!({ field: 1 })) }), &format!("/States/S/{field}"), &message);
    }
}

#[test]
fn null_is_refused_where_it_means_nothing() {
    refused(pass(json!({ "Parameters": null })), "/States/S/Parameters", "it is an object");
    refused(
        one(task("f", json!({ "TimeoutSeconds": null }))),
        "/States/S/TimeoutSeconds",
        "it can not be null",
    );
    let delay = json!({ "MaxDelaySeconds": null });
    refused(retrying(delay), "/States/S/Retry/0/MaxDelaySeconds", "it can not be null");
    let machine = with(definition(pass(json!({}))), json!({ "TimeoutSeconds": null }));
    assert_eq!(problems(&machine), ["/TimeoutSeconds: it can not be null"]);
}

#[test]
fn a_state_of_no_known_kind_is_refused() {
    refused(json!({ "S": { "Type": "Tusk" } }), "/States/S/Type", "unknown variant `Tusk`");
    refused(json!({ "S": { "End": true } }), "/States/S", "it needs `Type`");
    refused(json!({ "S": 1 }), "/States/S", "a state is an object");
}

#[test]
fn a_pointer_escapes_what_a_name_has() {
    refused(json!({ "a/b~c": { "Type": "Tusk" } }), "/States/a~1b~0c/Type", "unknown variant");
}

#[test]
fn all_problems_are_told_at_once() {
    let states = json!({
        "A": { "Type": "Tusk" },
        "B": { "Type": "Pass", "ResultPath": "x", "End": true },
        "C": { "Type": "Wait", "End": true },
    });
    assert_eq!(problems(&definition(states)).len(), 3);
}

#[test]
fn all_problems_of_one_state_are_told_at_once_each_at_its_place() {
    let state = json!({
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Comment": null,
        "InputPath": "$..a",
        "Parameters": { "FunctionName.$": "$.f", "Qualifier": "live", "Payload": {} },
        "TimeoutSeconds": 0,
        "HeartbeatSeconds": 10,
        "Retry": [
            { "ErrorEquals": ["E"], "BackoffRate": 0.5 },
            { "ErrorEquals": ["E"] },
            { "ErrorEquals": [], "Next": "S" },
        ],
        "Catch": [{ "ErrorEquals": ["States.Runtime"], "Next": "S" }, { "ErrorEquals": ["E"] }],
        "Next": "S",
        "End": true,
    });
    let error = load(&definition(json!({ "S": state }))).unwrap_err();
    assert_eq!(error.to_string(), TOLD_OF_ONE_STATE.trim_end());
}

const TOLD_OF_ONE_STATE: &str = r#"the workflow can not be loaded:
  /States/S/Comment: it can not be null
  /States/S/HeartbeatSeconds: a Task state may have only `Comment`, `Resource`, `Parameters`, `TimeoutSeconds`, `InputPath`, `OutputPath`, `Next`, `End`, `ResultPath`, `ResultSelector`, `Retry`, `Catch`
  /States/S/InputPath: `$..a` is not a path that is known here: a name is missing after `.`
  /States/S/Retry/0: `BackoffRate` is at least 1.0
  /States/S/Retry/2/Next: unknown field `Next`, expected one of `Comment`, `ErrorEquals`, `IntervalSeconds`, `BackoffRate`, `MaxAttempts`, `MaxDelaySeconds`, `JitterStrategy`
  /States/S/Catch/0: `States.Runtime` is never retried or caught
  /States/S/Catch/1: missing field `Next`
  /States/S: it needs either `Next` or `"End": true`
  /States/S/Resource: unknown variant `arn:aws:states:::sqs:sendMessage`, expected `arn:aws:states:::lambda:invoke` or `arn:aws:states:::lambda:invoke.waitForTaskToken`
  /States/S/TimeoutSeconds: it is between 1 and 99999999
  /States/S/Parameters/FunctionName.$: it is a text, the same for every run
  /States/S/Parameters/Qualifier: `Qualifier` is neither `FunctionName` nor `Payload`
"#;

#[test]
fn a_pass_has_either_parameters_or_a_result() {
    let both = json!({ "Parameters": {}, "Result": 1 });
    refused(pass(both), "/States/S", "both `Parameters` and `Result`");
}

#[test]
fn a_state_goes_on_or_ends_and_never_both() {
    for exit in [json!({}), json!({ "End": false }), json!({ "End": true, "Next": "S" })] {
        let states = json!({ "S": with(json!({ "Type": "Pass" }), exit) });
        refused(states, "/States/S", "either `Next` or");
    }
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let machine = json!({ "StartAt": "Nowhere", "States": pass(json!({})) });
    assert_eq!(problems(&machine), ["/StartAt: there is no state `Nowhere` here"]);
    let end = json!({ "Type": "Succeed" });
    let first = json!({ "Type": "Pass", "Next": "Nowhere" });
    let told = problems(&definition(json!({ "S": first })));
    assert!(told.contains(&"/States/S/Next: there is no state `Nowhere` here".to_owned()), "{told:?}");
    let catch = json!({ "Catch": [{ "ErrorEquals": ["E"], "Next": "Nowhere" }] });
    refused(one(task("f", catch)), "/States/S/Catch/0/Next", "there is no state `Nowhere` here");
    let rule = json!({ "Variable": "$.a", "IsPresent": true, "Next": "Nowhere" });
    let states = json!({ "S": { "Type": "Choice", "Choices": [rule], "Default": "E" }, "E": end });
    refused(states, "/States/S/Choices/0/Next", "there is no state `Nowhere` here");
    let rule = json!({ "Variable": "$.a", "IsPresent": true, "Next": "E" });
    let states = json!({ "S": { "Type": "Choice", "Choices": [rule], "Default": "Nowhere" }, "E": end });
    refused(states, "/States/S/Default", "there is no state `Nowhere` here");
}

#[test]
fn a_branch_can_not_lead_out_of_itself() {
    let branch = json!({ "StartAt": "B", "States": { "B": { "Type": "Pass", "Next": "After" } } });
    let states = json!({
        "S": { "Type": "Parallel", "Branches": [branch], "Next": "After" },
        "After": { "Type": "Succeed" },
    });
    let told = problems(&definition(states));
    assert_eq!(told[0], "/States/S/Branches/0/States/B/Next: there is no state `After` here");
}

#[test]
fn a_state_that_no_way_leads_to_is_refused() {
    let states = json!({ "S": { "Type": "Succeed" }, "Alone": { "Type": "Succeed" } });
    refused(states, "/States/Alone", "no way leads here");
}

#[test]
fn a_circle_without_an_end_is_refused() {
    let states = json!({ "S": { "Type": "Pass", "Next": "T" }, "T": { "Type": "Pass", "Next": "S" } });
    let told = problems(&definition(states));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|problem| problem.contains("no way leads from here to an end")), "{told:?}");
}

#[test]
fn names_are_short_and_one_of_a_kind_in_the_whole_machine() {
    let long = "é".repeat(81);
    let told = problems(&definition(json!({ long: { "Type": "Succeed" } })));
    assert!(told[0].contains("1 to 80 characters, not 81"), "{told:?}");
    load(&definition(json!({ "é".repeat(80): { "Type": "Succeed" } }))).unwrap();

    let branch = definition(json!({ "S": { "Type": "Succeed" } }));
    let states = one(json!({ "Type": "Parallel", "Branches": [branch] }));
    refused(states, "/States/S/Branches/0/States/S", "there is another state `S`");
}

#[test]
fn a_task_other_than_lambda_invoke_is_refused() {
    let direct = json!({ "Resource": "arn:aws:lambda:us-east-1:1:function:f" });
    refused(one(task("f", direct)), "/States/S/Resource", "unknown variant");
    let invoke = |parameters: Value| one(task("f", json!({ "Parameters": parameters })));
    refused(
        invoke(json!({ "FunctionName": "f" })),
        "/States/S/Parameters",
        "needs `FunctionName` and `Payload`",
    );
    refused(invoke(json!({ "Payload": {} })), "/States/S/Parameters", "needs `FunctionName` and `Payload`");
    let selected = json!({ "FunctionName.$": "$.f", "Payload": {} });
    refused(invoke(selected), "/States/S/Parameters/FunctionName.$", "the same for every run");
    let asynchronous = json!({ "FunctionName": "f", "Payload": {}, "InvocationType": "Event" });
    let place = "/States/S/Parameters/InvocationType";
    refused(invoke(asynchronous), place, "`InvocationType` is neither");
}

#[test]
fn paths_that_are_not_known_are_refused() {
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
        "$['a'",
        "$['a]",
        "$[]",
        "$['']",
        "$.a[+1]",
        "$[99999999999999999999]",
        "$.a['b','c']",
    ] {
        let told = problems(&definition(pass(json!({ "InputPath": path }))));
        assert!(told[0].starts_with("/States/S/InputPath: "), "{path}: {told:?}");
        assert!(told[0].contains("path"), "{path}: {told:?}");
    }
}

#[test]
fn what_the_context_object_does_not_have_is_refused() {
    for path in ["$$.Execution.RoleArn", "$$.State.Name.x", "$$.Nothing", "$$.Execution.InputX"] {
        refused(queried(path), "/States/S/Parameters/it.$", "nothing that the context object has");
    }
    refused(queried("$$.Map.Item.Index"), "/States/S", "inside a Map only");
}

#[test]
fn a_result_path_is_a_path_of_names() {
    for path in ["$$.Execution", "$.a[0]", "a", "$..a"] {
        let told = problems(&definition(pass(json!({ "ResultPath": path }))));
        assert!(told[0].starts_with("/States/S/ResultPath: "), "{path}: {told:?}");
    }
}

#[test]
fn templates_and_intrinsic_functions_that_are_not_known_are_refused() {
    for (query, message) in [
        ("text", "starts with neither `$` nor `States.`"),
        ("States.Uuid()", "`States.Uuid` is not one of"),
        ("States.Format", "`(` is missing"),
        ("States.Format('{}')", "1 `{}` and 0 arguments"),
        ("States.Format('x', $.a)", "0 `{}` and 1 arguments"),
        ("States.Format($.a)", "a text in single quotes"),
        ("States.Format('{a}', $.a)", "a `{` or `}` alone"),
        ("States.Format('a\\b')", "a `\\` is followed by none of"),
        ("States.Format('x", "a quote is not closed"),
        ("States.Format('{}', $.a[*])", "not a path that is known here"),
        ("States.Format('{}', true)", "`true` is not an argument"),
        ("States.JsonToString()", "is not an argument"),
        ("States.JsonToString($, $)", "too many arguments"),
        ("States.JsonToString($) x", "something follows its end"),
    ] {
        refused(queried(query), "/States/S/Parameters/it.$", message);
    }
    let deep = format!("{}$.a{}", "States.JsonToString(".repeat(11), ")".repeat(11));
    refused(queried(&deep), "/States/S/Parameters/it.$", "nested too deeply");
    let list = pass(json!({ "Parameters": { "list": [{ "a.$": 1 }] } }));
    refused(list, "/States/S/Parameters/list/0/a.$", "a path or intrinsic function");
    let twice = pass(json!({ "Parameters": { "a": 1, "a.$": "$" } }));
    refused(twice, "/States/S/Parameters/a.$", "`a` is given twice");
    refused(pass(json!({ "Parameters": "$" })), "/States/S/Parameters", "it is an object");
}

fn chosen(more: Value) -> Value {
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
        "it needs `Default`",
    );
    let states = json!({ "S": { "Type": "Choice", "Choices": [], "Default": "E" }, "E": end });
    refused(states, "/States/S/Choices", "it is empty");
}

#[test]
fn conditions_that_are_not_known_are_refused() {
    let rule = "/States/S/Choices/0";
    let unknown = json!({ "Variable": "$.a", "StringMatches": "x*" });
    refused(chosen(unknown), "/States/S/Choices/0/StringMatches", "unknown field");
    refused(chosen(json!({ "StringEquals": "x" })), rule, "a comparison needs `Variable`");
    refused(chosen(json!({ "Variable": "$.a" })), rule, "exactly one operator");
    let two = json!({ "Variable": "$.a", "IsNull": true, "IsPresent": true });
    refused(chosen(two), rule, "exactly one operator");
    refused(chosen(json!({ "And": [] })), rule, "need conditions");
    let inner = json!({ "Variable": "$.a", "IsNull": true, "Next": "E" });
    refused(chosen(json!({ "And": [inner] })), "/States/S/Choices/0/And/0", "outermost condition only");
    let typed = json!({ "Variable": "$.a", "BooleanEquals": "true" });
    refused(chosen(typed), "/States/S/Choices/0/BooleanEquals", "invalid type");
    let path = json!({ "Not": { "Variable": "$.a[*]", "IsNull": true } });
    refused(chosen(path), "/States/S/Choices/0/Not/Variable", "not a path that is known here");
}

fn retrying(retrier: Value) -> Value {
    one(task("f", json!({ "Retry": [with(json!({ "ErrorEquals": ["E"] }), retrier)] })))
}

#[test]
fn retries_with_numbers_out_of_range_or_unknown_fields_are_refused() {
    for (retrier, pointer, message) in [
        (json!({ "IntervalSeconds": 0 }), "/States/S/Retry/0", "`IntervalSeconds` is between 1 and"),
        (json!({ "IntervalSeconds": 1.5 }), "/States/S/Retry/0/IntervalSeconds", "invalid type"),
        (json!({ "BackoffRate": 0.5 }), "/States/S/Retry/0", "`BackoffRate` is at least 1.0"),
        (json!({ "MaxAttempts": 100_000_000 }), "/States/S/Retry/0", "`MaxAttempts` is at most"),
        (json!({ "MaxAttempts": -1 }), "/States/S/Retry/0/MaxAttempts", "invalid value"),
        (json!({ "MaxDelaySeconds": 31_622_400 }), "/States/S/Retry/0", "`MaxDelaySeconds` is"),
        (json!({ "IntervalSeconds": 5, "MaxDelaySeconds": 4 }), "/States/S/Retry/0", "`MaxDelaySeconds` is"),
        (json!({ "JitterStrategy": "SOME" }), "/States/S/Retry/0/JitterStrategy", "unknown variant"),
        (json!({ "Jitter": "FULL" }), "/States/S/Retry/0/Jitter", "unknown field"),
        (json!({ "ErrorEquals": [] }), "/States/S/Retry/0", "names no error"),
    ] {
        refused(retrying(retrier), pointer, message);
    }
}

#[test]
fn errors_that_nothing_would_ever_match_are_refused() {
    for (names, message) in [
        (json!(["States.Runtime"]), "never retried or caught"),
        (json!(["States.AlL"]), "not an error that is known here"),
        (json!(["States.ALL", "E"]), "stands alone"),
    ] {
        refused(retrying(json!({ "ErrorEquals": names })), "/States/S/Retry/0", message);
        let catch = json!({ "Catch": [{ "ErrorEquals": names, "Next": "S" }] });
        refused(one(task("f", catch)), "/States/S/Catch/0", message);
    }
    let all = json!({ "ErrorEquals": ["States.ALL"], "Next": "S" });
    let other = json!({ "ErrorEquals": ["E"], "Next": "S" });
    let states = one(task("f", json!({ "Catch": [all, other] })));
    refused(states, "/States/S/Catch/0", "`States.ALL` stands last");
}

#[test]
fn waits_and_timeouts_out_of_range_are_refused() {
    let wait = |more: Value| one(with(json!({ "Type": "Wait" }), more));
    refused(wait(json!({})), "/States/S", "either `Seconds` or `SecondsPath`");
    refused(
        wait(json!({ "Seconds": 1, "SecondsPath": "$.s" })),
        "/States/S",
        "either `Seconds` or `SecondsPath`",
    );
    refused(wait(json!({ "Seconds": 100_000_000 })), "/States/S/Seconds", "between 0 and 99999999");
    let until = json!({ "Seconds": 1, "Timestamp": "2026-01-01T00:00:00Z" });
    refused(wait(until), "/States/S/Timestamp", "may have only");
    refused(
        one(task("f", json!({ "TimeoutSeconds": 0 }))),
        "/States/S/TimeoutSeconds",
        "between 1 and 99999999",
    );
    let machine = with(definition(pass(json!({}))), json!({ "TimeoutSeconds": 0 }));
    assert_eq!(problems(&machine), ["/TimeoutSeconds: it is between 1 and 99999999"]);
}

#[test]
fn a_fail_that_can_not_be_told_from_another_is_refused() {
    refused(json!({ "S": { "Type": "Fail" } }), "/States/S", "needs `Error` or `ErrorPath`");
    let both = json!({ "S": { "Type": "Fail", "Error": "E", "ErrorPath": "$.e" } });
    refused(both, "/States/S", "both `Error` and `ErrorPath`");
    let json = json!({ "S": { "Type": "Fail", "Error": "E", "CausePath": "States.StringToJson($.c)" } });
    refused(json, "/States/S/CausePath", "makes no text");
    let path = json!({ "S": { "Type": "Fail", "Error": "E", "CausePath": "$.*" } });
    refused(path, "/States/S/CausePath", "not a path that is known here");
}

#[test]
fn parallels_and_maps_that_are_not_known_are_refused() {
    refused(one(json!({ "Type": "Parallel", "Branches": [] })), "/States/S/Branches", "it is empty");
    refused(one(json!({ "Type": "Parallel" })), "/States/S", "it needs `Branches`");
    refused(one(json!({ "Type": "Map" })), "/States/S", "it needs `ItemProcessor`");
    let chain = definition(json!({ "I": { "Type": "Succeed" } }));
    let map = |more: Value, chain: &Value| one(with(json!({ "Type": "Map", "ItemProcessor": chain }), more));
    refused(map(json!({ "MaxConcurrency": 41 }), &chain), "/States/S/MaxConcurrency", "at most 40");
    let distributed = with(chain.clone(), json!({ "ProcessorConfig": { "Mode": "DISTRIBUTED" } }));
    let place = "/States/S/ItemProcessor/ProcessorConfig/Mode";
    refused(map(json!({}), &distributed), place, "unknown variant `DISTRIBUTED`");
    let inline = with(chain, json!({ "ProcessorConfig": { "Mode": "INLINE" } }));
    load(&definition(map(json!({}), &inline))).unwrap();
    let parallel = one(json!({ "Type": "Parallel", "Branches": [inline] }));
    refused(parallel, "/States/S/Branches/0/ProcessorConfig", "a branch may have only");
}
