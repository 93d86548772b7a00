//! The rotation of secrets that a service manages: by Secrets Manager's schedule, by a call, or by an incident.
//!
//! Source, unless a line names another one: "Managed rotation" in the Secrets Manager user guide, `RotateSecret` and
//! `RotationRulesType` in its API reference, "Password management with Amazon RDS and AWS Secrets Manager" in the RDS user guide.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Secret, find, invalid, needed, not_found};
use crate::clock::Clock;
use crate::events::AccountEvent;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::{rds, scheduler};
use crate::world::World;

/// How long a rotation takes until the new password works, and until it is complete: "typically completes within one minute".
const MOVES_SECONDS: f64 = 30.0;
const ENDS_SECONDS: f64 = 40.0;
/// The interval of a new secret: every seven days.
const DAYS: i64 = 7;
/// How often Secrets Manager tries again while the instance is not available. Not documented.
const RETRY_SECONDS: f64 = 60.0;

/// The rotation of a secret.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    rules: Rules,
    /// When Secrets Manager rotates it next by itself.
    next: Duration,
    running: Option<Running>,
    last: Option<Duration>,
    /// The versions, oldest first, and when each became the current one.
    versions: Vec<(Duration, String)>,
    /// The version of a rotation that is not complete.
    pending: Option<String>,
    /// Whether RDS cannot rotate it.
    impaired: bool,
}

/// When Secrets Manager rotates a secret by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rules {
    AfterDays(i64),
    Expression(String, Option<String>),
}

/// A rotation in progress.
#[derive(Debug, Clone)]
struct Running {
    version: String,
    moves_at: Duration,
    ends_at: Duration,
}

impl Rotation {
    /// That of a new secret.
    pub(super) fn of_new(now: Duration, version: String) -> Self {
        let rules = Rules::AfterDays(DAYS);
        let next = rules.next(now).unwrap_or(now);
        let versions = vec![(now, version)];
        Self { rules, next, running: None, last: None, versions, pending: None, impaired: false }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Its status in RDS once it is created.
    fn status(&self) -> &'static str {
        match (self.impaired, self.is_running()) {
            (true, _) => "impaired",
            (false, true) => "rotating",
            (false, false) => "active",
        }
    }

    /// Adds its members to the secret's document.
    pub(super) fn describe(&self, document: &mut Value, versions: &str) {
        document["RotationEnabled"] = json!(true);
        document["RotationRules"] = match &self.rules {
            Rules::AfterDays(days) => json!({ "AutomaticallyAfterDays": days }),
            Rules::Expression(expression, None) => json!({ "ScheduleExpression": expression }),
            Rules::Expression(expression, Some(hours)) => {
                json!({ "ScheduleExpression": expression, "Duration": hours })
            }
        };
        document["NextRotationDate"] = json!(Clock::epoch_seconds(self.next));
        if let Some(last) = self.last {
            document["LastRotatedDate"] = json!(Clock::epoch_seconds(last));
        }
        let mut newest = self.versions.iter().rev();
        let mut stages = serde_json::Map::new();
        for (stage, version) in [("AWSCURRENT", newest.next()), ("AWSPREVIOUS", newest.next())] {
            stages.extend(version.map(|(_, version)| (version.clone(), json!([stage]))));
        }
        if let Some(pending) = &self.pending {
            let stages = stages.entry(pending.clone()).or_insert_with(|| json!([]));
            stages.as_array_mut().map(|stages| stages.push(json!("AWSPENDING"))).unwrap_or_default();
        }
        document[versions] = Value::Object(stages);
    }
}

impl Rules {
    fn read(params: &Params) -> Result<Option<Self>, Refusal> {
        let Some(rules) = params.section("RotationRules") else { return Ok(None) };
        let (days, expression) = (rules.int("AutomaticallyAfterDays")?, rules.text("ScheduleExpression"));
        let duration = rules.text("Duration");
        match (days, expression) {
            (Some(_), Some(_)) => Err(invalid(
                "You can specify either AutomaticallyAfterDays or ScheduleExpression, but not both.",
            )),
            (None, None) => Err(invalid("RotationRules must have a schedule.")),
            (Some(days), None) if (1..=1000).contains(&days) => Ok(Some(Self::AfterDays(days))),
            (Some(_), None) => Err(invalid("AutomaticallyAfterDays must be between 1 and 1000.")),
            (None, Some(expression)) => {
                let rules = Self::Expression(expression.clone(), duration);
                let known = rules.next(Duration::ZERO).is_some();
                known
                    .then_some(Some(rules))
                    .ok_or_else(|| invalid(format!("Invalid ScheduleExpression: {expression}")))
            }
        }
    }

