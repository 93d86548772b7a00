//! Schedules.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    DEFAULT_GROUP, Page, Seen, absent, check_group, conflict, expression, firing, invalid, keep_token, name,
    needed, seen,
};
use crate::clock::Clock;
use crate::events::AccountEvent;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::iam::{self, RoleView};
use crate::world::World;

/// The most characters of a target's input.
const LONGEST_INPUT: usize = 262_144;

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    made_at: Duration,
    changed_at: Duration,
    /// The settings, in the form in which they are shown.
    settings: Value,
    /// When it fires next, if ever.
    pub(super) next_at: Option<Duration>,
}

impl Schedule {
    fn new(now: Duration, settings: Value) -> Self {
        let mut schedule = Self { made_at: now, changed_at: now, settings, next_at: None };
        schedule.plan(None);
        schedule
    }

    /// Sets the next time at which it fires after `after`, if any.
    fn plan(&mut self, after: Option<Duration>) {
        let text = |key: &str| self.settings[key].as_str().unwrap_or_default();
        // Dates are shown as seconds since 1970.
        let date = |key: &str| {
            let since = self.settings[key].as_f64()? - Clock::epoch_seconds(Duration::ZERO);
            Some(Duration::from_secs_f64(since.max(0.0)))
        };
        let begins = date("StartDate").unwrap_or(self.changed_at).max(self.changed_at);
        let next =
            firing::next(text("ScheduleExpression"), text("ScheduleExpressionTimezone"), begins, after);
        let enabled = self.settings["State"] == "ENABLED";
        self.next_at = next.filter(|next| enabled && date("EndDate").is_none_or(|end| *next <= end));
    }
}

/// Fires every schedule that is due, once for each due time.
pub(super) fn fire(world: &mut World) {
    let now = world.now;
    let mut fired: Vec<(Duration, AccountEvent)> = Vec::new();
    world.states.scheduler.schedules.retain(|(group, name), schedule| {
        while let Some(at) = schedule.next_at.filter(|at| *at <= now) {
            let target = &schedule.settings["Target"];
            let text = |key: &str| target[key].as_str().unwrap_or_default().to_owned();
            let input = Some(text("Input")).filter(|input| !input.is_empty()).unwrap_or_else(|| "{}".into());
            let event = AccountEvent::ScheduleFired {
                name: name.clone(),
                group: group.clone(),
                target: text("Arn"),
                role: text("RoleArn"),
                input,
            };
            fired.push((at, event));
            schedule.plan(Some(at));
        }
        // Source: API reference, `ActionAfterCompletion`.
        let completed = schedule.next_at.is_none() && schedule.settings["State"] == "ENABLED";
        !(completed && schedule.settings["ActionAfterCompletion"] == "DELETE")
    });
    fired.sort_by_key(|(at, _)| *at);
    world.events.extend(fired.into_iter().map(|(_, event)| event));
}

/// A schedule's group and name.
fn identity(params: &Params) -> Result<(String, String), Refusal> {
    let group = if params.has("GroupName") { name(params, "GroupName")? } else { DEFAULT_GROUP.into() };
    Ok((group, name(params, "Name")?))
}

fn arn(world: &World, (group, name): &(String, String)) -> String {
    world.arn("scheduler", &format!("schedule/{group}/{name}"))
}

/// Disables the schedule with a stack's name.
pub(super) fn disable(world: &mut World, stack: &str) -> Vec<String> {
    let of_stack = world.states.scheduler.schedules.iter_mut().filter(|((_, name), _)| name == stack);
    let enabled = of_stack.filter(|(_, schedule)| schedule.settings["State"] == "ENABLED");
    let changed = enabled.map(|((_, name), schedule)| {
        schedule.settings["State"] = json!("DISABLED");
        schedule.next_at = None;
        name.clone()
    });
    changed.collect()
}

