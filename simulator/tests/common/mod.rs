//! What the tests of every service need: an account, and an unmodified SDK that uses it.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fmt::Debug;

use aws_config::{SdkConfig, retry::RetryConfig};
use serde_json::{Value, json};
use stackdrop_simulator::{Account, Caller, Options, PolicySeed, as_caller};

/// An empty account with the model's medians.
pub(crate) fn account() -> Account {
    Account::open(&Options::default()).unwrap()
}

/// The configuration of an SDK that uses the account. It makes no retries, so that tests see refusals.
pub(crate) fn sdk(account: &Account) -> SdkConfig {
    account.sdk_config("eu-central-1", RetryConfig::disabled())
}

/// The role for tests of permissions.
const ROLE: &str = "arn:aws:iam::123456789012:role/tests/deployer";

/// Gives the role its only statements, and keeps IAM's decisions.
pub(crate) fn allow(account: &Account, statements: &Value) {
    let trust = json!({ "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" });
    let document = |statements: &Value| json!({ "Version": "2012-10-17", "Statement": statements });
    let role = PolicySeed::Role {
        arn: ROLE.into(),
        trust: document(&trust),
        policies: vec![("calls".into(), document(statements))],
        attached: Vec::new(),
        boundary: None,
    };
    account.seed_policy(&role).unwrap();
    account.keep_decisions();
}

/// Makes calls with the role's permissions.
pub(crate) async fn acting<T>(work: impl Future<Output = T>) -> T {
    as_caller(Caller::new("test").acting_as(ROLE, "test"), Box::pin(work)).await
}

/// The access requests of a call that must succeed: actions and resource types.
pub(crate) async fn asked<T, E: Debug>(
    account: &Account,
    call: impl Future<Output = Result<T, E>>,
) -> Vec<String> {
    let before = account.decisions().len();
    acting(call).await.unwrap();
    let decisions = account.decisions().split_off(before);
    let shown = decisions.iter().map(|one| format!("{} {}", one.request.action, one.request.kind));
    let mut shown: Vec<String> = shown.map(|one| one.trim_end().to_owned()).collect();
    shown.sort();
    shown
}