    /// The first rotation after this moment.
    fn next(&self, after: Duration) -> Option<Duration> {
        match self {
            Self::AfterDays(days) => Some(after + Duration::from_hours(24) * u32::try_from(*days).ok()?),
            Self::Expression(expression, _) => scheduler::next_after(expression, after),
        }
    }

    /// "If using `AutomaticallyAfterDays` or a `ScheduleExpression` with `rate()`, the previously scheduled rotation might still
    /// occur" (CloudFormation reference, `AWS::SecretsManager::RotationSchedule RotationRules`): here it does.
    fn keeps_the_planned_rotation(&self) -> bool {
        match self {
            Self::AfterDays(_) => true,
            Self::Expression(expression, _) => expression.starts_with("rate("),
        }
    }
}

/// Carries out `RotateSecret`.
pub(super) fn rotate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = needed(params, "SecretId")?;
    let token = params.text("ClientRequestToken");
    let function = params.text("RotationLambdaARN");
    let rules = Rules::read(params)?;
    let immediately = params.flag("RotateImmediately")?.unwrap_or(true);
    params.done()?;
    let token = token.filter(|token| (32..=64).contains(&token.len()));
    let token = token.ok_or_else(|| invalid("You must provide a ClientRequestToken value."))?;
    let arn = find(world, &id)?;
    let now = world.now;
    let secret = checked(world, &arn)?;
    let name = secret.name.clone();
    let Some(rotation) = secret.rotation.as_mut() else {
        return Err(refused("No Lambda rotation function ARN is associated with this secret."));
    };
    if function.is_some() {
        return Err(refused("You can't specify a Lambda function for a secret with managed rotation."));
    }
    let answer = |version: &str| Ok(json!({ "ARN": arn, "Name": name, "VersionId": version }).into());
    let is_known = rotation.versions.iter().any(|(_, version)| *version == token)
        || rotation.pending.as_ref() == Some(&token);
    if is_known && rules.is_none() {
        return answer(&token);
    }
    if rotation.is_running() {
        return Err(refused("A previous rotation isn't complete. That rotation will be reattempted."));
    }
    if let Some(rules) = rules {
        let planned = rotation.next;
        let next = rules.next(now).unwrap_or(planned);
        rotation.next = if rules.keeps_the_planned_rotation() { next.min(planned) } else { next };
        rotation.rules = rules;
    }
    let current = rotation.versions.last().map(|(_, version)| version.clone()).unwrap_or_default();
    if !immediately {
        return answer(&current);
    }
    if rotation.impaired {
        rotation.pending = Some(token.clone());
        return answer(&token);
    }
    // RDS has no documented error for this case.
    if !begin(world, &arn, token.clone(), now) {
        return Err(refused("The DB instance isn't in the available state."));
    }
    answer(&token)
}

fn refused(message: &str) -> Refusal {
    Refusal::new("InvalidRequestException", message)
}

/// Starts a rotation. `false` if the instance is not available.
fn begin(world: &mut World, arn: &str, version: String, at: Duration) -> bool {
    let (moves_at, ends_at) =
        (at + world.latency.seconds(MOVES_SECONDS), at + world.latency.seconds(ENDS_SECONDS));
    if !rds::reset_password(world, arn, at, ends_at) {
        return false;
    }
    let secret = world.states.secrets.secrets.get_mut(arn);
    if let Some(rotation) = secret.and_then(|secret| secret.rotation.as_mut()) {
        rotation.pending = Some(version.clone());
        rotation.running = Some(Running { version, moves_at, ends_at });
    }
    true
}

/// Starts the rotation of a secret that RDS manages, now. Returns whether it has started.
pub(crate) fn rotate_now(world: &mut World, arn: &str) -> bool {
    let secret = world.states.secrets.secrets.get(arn);
    let idle = secret
        .and_then(|secret| secret.rotation.as_ref())
        .is_some_and(|rotation| !rotation.is_running() && !rotation.impaired);
    let (now, version) = (world.now, new_version(world));
    idle && begin(world, arn, version, now)
}

/// Makes a secret one that RDS can no longer rotate. Returns whether it was another before.
pub(crate) fn impair(world: &mut World, arn: &str) -> bool {
    let secret = world.states.secrets.secrets.get_mut(arn);
    let rotation = secret.and_then(|secret| secret.rotation.as_mut());
    rotation
        .filter(|rotation| !rotation.is_running())
        .is_some_and(|rotation| !std::mem::replace(&mut rotation.impaired, true))
}

/// Lets the owner of a secret rotate it with a function of theirs, at once. Returns whether it is one that no service manages.
pub(crate) fn rotated_by_owner(world: &mut World, arn: &str) -> bool {
    let now = world.now;
    let secret = world.states.secrets.secrets.get_mut(arn);
    let secret = secret.filter(|secret| secret.rotation.is_none() && secret.deleted.is_none());
    secret.is_some_and(|secret| secret.rotated.replace(now) != Some(now))
}