/// Deletes the schedule with a stack's name.
pub(super) fn delete_of_stack(world: &mut World, stack: &str) -> Vec<String> {
    let schedules = &mut world.states.scheduler.schedules;
    let deleted: Vec<_> = schedules.keys().filter(|(_, name)| name == stack).cloned().collect();
    schedules.retain(|id, _| !deleted.contains(id));
    deleted.into_iter().map(|(_, name)| name).collect()
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = identity(params)?;
    let token = params.text("ClientToken");
    let settings = settings(world, params)?;
    params.done()?;
    check_group(world, &id.0)?;
    let reply = Reply::from(json!({ "ScheduleArn": arn(world, &id) }));
    let request = json!([id, settings]);
    let there = world.states.scheduler.schedules.contains_key(&id);
    if matches!(seen(world, "CreateSchedule", token.as_deref(), &request)?, Seen::Again) && there {
        return Ok(reply);
    }
    if there {
        return Err(conflict(format!("Schedule {} already exists.", id.1)));
    }
    let schedule = Schedule::new(world.now, settings);
    world.states.scheduler.schedules.insert(id, schedule);
    keep_token(world, "CreateSchedule", token, request);
    Ok(reply)
}

/// Replaces all settings: omitted ones return to their defaults.
pub(super) fn update(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = identity(params)?;
    let token = params.text("ClientToken");
    let settings = settings(world, params)?;
    params.done()?;
    check_group(world, &id.0)?;
    let reply = Reply::from(json!({ "ScheduleArn": arn(world, &id) }));
    let request = json!([id, settings]);
    if matches!(seen(world, "UpdateSchedule", token.as_deref(), &request)?, Seen::Again) {
        return Ok(reply);
    }
    let now = world.now;
    let schedule = world.states.scheduler.schedules.get_mut(&id).ok_or_else(|| absent("Schedule", &id.1))?;
    *schedule = Schedule { made_at: schedule.made_at, ..Schedule::new(now, settings) };
    keep_token(world, "UpdateSchedule", token, request);
    Ok(reply)
}

pub(super) fn get(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = identity(params)?;
    params.done()?;
    let schedule = world.states.scheduler.schedules.get(&id).ok_or_else(|| absent("Schedule", &id.1))?;
    let mut document = schedule.settings.clone();
    document["Arn"] = json!(arn(world, &id));
    document["GroupName"] = json!(id.0);
    document["Name"] = json!(id.1);
    document["CreationDate"] = json!(Clock::epoch_seconds(schedule.made_at));
    document["LastModificationDate"] = json!(Clock::epoch_seconds(schedule.changed_at));
    Ok(document.into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = identity(params)?;
    params.ignore("ClientToken"); // a deletion that is repeated finds nothing, which callers take for success
    params.done()?;
    world.states.scheduler.schedules.remove(&id).ok_or_else(|| absent("Schedule", &id.1))?;
    Ok(Reply::empty())
}

pub(super) fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let group = params.text("ScheduleGroup");
    let prefix = params.text("NamePrefix").unwrap_or_default();
    let state = params.text("State");
    let page = Page::read(params)?;
    params.done()?;
    if let Some(other) = state.as_ref().filter(|state| !["ENABLED", "DISABLED"].contains(&state.as_str())) {
        return Err(invalid(format!("Invalid State: {other}")));
    }
    if let Some(group) = &group {
        check_group(world, group)?;
    }
    let found = world.states.scheduler.schedules.iter().filter(|((in_group, name), schedule)| {
        group.as_ref().is_none_or(|group| group == in_group)
            && name.starts_with(&prefix)
            && state.as_deref().is_none_or(|state| schedule.settings["State"] == state)
    });
    let documents = found
        .map(|(id, schedule)| {
            json!({
                "Arn": arn(world, id),
                "GroupName": id.0,
                "Name": id.1,
                "State": schedule.settings["State"],
                "CreationDate": Clock::epoch_seconds(schedule.made_at),
                "LastModificationDate": Clock::epoch_seconds(schedule.changed_at),
                "Target": { "Arn": schedule.settings["Target"]["Arn"] },
            })
        })
        .collect();
    Ok(page.cut("Schedules", documents).into())
}

