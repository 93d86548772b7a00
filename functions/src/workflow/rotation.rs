//! The states that change the database's password and restart the services that use it.

use super::states::rule::text;
use super::states::{Result, States, Task, choice};
use super::table::{AWAIT_RESTART, RESTART, ROTATE, Wait};
use super::{failed_in, field, task};
use crate::contract::handler::Action;
use crate::deployment::component_names::{DATABASE, SERVICE};

/// Adds the states. Their failure is not rolled back: nothing else was changed, and ECS itself keeps the previous tasks of a
/// service whose new ones do not start. A deployment continues even so: it may be the one that repairs the service.
pub(super) fn rotate(states: &mut States) {
    let comment = "Changes the database's password, and waits until it has changed";
    let step = ("RotatePassword", "RestartServices");
    states.add(step.0, rotating(DATABASE, Action::Rotate, comment, ROTATE, step));
    let comment = "Restarts the services whose tasks read a secret before it changed";
    let step = ("RestartServices", "AwaitRestart");
    states.add(step.0, rotating(SERVICE, Action::Restart, comment, RESTART, step));
    let comment = "Waits until the restarted services are stable and healthy";
    let step = ("AwaitRestart", "Restarted");
    states.add(step.0, rotating(SERVICE, Action::AwaitRestart, comment, AWAIT_RESTART, step));
    let comment = "Continues with the plan if the restart was only the beginning of a deployment";
    states.add("Restarted", choice(comment, &[(text("$.verdict", "admitted"), "Plan")], "Conclude"));
}

fn rotating(
    component: &str,
    action: Action,
    comment: &str,
    wait: Wait,
    (name, next): (&str, &str),
) -> serde_json::Value {
    let task = Task {
        result: Result::Outputs(format!("$.outputs.{}", field(component))),
        catch: Some((failed_in("rotationFailed", name), "Restarted".into())),
        next: Some(next.into()),
        ..task(component, action, comment, Some(wait))
    };
    task.into_state()
}
