//! The data flow through a state: paths, templates, the context object.

use serde_json::{Value, json};

use crate::support::{Answer, Script, failed, output, run, succeeded, task};

fn pass(more: Value) -> Value {
    json!({ "P": crate::support::with(json!({ "Type": "Pass", "End": true }), more) })
}

/// The value of a `.$` field with this path.
async fn evaluated(path: &str, input: Value) -> Value {
    output(pass(json!({ "Parameters": { "it.$": path } })), input).await["it"].take()
}

async fn error_of(states: Value, input: Value) -> String {
    failed(run(states, input, &Script::new()).await).error
}

#[tokio::test(start_paused = true)]
async fn a_pass_passes_its_input() {
    assert_eq!(output(pass(json!({})), json!({ "a": 1 })).await, json!({ "a": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_result_is_inserted_at_its_result_path_and_the_rest_keeps_its_order() {
    let states = pass(json!({ "Parameters": { "x": 1 }, "ResultPath": "$.new.deep" }));
    let text = output(states, json!({ "z": 1, "a": 2 })).await.to_string();
    assert_eq!(text, r#"{"z":1,"a":2,"new":{"deep":{"x":1}}}"#);
}

#[tokio::test(start_paused = true)]
async fn result_path_null_discards_the_result() {
    let states = pass(json!({ "Parameters": { "x": 1 }, "ResultPath": null }));
    assert_eq!(output(states, json!({ "a": 1 })).await, json!({ "a": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_result_path_inside_a_text_is_a_match_failure() {
    let states = pass(json!({ "ResultPath": "$.a.b" }));
    assert_eq!(error_of(states, json!({ "a": "text" })).await, "States.ResultPathMatchFailure");
}

#[tokio::test(start_paused = true)]
async fn output_path_selects_from_the_input_with_the_result() {
    let states = pass(json!({ "Parameters": { "x": 7 }, "ResultPath": "$.b", "OutputPath": "$.b.x" }));
    assert_eq!(output(states, json!({ "a": 1 })).await, json!(7));
}

#[tokio::test(start_paused = true)]
async fn a_path_that_selects_nothing_ends_the_execution_with_the_state_and_the_path() {
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
async fn templates_keep_literals_and_replace_fields_inside_arrays_and_objects() {
    let parameters = json!({ "a": "$.x", "list": [1, { "b.$": "$.x" }], "deep": { "c.$": "$" } });
    let result = output(pass(json!({ "Parameters": parameters })), json!({ "x": 5 })).await;
    assert_eq!(result, json!({ "a": "$.x", "list": [1, { "b": 5 }], "deep": { "c": { "x": 5 } } }));
}

#[tokio::test(start_paused = true)]
async fn a_task_sends_its_payload_and_wraps_the_result_as_lambda_invoke_does() {
    let parameters =
        json!({ "FunctionName": "network", "Payload": { "action": "apply", "spec.$": "$.spec" } });
    let states = json!({ "T": task("network", json!({ "Parameters": parameters, "End": true })) });
    let script = Script::new().function("network", &[Answer::Returns(json!({ "vpc": "v" }))]);
    let result = succeeded(run(states, json!({ "spec": [1] }), &script).await);
    assert_eq!(script.calls()[0].payload, json!({ "action": "apply", "spec": [1] }));
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
async fn result_selector_selects_from_the_result_and_result_path_inserts_it() {
    let more = json!({
        "ResultSelector": { "id.$": "$.Payload.vpc", "by.$": "$$.Execution.Name" },
        "ResultPath": "$.outputs.network",
        "End": true,
    });
    let script = Script::new().function("network", &[Answer::Returns(json!({ "vpc": "v" }))]);
    let result = succeeded(run(json!({ "T": task("network", more) }), json!({ "spec": 1 }), &script).await);
    assert_eq!(result, json!({ "spec": 1, "outputs": { "network": { "id": "v", "by": "first" } } }));
}

#[tokio::test(start_paused = true)]
async fn paths_select_by_name_and_index() {
    assert_eq!(evaluated("$.a[1].b_2", json!({ "a": [0, { "b_2": "x" }] })).await, "x");
    assert_eq!(evaluated("$.é", json!({ "é": 1 })).await, 1);
    assert_eq!(evaluated("$.a", json!({ "a": null })).await, Value::Null);
    assert_eq!(evaluated("$", json!([7])).await, json!([7]));
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_workflow_itself_have_awss_messages() {
    let fail = |field: &str| json!({ "P": { "Type": "Fail", "Error": "E", field: "$.no" } });
    let fail_error = json!({ "P": { "Type": "Fail", "ErrorPath": "$.no" } });
    let rule = json!({ "Variable": "$.no", "IsNull": true, "Next": "E" });
    let choice =
        json!({ "P": { "Type": "Choice", "Choices": [rule], "Default": "E" }, "E": { "Type": "Succeed" } });
    for (states, message) in [
        (pass(json!({ "OutputPath": "$.a[0]" })), "Invalid path '$.a[0]' : No results for path: $['a'][0]"),
        (choice, "Invalid path '$.no': The choice state's condition path references an invalid value."),
        (
            fail("CausePath"),
            "The JSONPath '$.no' specified for the field 'CausePath' could not be found in the input '{}'",
        ),
        (
            fail_error,
            "The JSONPath '$.no' specified for the field 'ErrorPath' could not be found in the input '{}'",
        ),
    ] {
        let failure = failed(run(states, json!({}), &Script::new()).await);
        assert_eq!(failure.error, "States.Runtime");
        let prefix = "An error occurred while executing the state 'P' (entered at the event id #2). ";
        assert_eq!(failure.cause, format!("{prefix}{message}"));
    }
}

#[tokio::test(start_paused = true)]
async fn data_passes_parameters_result_selector_result_path_and_output_path_in_this_order() {
    let parameters = json!({ "FunctionName": "f", "Payload": { "sent.$": "$.in.a" } });
    let states = json!({ "T": task("f", json!({
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
async fn the_context_object_has_the_executions_id_and_name() {
    assert_eq!(
        evaluated("$$.Execution.Id", json!({})).await,
        "arn:aws:states:us-east-1:000000000000:execution:deploy:first"
    );
    assert_eq!(evaluated("$$.Execution.Name", json!({})).await, "first");
}

#[tokio::test(start_paused = true)]
async fn fail_ends_with_its_fixed_or_selected_error_and_cause() {
    let fixed = json!({ "F": { "Type": "Fail", "Error": "Refused", "Cause": "why" } });
    let failure = failed(run(fixed, json!({}), &Script::new()).await);
    assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("Refused", "why"));

    let selected = json!({ "F": { "Type": "Fail", "ErrorPath": "$.e", "CausePath": "$.c" } });
    let failure = failed(run(selected, json!({ "e": "Pending", "c": "the NAT" }), &Script::new()).await);
    assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("Pending", "the NAT"));

    let number = json!({ "F": { "Type": "Fail", "ErrorPath": "$.e" } });
    assert_eq!(error_of(number, json!({ "e": 1 })).await, "States.Runtime");
}
