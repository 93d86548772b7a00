//! What a call asks IAM for.

use crate::authorization::Asks;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(_: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    let arn = |key: &str| params.text(key).unwrap_or_default();
    match operation {
        "StartExecution" | "ListExecutions" => asks.on("statemachine", arn("stateMachineArn"), None),
        "DescribeExecution" | "GetExecutionHistory" | "StopExecution" => {
            asks.on("execution", arn("executionArn"), None)
        }
        // A token says for itself whose task it is.
        _ => asks.whole(),
    };
}
