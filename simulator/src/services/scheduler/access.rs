//! The permissions that a call needs.

use super::DEFAULT_GROUP;
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let name = params.text("Name").unwrap_or_default();
    match operation {
        "ListSchedules" | "ListScheduleGroups" => {
            requests.no_resource();
        }
        _ if operation.ends_with("Group") => {
            requests.resource(
                "schedule-group",
                world.arn("scheduler", &format!("schedule-group/{name}")),
                None,
            );
        }
        _ => {
            let group = params.text("GroupName").unwrap_or_else(|| DEFAULT_GROUP.into());
            requests.resource("schedule", world.arn("scheduler", &format!("schedule/{group}/{name}")), None);
        }
    }
    let role = params.section("Target").and_then(|target| target.text("RoleArn"));
    if let (Some(role), "CreateSchedule" | "UpdateSchedule") = (role, operation) {
        requests.pass_role(&role, "scheduler.amazonaws.com");
    }
}
