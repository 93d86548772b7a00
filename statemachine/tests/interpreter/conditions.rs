//! Choice states.

use serde_json::{Value, json};

use crate::support::{Script, failed, output, run, with};

fn choice(test: Value) -> Value {
    json!({
        "C": { "Type": "Choice", "Choices": [with(test, json!({ "Next": "Yes" }))], "Default": "No" },
        "Yes": { "Type": "Pass", "Parameters": { "holds": true }, "End": true },
        "No": { "Type": "Pass", "Parameters": { "holds": false }, "End": true },
    })
}

async fn holds(test: Value, input: Value) -> bool {
    output(choice(test), input).await["holds"] == json!(true)
}

fn compare(operator: &str, operand: Value) -> Value {
    let mut test = json!({ "Variable": "$.a" });
    test[operator] = operand;
    test
}

#[tokio::test(start_paused = true)]
async fn comparisons_hold_for_equal_values_of_the_same_type() {
    for (operator, operand, equal, others) in [
        ("StringEquals", json!("x"), json!("x"), vec![json!("y"), json!(1), json!(null)]),
        ("BooleanEquals", json!(false), json!(false), vec![json!(true), json!("false"), json!(0)]),
        ("IsNull", json!(true), json!(null), vec![json!(0), json!("")]),
        ("IsNull", json!(false), json!(0), vec![json!(null)]),
    ] {
        assert!(holds(compare(operator, operand.clone()), json!({ "a": equal })).await, "{operator}");
        for other in others {
            assert!(
                !holds(compare(operator, operand.clone()), json!({ "a": other })).await,
                "{operator} {other}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn is_present_tests_the_field_and_not_its_value() {
    assert!(holds(compare("IsPresent", json!(true)), json!({ "a": null })).await);
    assert!(!holds(compare("IsPresent", json!(true)), json!({})).await);
    assert!(holds(compare("IsPresent", json!(false)), json!({})).await);
}

#[tokio::test(start_paused = true)]
async fn a_missing_variable_ends_the_execution() {
    let failure = failed(run(choice(compare("StringEquals", json!("x"))), json!({}), &Script::new()).await);
    assert_eq!(failure.error, "States.Runtime");
    assert!(failure.cause.contains("Invalid path '$.a'"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn is_present_guards_the_conditions_after_it() {
    let test = json!({ "And": [compare("IsPresent", json!(true)), compare("StringEquals", json!("x"))] });
    assert!(!holds(test.clone(), json!({})).await);
    assert!(!holds(test.clone(), json!({ "a": "y" })).await);
    assert!(holds(test, json!({ "a": "x" })).await);
}

#[tokio::test(start_paused = true)]
async fn or_holds_if_any_condition_holds_and_not_negates() {
    let or = json!({ "Or": [compare("StringEquals", json!("x")), compare("StringEquals", json!("y"))] });
    assert!(holds(or.clone(), json!({ "a": "y" })).await);
    assert!(!holds(or.clone(), json!({ "a": "z" })).await);
    assert!(holds(json!({ "Not": or }), json!({ "a": "z" })).await);
}

#[tokio::test(start_paused = true)]
async fn string_equals_path_compares_two_variables_of_the_same_type() {
    let test = json!({ "Variable": "$.a", "StringEqualsPath": "$.b" });
    for (a, b, expected) in [("x", json!("x"), true), ("x", json!("y"), false), ("1", json!(1), false)] {
        assert_eq!(holds(test.clone(), json!({ "a": a, "b": b })).await, expected, "{a} {b}");
    }
    assert!(!holds(test, json!({ "a": 1, "b": 1 })).await);
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_holds_decides() {
    let rule =
        |variable: &str, next: &str| json!({ "Variable": variable, "BooleanEquals": true, "Next": next });
    let end = |size: &str| json!({ "Type": "Pass", "Parameters": { "size": size }, "End": true });
    let rules = [rule("$.large", "Large"), rule("$.medium", "Medium")];
    let states = json!({
        "C": { "Type": "Choice", "Choices": rules, "Default": "Small" },
        "Large": end("large"), "Medium": end("medium"), "Small": end("small"),
    });
    for (large, medium, expected) in
        [(true, true, "large"), (true, false, "large"), (false, true, "medium"), (false, false, "small")]
    {
        let input = json!({ "large": large, "medium": medium });
        assert_eq!(output(states.clone(), input).await, json!({ "size": expected }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_variable_can_be_a_field_of_the_context_object() {
    let test = json!({ "Variable": "$$.Execution.Name", "StringEquals": "first" });
    assert!(holds(test, json!({})).await);
}

#[tokio::test(start_paused = true)]
async fn a_variable_can_be_a_part_of_the_executions_input_that_the_state_no_longer_has() {
    let rule = json!({ "Variable": "$$.Execution.Input.action", "StringEquals": "plan" });
    assert!(holds(rule.clone(), json!({ "action": "plan" })).await);
    assert!(!holds(rule, json!({ "action": "deploy" })).await);
    let is_present = json!({ "Variable": "$$.Execution.Input.a[1].b", "IsPresent": true });
    assert!(holds(is_present.clone(), json!({ "a": [0, { "b": 1 }] })).await);
    assert!(!holds(is_present, json!({ "a": [0] })).await);
}

#[tokio::test(start_paused = true)]
async fn a_star_in_a_pattern_stands_for_any_characters() {
    let matches = |pattern: &str| json!({ "Variable": "$.a", "StringMatches": pattern });
    for (pattern, text) in
        [("plans/*", "plans/shop.yaml"), ("plans/*", "plans/"), ("a*b*c", "aXbYc"), ("*", "")]
    {
        assert!(holds(matches(pattern), json!({ "a": text })).await, "{pattern} {text}");
    }
    for (pattern, text) in [("plans/*", "specs/plans/x"), ("a*b", "abc"), ("a", "ab")] {
        assert!(!holds(matches(pattern), json!({ "a": text })).await, "{pattern} {text}");
    }
    assert!(!holds(matches("*"), json!({ "a": 1 })).await, "a number is no text");
}