fn new_version(world: &mut World) -> String {
    format!("00000000-0000-4000-a000-{:012x}", world.number())
}

/// The status of a secret in RDS.
pub(crate) fn status(world: &World, arn: &str) -> &'static str {
    let secret = world.states.secrets.secrets.get(arn);
    secret.and_then(|secret| secret.rotation.as_ref()).map_or("active", Rotation::status)
}

/// When the value of a secret changed first after this moment.
pub(crate) fn changed_after(world: &World, arn: &str, moment: Duration) -> Option<Duration> {
    let secret = world.states.secrets.secrets.get(arn)?;
    let Some(rotation) = &secret.rotation else { return secret.rotated.filter(|at| *at > moment) };
    rotation.versions.iter().map(|(at, _)| *at).find(|at| *at > moment)
}

/// When a rotation starts, changes the password or ends next.
pub(crate) fn next_due(world: &World) -> Option<Duration> {
    let retry = world.now + world.latency.seconds(RETRY_SECONDS);
    let rotations = world.states.secrets.secrets.values().filter_map(|secret| secret.rotation.as_ref());
    let due = rotations.filter_map(|rotation| match &rotation.running {
        Some(running) if running.moves_at > world.now => Some(running.moves_at),
        Some(running) => Some(running.ends_at),
        None if rotation.impaired => None,
        // It is due already, but the instance is not available.
        None => Some(if rotation.next > world.now { rotation.next } else { retry }),
    });
    due.min()
}

/// Continues rotations, and starts those that are due.
pub(super) fn advance(world: &mut World) {
    let managed = world.states.secrets.secrets.iter().filter(|(_, secret)| secret.rotation.is_some());
    let arns: Vec<String> = managed.map(|(arn, _)| arn.clone()).collect();
    for arn in arns {
        while go_on(world, &arn) {}
    }
}

/// Takes one step, if one is due.
fn go_on(world: &mut World, arn: &str) -> bool {
    let now = world.now;
    let Some(Secret { name, rotation: Some(rotation), .. }) = world.states.secrets.secrets.get_mut(arn)
    else {
        return false;
    };
    let Some(running) = rotation.running.clone() else {
        return if rotation.impaired || rotation.next > now { false } else { start(world, arn) };
    };
    let current = rotation.versions.last().map(|(_, version)| version);
    if current != Some(&running.version) {
        if running.moves_at > now {
            return false;
        }
        rotation.versions.push((running.moves_at, running.version.clone()));
        let event = AccountEvent::SecretLabelUpdated {
            arn: arn.to_owned(),
            name: name.clone(),
            version: running.version,
            at: running.moves_at,
        };
        world.events.push(event);
        return true;
    }
    if running.ends_at > now {
        return false;
    }
    rotation.running = None;
    rotation.pending = None;
    rotation.last = Some(running.ends_at);
    rotation.next = rotation.rules.next(running.ends_at).unwrap_or(Duration::MAX);
    true
}

/// Starts a rotation that is due: at its time or, if the instance was not available then, now.
fn start(world: &mut World, arn: &str) -> bool {
    let now = world.now;
    let secret = world.states.secrets.secrets.get(arn);
    let due = secret.and_then(|secret| Some(secret.rotation.as_ref()?.next)).unwrap_or(now);
    let version = new_version(world);
    begin(world, arn, version.clone(), due) || begin(world, arn, version, now)
}

/// What happens to the secret of a stack's database without Stackdrop.
pub(super) mod incidents {
    use crate::incident::Incident;
    use crate::world::World;

    pub(crate) static ALL: [Incident; 1] = [Incident {
        name: "secret-rotated",
        what: "Somebody rotates the database's password",
        cause: |world, stack| {
            let secret = of_stack(world, stack);
            secret.filter(|arn| super::rotate_now(world, arn)).into_iter().collect()
        },
    }];

    fn of_stack(world: &World, stack: &str) -> Option<String> {
        let instance = world.arn("rds", &format!("db:{stack}-database"));
        let owned =
            |secret: &super::Secret| secret.tags.get("aws:rds:primaryDBInstanceArn") == Some(&instance);
        let secrets = &world.states.secrets.secrets;
        secrets.iter().find(|(_, secret)| owned(secret)).map(|(arn, _)| arn.clone())
    }
}

/// Refuses to rotate a secret that was deleted.
pub(super) fn checked<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Secret, Refusal> {
    let secret = world.states.secrets.secrets.get_mut(arn).ok_or_else(not_found)?;
    if secret.deleted.is_some() {
        return Err(refused(
            "You can't perform this operation on the secret because it was marked for deletion.",
        ));
    }
    Ok(secret)
}
