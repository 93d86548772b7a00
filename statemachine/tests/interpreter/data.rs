//! How data flows through a state: paths, templates, intrinsic functions, the context object.

use serde_json::{Value, json};

use crate::support::{Answer, Script, failed, output, run, succeeded, task};

fn pass(more: Value) -> Value {
    json!({ "P": crate::support::with(json!({ "Type": "Pass", "End": true }), more) })
}

/// The value that a `.$` field with this text gets.
async fn evaluated(query: &str, input: Value) -> Value {
    output(pass(json!({ "Parameters": { "it.$": query } })), input).await["it"].take()
}

async fn error_of(states: Value, input: Value) -> String {
    failed(run(states, input, &Script::new()).await).error
}

#[tokio::test(start_paused = true)]
async fn a_pass_hands_its_input_on() {
    assert_eq!(output(pass(json!({})), json!({ "a": 1 })).await, json!({ "a": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_pass_puts_its_result_where_result_path_says_and_keeps_the_rest_in_order() {
    let states = pass(json!({ "Result": [1], "ResultPath": "$.new.deep" }));
    let text = output(states, json!({ "z": 1, "a": 2 })).await.to_string();
    assert_eq!(text, r#"{"z":1,"a":2,"new":{"deep":[1]}}"#);
}

#[tokio::test(start_paused = true)]
async fn a_null_result_is_a_result() {
    assert_eq!(output(pass(json!({ "Result": null })), json!({ "a": 1 })).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn result_path_null_drops_the_result() {
    let states = pass(json!({ "Result": "lost", "ResultPath": null }));
    assert_eq!(output(states, json!({ "a": 1 })).await, json!({ "a": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_has_no_object_to_go_into_is_a_match_failure() {
    let states = pass(json!({ "Result": 1, "ResultPath": "$.a.b" }));
    assert_eq!(error_of(states, json!({ "a": "text" })).await, "States.ResultPathMatchFailure");
}

#[tokio::test(start_paused = true)]
async fn input_path_narrows_what_a_state_sees_but_not_what_its_result_is_added_to() {
    let states = pass(json!({ "InputPath": "$.in", "ResultPath": "$.out" }));
    assert_eq!(output(states, json!({ "in": 1 })).await, json!({ "in": 1, "out": 1 }));
}

#[tokio::test(start_paused = true)]
async fn input_path_and_output_path_null_are_the_empty_object() {
    assert_eq!(output(pass(json!({ "InputPath": null })), json!({ "a": 1 })).await, json!({}));
    assert_eq!(output(pass(json!({ "OutputPath": null })), json!({ "a": 1 })).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn output_path_selects_from_what_the_result_was_added_to() {
    let states = pass(json!({ "Result": 7, "ResultPath": "$.b", "OutputPath": "$.b" }));
    assert_eq!(output(states, json!({ "a": 1 })).await, json!(7));
}

#[tokio::test(start_paused = true)]
async fn paths_select_by_name_quoted_name_and_index() {
    let input = json!({ "a": [{ "load-balancer": "x" }], "é": 1 });
    assert_eq!(evaluated("$.a[0]['load-balancer']", input.clone()).await, "x");
    assert_eq!(evaluated("$['a'][0][\"load-balancer\"]", input.clone()).await, "x");
    assert_eq!(evaluated("$.é", input).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_selects_nothing_ends_the_execution_and_names_state_and_path() {
    let states = pass(json!({ "Parameters": { "a": { "b.$": "$.none" } } }));
    let failure = failed(run(states, json!({}), &Script::new()).await);
    assert_eq!(failure.error, "States.Runtime");
    assert_eq!(
        failure.cause,
        "An error occurred while executing the state 'P' (entered at the event id #2). \
         The JSONPath '$.none' could not be found in the input '{}'"
    );
    assert_eq!(error_of(pass(json!({ "InputPath": "$.none" })), json!({})).await, "States.Runtime");
    assert_eq!(error_of(pass(json!({ "OutputPath": "$.none" })), json!({})).await, "States.Runtime");
}

#[tokio::test(start_paused = true)]
async fn a_null_is_a_value_that_a_path_selects() {
    assert_eq!(evaluated("$.a", json!({ "a": null })).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn templates_keep_literals_and_reach_into_arrays_and_objects() {
    let parameters = json!({ "a": "$.x", "list": [1, { "b.$": "$.x" }], "deep": { "c.$": "$" } });
    let result = output(pass(json!({ "Parameters": parameters })), json!({ "x": 5 })).await;
    assert_eq!(result, json!({ "a": "$.x", "list": [1, { "b": 5 }], "deep": { "c": { "x": 5 } } }));
}

#[tokio::test(start_paused = true)]
async fn format_fills_its_places() {
    let input = json!({ "name": "shop", "count": 2, "yes": true, "nothing": null });
    let query = r"States.Format('{}: it\'s {} \{{}\} {} {}', $.name, $.count, $.yes, $.nothing, -1.5)";
    assert_eq!(evaluated(query, input).await, "shop: it's 2 {true} null -1.5");
}

#[tokio::test(start_paused = true)]
async fn format_refuses_an_object_when_it_runs() {
    let states = pass(json!({ "Parameters": { "it.$": "States.Format('{}', $)" } }));
    assert_eq!(error_of(states, json!({})).await, "States.IntrinsicFailure");
}

#[tokio::test(start_paused = true)]
async fn json_becomes_text_and_text_json() {
    let input = json!({ "z": 1, "a": [null] });
    assert_eq!(evaluated("States.JsonToString($)", input.clone()).await, r#"{"z":1,"a":[null]}"#);
    assert_eq!(evaluated("States.StringToJson( States.JsonToString($) )", input.clone()).await, input);
    assert_eq!(evaluated("States.StringToJson('[1]')", json!({})).await, json!([1]));
}

#[tokio::test(start_paused = true)]
async fn text_that_is_no_json_is_an_intrinsic_failure() {
    for input in [json!("{"), json!(7)] {
        let states = pass(json!({ "Parameters": { "it.$": "States.StringToJson($)" } }));
        assert_eq!(error_of(states, input).await, "States.IntrinsicFailure");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quoted_name_in_an_argument_may_have_a_comma_and_a_bracket() {
    assert_eq!(evaluated("States.Format('{}', $['a, (b)'])", json!({ "a, (b)": "x" })).await, "x");
}

#[tokio::test(start_paused = true)]
async fn the_context_object_tells_of_the_execution_and_the_state() {
    let states = json!({
        "Before": { "Type": "Wait", "Seconds": 90, "Next": "Now" },
        "Now": { "Type": "Pass", "Parameters": { "it.$": "$$" }, "End": true },
    });
    let context = output(states, json!({ "x": 1 })).await["it"].take();
    assert_eq!(
        context,
        json!({
            "Execution": {
                "Id": "arn:aws:states:us-east-1:000000000000:execution:deploy:first",
                "Input": { "x": 1 },
                "Name": "first",
                "StartTime": "2026-01-01T00:00:00.000Z",
            },
            "State": { "EnteredTime": "2026-01-01T00:01:30.000Z", "Name": "Now", "RetryCount": 0 },
            "StateMachine": {
                "Id": "arn:aws:states:us-east-1:000000000000:stateMachine:deploy",
                "Name": "deploy",
            },
        })
    );
    assert_eq!(evaluated("$$.Execution.Input.x", json!({ "x": 1 })).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_gets_its_payload_and_its_answer_is_wrapped_as_lambda_invoke_does() {
    let parameters =
        json!({ "FunctionName": "network", "Payload": { "action": "ensure", "spec.$": "$.spec" } });
    let states = json!({ "T": task("network", json!({ "Parameters": parameters, "End": true })) });
    let script = Script::new().function("network", &[Answer::Returns(json!({ "vpc": "v" }))]);
    let result = succeeded(run(states, json!({ "spec": [1] }), &script).await);
    assert_eq!(script.calls()[0].payload, json!({ "action": "ensure", "spec": [1] }));
    assert_eq!(result["Payload"], json!({ "vpc": "v" }));
    assert_eq!(result["StatusCode"], 200);
    assert_eq!(result["ExecutedVersion"], "$LATEST");
}

#[tokio::test(start_paused = true)]
async fn result_selector_picks_from_the_answer_and_result_path_adds_it() {
    let more = json!({
        "ResultSelector": { "id.$": "$.Payload.vpc", "by.$": "$$.State.Name" },
        "ResultPath": "$.outputs['network']",
        "End": true,
    });
    let script = Script::new().function("network", &[Answer::Returns(json!({ "vpc": "v" }))]);
    let result = succeeded(run(json!({ "T": task("network", more) }), json!({ "spec": 1 }), &script).await);
    assert_eq!(result, json!({ "spec": 1, "outputs": { "network": { "id": "v", "by": "T" } } }));
}

#[tokio::test(start_paused = true)]
async fn a_wait_waits_so_many_seconds_and_changes_nothing() {
    let states = json!({
        "Fixed": { "Type": "Wait", "Seconds": 10, "Next": "Selected" },
        "Selected": { "Type": "Wait", "SecondsPath": "$.seconds", "End": true },
    });
    let outcome = run(states, json!({ "seconds": 5 }), &Script::new()).await;
    assert!((outcome.seconds - 15.0).abs() < 0.01, "{}", outcome.seconds);
    assert_eq!(succeeded(outcome), json!({ "seconds": 5 }));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_what_is_no_number_of_seconds_ends_the_execution() {
    for seconds in [json!("5"), json!(-1), json!(100_000_000), json!(null)] {
        let states = json!({ "W": { "Type": "Wait", "SecondsPath": "$", "End": true } });
        assert_eq!(error_of(states, seconds).await, "States.Runtime");
    }
}

#[tokio::test(start_paused = true)]
async fn succeed_ends_with_what_its_paths_select() {
    let states = json!({ "S": { "Type": "Succeed", "InputPath": "$.a", "OutputPath": "$.b" } });
    assert_eq!(output(states, json!({ "a": { "b": 3 } })).await, 3);
}

#[tokio::test(start_paused = true)]
async fn fail_ends_with_its_error_and_cause_fixed_or_selected() {
    let fixed = json!({ "F": { "Type": "Fail", "Error": "Refused", "Cause": "why" } });
    let failure = failed(run(fixed, json!({}), &Script::new()).await);
    assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("Refused", "why"));

    let selected =
        json!({ "F": { "Type": "Fail", "ErrorPath": "$.e", "CausePath": "States.Format('{}!', $.c)" } });
    let failure = failed(run(selected, json!({ "e": "Pending", "c": "the NAT" }), &Script::new()).await);
    assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("Pending", "the NAT!"));

    let number = json!({ "F": { "Type": "Fail", "ErrorPath": "$.e" } });
    assert_eq!(error_of(number, json!({ "e": 1 })).await, "States.Runtime");
}
