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
         The JSONPath '$.none' specified for the field 'b.$' could not be found in the input '{}'"
    );
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_in_a_state_itself_is_told_in_awss_words() {
    let wait = json!({ "P": { "Type": "Wait", "SecondsPath": "$.s", "End": true } });
    let fail = |field: &str| json!({ "P": { "Type": "Fail", "Error": "E", field: "$.no" } });
    let fail_error = json!({ "P": { "Type": "Fail", "ErrorPath": "$.no" } });
    let each = json!({ "StartAt": "E", "States": { "E": { "Type": "Succeed" } } });
    let map = json!({ "P": { "Type": "Map", "ItemsPath": "$.s", "ItemProcessor": each, "End": true } });
    let rule = json!({ "Variable": "$.no", "IsNull": true, "Next": "E" });
    let choice =
        json!({ "P": { "Type": "Choice", "Choices": [rule], "Default": "E" }, "E": { "Type": "Succeed" } });
    let seconds = |seconds: Value| json!({ "s": seconds });
    for (states, input, message) in [
        (
            pass(json!({ "InputPath": "$.a.b" })),
            json!({}),
            "Invalid path '$.a.b' : No results for path: $['a']['b']",
        ),
        (
            pass(json!({ "OutputPath": "$.a[0]" })),
            json!({}),
            "Invalid path '$.a[0]' : No results for path: $['a'][0]",
        ),
        (wait.clone(), json!({}), "The SecondsPath parameter does not reference an input value: $.s"),
        (
            wait.clone(),
            seconds(json!(-1)),
            "The SecondsPath parameter references a negative value: $.s == -1",
        ),
        (
            wait.clone(),
            seconds(json!(1.5)),
            "The SecondsPath parameter cannot be parsed as a long value: $.s == 1.5",
        ),
        (wait, seconds(json!(100_000_000)), "Wait state delay is too long."),
        (map, seconds(json!("x")), "Map state input must be an array but was: \"x\""),
        (
            choice,
            json!({}),
            "Invalid path '$.no': The choice state's condition path references an invalid value.",
        ),
        (
            fail("CausePath"),
            json!({}),
            "The JSONPath '$.no' specified for the field 'CausePath' could not be found in the input '{}'",
        ),
        (
            fail_error,
            json!({}),
            "The JSONPath '$.no' specified for the field 'ErrorPath' could not be found in the input '{}'",
        ),
    ] {
        let failure = failed(run(states, input, &Script::new()).await);
        assert_eq!(failure.error, "States.Runtime");
        let prefix = "An error occurred while executing the state 'P' (entered at the event id #2). ";
        assert_eq!(failure.cause, format!("{prefix}{message}"));
    }
}

#[tokio::test(start_paused = true)]
async fn data_goes_through_input_path_parameters_result_selector_result_path_and_output_path() {
    let parameters = json!({ "FunctionName": "f", "Payload": { "sent.$": "$.a" } });
    let states = json!({ "T": task("f", json!({
        "InputPath": "$.in",
        "Parameters": parameters,
        "ResultSelector": { "got.$": "$.Payload.b" },
        "ResultPath": "$.in.out",
        "OutputPath": "$.in",
        "End": true,
    })) });
    let script = Script::new().function("f", &[Answer::Returns(json!({ "b": 2, "c": 3 }))]);
    let result = succeeded(run(states, json!({ "in": { "a": 1 }, "beside": 0 }), &script).await);
    assert_eq!(script.calls()[0].payload, json!({ "sent": 1 }));
    assert_eq!(result, json!({ "a": 1, "out": { "got": 2 } }));
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
    let id = "00000000-0000-4000-8000-000000000004";
    let trace = "root=1-00000000-000000000000000000000004;parent=0000000000000004;sampled=0";
    assert_eq!(
        result,
        json!({
            "ExecutedVersion": "$LATEST",
            "Payload": { "vpc": "v" },
            "SdkHttpMetadata": {
                "AllHttpHeaders": {
                    "Connection": ["keep-alive"],
                    "Content-Length": ["11"],
                    "Content-Type": ["application/json"],
                    "Date": ["Thu, 01 Jan 2026 00:00:00 GMT"],
                    "X-Amz-Executed-Version": ["$LATEST"],
                    "X-Amzn-Trace-Id": [trace],
                    "x-amzn-Remapped-Content-Length": ["0"],
                    "x-amzn-RequestId": [id],
                },
                "HttpHeaders": {
                    "Connection": "keep-alive",
                    "Content-Length": "11",
                    "Content-Type": "application/json",
                    "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
                    "X-Amz-Executed-Version": "$LATEST",
                    "X-Amzn-Trace-Id": trace,
                    "x-amzn-Remapped-Content-Length": "0",
                    "x-amzn-RequestId": id,
                },
                "HttpStatusCode": 200,
            },
            "SdkResponseMetadata": { "RequestId": id },
            "StatusCode": 200,
        })
    );
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