/// Reads and checks all settings.
fn settings(world: &World, params: &Params) -> Result<Value, Refusal> {
    let expression = needed(params, "ScheduleExpression")?;
    expression::check(&expression)?;
    let zone = params.text("ScheduleExpressionTimezone").unwrap_or_else(|| "UTC".into());
    expression::check_zone(&zone)?;
    let one_of = |key: &str, words: [&str; 2]| {
        let given = params.text(key).unwrap_or_else(|| words[0].into());
        if words.contains(&given.as_str()) {
            Ok(given)
        } else {
            Err(invalid(format!("Invalid {key}: {given}")))
        }
    };
    let mut settings = json!({
        "ScheduleExpression": expression,
        "ScheduleExpressionTimezone": zone,
        "State": one_of("State", ["ENABLED", "DISABLED"])?,
        "ActionAfterCompletion": one_of("ActionAfterCompletion", ["NONE", "DELETE"])?,
        "FlexibleTimeWindow": window(params)?,
        "Target": target(world, params)?,
    });
    if let Some(text) = params.text("Description") {
        if text.len() > 512 {
            return Err(invalid("The description must have at most 512 characters"));
        }
        settings["Description"] = json!(text);
    }
    let (start, end) = (params.float("StartDate")?, params.float("EndDate")?);
    if let (Some(start), Some(end)) = (start, end)
        && start >= end
    {
        return Err(invalid("The StartDate must be before the EndDate"));
    }
    for (key, date) in [("StartDate", start), ("EndDate", end)] {
        if let Some(date) = date {
            settings[key] = json!(date);
        }
    }
    if let Some(key) = params.text("KmsKeyArn") {
        settings["KmsKeyArn"] = json!(key);
    }
    Ok(settings)
}

fn window(params: &Params) -> Result<Value, Refusal> {
    let window =
        params.section("FlexibleTimeWindow").ok_or_else(|| invalid("FlexibleTimeWindow is missing"))?;
    let minutes = window.int("MaximumWindowInMinutes")?;
    match (needed(&window, "Mode")?.as_str(), minutes) {
        ("OFF", None) => Ok(json!({ "Mode": "OFF" })),
        ("FLEXIBLE", Some(minutes)) if (1..=1440).contains(&minutes) => {
            Ok(json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": minutes }))
        }
        _ => Err(invalid(
            "A flexible time window is OFF, or FLEXIBLE with a MaximumWindowInMinutes between 1 and 1440",
        )),
    }
}

fn target(world: &World, params: &Params) -> Result<Value, Refusal> {
    let target = params.section("Target").ok_or_else(|| invalid("Target is missing"))?;
    let (arn, role) = (needed(&target, "Arn")?, needed(&target, "RoleArn")?);
    if !arn.starts_with("arn:aws:") || arn.split(':').count() < 6 {
        return Err(invalid(format!("Provided Arn is not in correct format: {arn}")));
    }
    let role_name = role.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
    if role_name.is_none_or(|(account, name)| account.len() != 12 || name.is_empty()) {
        return Err(invalid(format!("Provided RoleArn is not in correct format: {role}")));
    }
    // Scheduler names the schedule's group as the source ("Confused deputy prevention" in its user guide).
    let group = params.text("GroupName").unwrap_or_else(|| "default".into());
    let source = world.arn("scheduler", &format!("schedule-group/{group}"));
    if iam::role_view(world, &role, "scheduler.amazonaws.com", &source) != RoleView::Ready {
        return Err(invalid(
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
        ));
    }
    let mut shown = json!({ "Arn": arn, "RoleArn": role, "RetryPolicy": retries(&target)? });
    if let Some(input) = target.text("Input") {
        if input.len() > LONGEST_INPUT {
            return Err(invalid("The input of a target is too long"));
        }
        // For a state machine, it is the execution's input.
        if arn.contains(":states:") && serde_json::from_str::<Value>(&input).is_err() {
            return Err(invalid("The input of a target that is a state machine must be valid JSON"));
        }
        shown["Input"] = json!(input);
    }
    if let Some(letters) = target.section("DeadLetterConfig") {
        shown["DeadLetterConfig"] = json!({ "Arn": needed(&letters, "Arn")? });
    }
    Ok(shown)
}

fn retries(target: &Params) -> Result<Value, Refusal> {
    let policy = target.section("RetryPolicy");
    let number = |key: &str, low: i64, high: i64| {
        let given = policy.as_ref().map(|policy| policy.int(key)).transpose()?.flatten();
        let number = given.unwrap_or(high);
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(invalid(format!("{key} must be between {low} and {high}")))
        }
    };
    Ok(json!({
        "MaximumEventAgeInSeconds": number("MaximumEventAgeInSeconds", 60, 86_400)?,
        "MaximumRetryAttempts": number("MaximumRetryAttempts", 0, 185)?,
    }))
}
