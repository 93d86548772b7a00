//! The permissions that a call needs.

use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(_: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let arn = |key: &str| params.text(key).unwrap_or_default();
    match operation {
        "StartExecution" | "ListExecutions" => {
            requests.resource("statemachine", arn("stateMachineArn"), None)
        }
        "DescribeExecution" | "GetExecutionHistory" | "StopExecution" => {
            requests.resource("execution", arn("executionArn"), None)
        }
        // A token identifies its task by itself.
        _ => requests.no_resource(),
    };
}
