//! Choice states.

use serde_json::{Value, json};

use crate::support::{Script, failed, output, run, with};

fn choice(test: Value) -> Value {
    json!({
        "C": { "Type": "Choice", "Choices": [with(test, json!({ "Next": "Yes" }))], "Default": "No" },
        "Yes": { "Type": "Pass", "Result": true, "End": true },
        "No": { "Type": "Pass", "Result": false, "End": true },
    })
}

async fn holds(test: Value, input: Value) -> bool {
    output(choice(test), input).await == json!(true)
}

fn compare(operator: &str, operand: Value) -> Value {
    let mut test = json!({ "Variable": "$.a" });
    test[operator] = operand;
    test
}

#[tokio::test(start_paused = true)]
async fn comparisons_hold_for_what_is_equal_and_of_the_same_type() {
    for (operator, operand, equal, others) in [
        ("StringEquals", json!("x"), json!("x"), vec![json!("y"), json!(1), json!(null)]),
        ("BooleanEquals", json!(false), json!(false), vec![json!(true), json!("false"), json!(0)]),
        ("NumericEquals", json!(2), json!(2.0), vec![json!(1), json!("2"), json!(null)]),
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
async fn numbers_are_ordered() {
    for (operator, expected) in [
        ("NumericLessThan", [true, false, false]),
        ("NumericLessThanEquals", [true, true, false]),
        ("NumericGreaterThan", [false, false, true]),
        ("NumericGreaterThanEquals", [false, true, true]),
    ] {
        for (number, expected) in [4, 5, 6].into_iter().zip(expected) {
            let result = holds(compare(operator, json!(5)), json!({ "a": number })).await;
            assert_eq!(result, expected, "{number} {operator} 5");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn is_present_asks_for_the_field_not_for_its_value() {
    assert!(holds(compare("IsPresent", json!(true)), json!({ "a": null })).await);
    assert!(!holds(compare("IsPresent", json!(true)), json!({})).await);
    assert!(holds(compare("IsPresent", json!(false)), json!({})).await);
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_is_not_there_ends_the_execution() {
    let failure = failed(run(choice(compare("StringEquals", json!("x"))), json!({}), &Script::new()).await);
    assert_eq!(failure.error, "States.Runtime");
    assert!(failure.cause.contains("Invalid path '$.a'"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn is_present_guards_what_comes_after_it() {
    let test = json!({ "And": [compare("IsPresent", json!(true)), compare("StringEquals", json!("x"))] });
    assert!(!holds(test.clone(), json!({})).await);
    assert!(!holds(test.clone(), json!({ "a": "y" })).await);
    assert!(holds(test, json!({ "a": "x" })).await);
}

#[tokio::test(start_paused = true)]
async fn or_needs_one_and_not_turns_round() {
    let or = json!({ "Or": [compare("StringEquals", json!("x")), compare("StringEquals", json!("y"))] });
    assert!(holds(or.clone(), json!({ "a": "y" })).await);
    assert!(!holds(or.clone(), json!({ "a": "z" })).await);
    assert!(holds(json!({ "Not": or }), json!({ "a": "z" })).await);
}

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_holds_decides() {
    let rule =
        |number: i32, next: &str| json!({ "Variable": "$", "NumericGreaterThan": number, "Next": next });
    let end = |result: &str| json!({ "Type": "Pass", "Result": result, "End": true });
    let states = json!({
        "C": { "Type": "Choice", "Choices": [rule(10, "Large"), rule(5, "Medium")], "Default": "Small" },
        "Large": end("large"), "Medium": end("medium"), "Small": end("small"),
    });
    for (number, expected) in [(11, "large"), (10, "medium"), (5, "small")] {
        assert_eq!(output(states.clone(), json!(number)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_choice_can_look_at_the_context() {
    let test = json!({ "Variable": "$$.Execution.Name", "StringEquals": "first" });
    assert!(holds(test, json!({})).await);
}
