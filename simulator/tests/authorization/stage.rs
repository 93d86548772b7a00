//! A role with a policy, and IAM's decisions on the calls of that role.

use std::fmt::Debug;

use aws_sdk_iam::error::ProvideErrorMetadata;
use serde_json::{Value, json};
use stackdrop_simulator::{Account, Caller, PolicySeed, as_caller};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/stackdrop/functions/caller";

/// Creates a role with these statements, and keeps the account's decisions.
pub(crate) fn give_role(account: &Account, arn: &str, statements: &Value) {
    let trust = |service: &str| {
        json!({ "Statement": {
            "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole",
        } })
    };
    let role = PolicySeed::Role {
        arn: arn.into(),
        trust: trust("ecs-tasks.amazonaws.com"),
        policies: vec![("calls".into(), json!({ "Version": "2012-10-17", "Statement": statements }))],
        attached: Vec::new(),
        boundary: None,
    };
    account.seed_policy(&role).unwrap();
    account.keep_decisions();
}

pub(crate) fn allow(actions: &[&str], resources: &[&str]) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resources })
}

/// A statement that allows everything.
pub(crate) fn everything() -> Value {
    allow(&["*"], &["*"])
}

/// A statement that allows everything but these actions.
pub(crate) fn everything_but(actions: &[&str]) -> Value {
    json!({ "Effect": "Allow", "NotAction": actions, "Resource": "*" })
}

/// Makes a call as the role.
pub(crate) async fn acting<T>(call: impl Future<Output = T>) -> T {
    as_caller(Caller::new("test").acting_as(ROLE, "session"), call).await
}

/// Every decision so far as `ACTION RESOURCE`, without the start of the ARN.
pub(crate) fn asked(account: &Account) -> Vec<String> {
    let decisions = account.decisions();
    decisions
        .iter()
        .map(|decision| {
            let request = &decision.request;
            let resource = request.resource.splitn(6, ':').last().unwrap();
            format!("{} {resource}", request.action)
        })
        .collect()
}

/// The value of a condition key in the first request for an action.
pub(crate) fn key(account: &Account, action: &str, key: &str) -> Value {
    let decisions = account.decisions();
    let decision = decisions.iter().find(|decision| decision.request.action == action).unwrap();
    serde_json::to_value(&decision.request.keys).unwrap()[key].clone()
}

pub(crate) fn assert_denied<T: Debug, E: ProvideErrorMetadata>(
    answer: Result<T, E>,
    code: &str,
    message: &str,
) {
    let error = match answer {
        Ok(answer) => panic!("it was not refused: {answer:?}"),
        Err(error) => error,
    };
    let text = error.message().unwrap_or_default();
    assert_eq!(error.code(), Some(code), "{text}");
    assert!(text.contains(message), "{text:?} does not contain {message:?}");
}
