//! How long a deployment takes: the steps in the workflow's order, each with what AWS makes it wait for.

use stackdrop_figures::{LatencyModel, MULTI_AZ_FACTOR, changes};
use stackdrop_specs::{Database, Nat, Spec};

use crate::deployment::component_names;
use crate::deployment::plan::ComponentPlan;
use crate::deployment::plan::{Change, FieldChange, Verb};

/// Admit and Plan, and Conclude after them: what a deployment takes that changes nothing.
const AROUND_SECONDS: f64 = 3.0;
/// What a step takes that finds everything as it should be, or asks for something and goes on.
const STEP_SECONDS: f64 = 0.6;
/// A new thing is not to be seen at once: a step that makes several asks again until it sees them.
const VISIBLE_SECONDS: f64 = 2.0;
/// The target groups' deregistration delay, which is also what an old task's connections are given.
const DRAINING_SECONDS: f64 = 30.0;
/// The logical ID of the database's instance, and of the EC2 instance, each in its own component.
const INSTANCE: &str = "instance";
/// The last snapshot of a database.
const SNAPSHOT_SECONDS: f64 = 60.0;

/// The best that AWS allows: the least that a first deployment of a spec takes. It is the longest path through what AWS
/// itself makes wait, each of AWS's durations once, plus one control call for each resource on that path.
#[must_use]
pub fn seconds_of_first(spec: &Spec) -> f64 {
    let model = LatencyModel::built_in();
    let call = model.create_seconds("api_control_call");
    let made = |thing: &str| model.create_seconds(thing) + call;
    let vpc = made("vpc");
    let subnets = vpc + made("subnet");
    let gateway = vpc + made("internet_gateway");
    let egress = match spec.network.nat {
        Nat::Single | Nat::PerZone => subnets.max(gateway) + made("nat_gateway"),
        Nat::None => subnets + made("vpc_endpoint_interface"),
    };
    let instance = spec.instance.as_ref().map(|_| {
        egress + made("ec2_instance_running") + model.create_seconds("ssm_agent_online_after_running")
    });
    let database = spec
        .database
        .as_ref()
        .map(|database| subnets + made("db_subnet_group") + database_creation(&model, database) + call);
    let load_balancer = spec.load_balancer.as_ref().map(|load_balancer| {
        let certificate = if load_balancer.certificate_arn.is_none() {
            call + made("route53_record_insync") + model.create_seconds("acm_certificate_dns_validated")
        } else {
            0.0
        };
        certificate.max(subnets.max(gateway) + made("alb"))
    });
    let awaited = database.filter(|_| spec.services.values().any(stackdrop_specs::Service::uses_database));
    let services = spec.services.values().map(|service| {
        let routed = load_balancer.filter(|_| !service.is_worker());
        let ready = [Some(egress), awaited, routed].into_iter().flatten().fold(0.0, f64::max);
        ready + made("ecs_service_create_call") + model.create_seconds("ecs_service_steady_after_alb_active")
    });
    services.chain(instance).chain(database).chain(load_balancer).fold(egress, f64::max)
}

/// How long a new database takes. The model has single instances only; a standby in another zone is made from a
/// snapshot of the first.
fn database_creation(model: &LatencyModel, database: &Database) -> f64 {
    model.create_seconds("rds_postgres_single_az") * if database.multi_az { MULTI_AZ_FACTOR } else { 1.0 }
}

/// How long the deployment of a plan takes: an image is as long as the rollout, a database's class as its change. What
/// Stackdrop waits for in parallel counts once.
#[must_use]
pub fn seconds_of(plan: &[ComponentPlan], spec: &Spec, baseline: Option<&Spec>) -> f64 {
    if plan.iter().all(|component| component.plan.changes.is_empty()) {
        return AROUND_SECONDS;
    }
    let of = |name: &str| plan.iter().find(|component| component.component == name);
    let model = LatencyModel::built_in();
    let steps = Steps { model, spec, baseline };
    let changes = |name: &str| of(name).map(|of| of.plan.changes.as_slice()).unwrap_or_default();
    let mut at = AROUND_SECONDS;
    at += steps.network(changes(component_names::NETWORK));
    at += steps.security_groups(changes(component_names::SECURITY_GROUPS));
    let (asked, until) = steps.database(changes(component_names::DATABASE));
    at += asked;
    let database = at + until;
    let (asked, until) = steps.load_balancer(changes(component_names::LOAD_BALANCER));
    at += asked;
    let load_balancer = at + until;
    at += steps.egress(changes(component_names::EGRESS));
    let (asked, until) = steps.instance(changes(component_names::INSTANCE));
    at += asked;
    let instance = at + until;
    if spec.services.values().any(stackdrop_specs::Service::uses_database) {
        at = at.max(database);
    }
    let (asked, until) = steps.service(changes(component_names::SERVICE));
    at += asked;
    // A new service gets steady once its load balancer is active.
    let begins = if spec.services.values().any(|service| !service.is_worker()) && until > 0.0 {
        at.max(load_balancer)
    } else {
        at
    };
    let settled = (begins + until).max(database).max(load_balancer).max(instance);
    settled + steps.pruning(plan)
}

/// What the steps take, each for its own changes.
struct Steps<'a> {
    model: LatencyModel,
    spec: &'a Spec,
    baseline: Option<&'a Spec>,
}

/// Whether something is created whose logical ID begins like this.
fn creates(changes: &[Change], logical_id: &str) -> bool {
    changes.iter().any(|change| change.verb == Verb::Create && change.resource.starts_with(logical_id))
}

/// The fields that change in a resource whose logical ID begins like this.
fn fields<'c>(changes: &'c [Change], logical_id: &'c str) -> impl Iterator<Item = &'c FieldChange> {
    let updates = changes.iter().filter(move |change| {
        matches!(change.verb, Verb::Update | Verb::Restart) && change.resource.starts_with(logical_id)
    });
    updates.flat_map(|change| &change.fields)
}

impl Steps<'_> {
    fn create(&self, thing: &str) -> f64 {
        self.model.create_seconds(thing)
    }

    /// What writing so many times takes.
    fn calls(&self, changes: &[Change]) -> f64 {
        let number = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        STEP_SECONDS + self.create("api_control_call") * f64::from(number.min(8))
    }

    fn network(&self, changes: &[Change]) -> f64 {
        let mut seconds = self.calls(changes);
        if creates(changes, "vpc") {
            seconds += self.create("vpc");
        }
        if creates(changes, "subnet/") {
            seconds += self.create("subnet") + VISIBLE_SECONDS;
        }
        seconds
    }

    fn security_groups(&self, changes: &[Change]) -> f64 {
        let made = changes.iter().any(|change| change.verb == Verb::Create);
        STEP_SECONDS + if made { self.create("security_group") + 1.0 } else { 0.0 }
    }

    /// What the step takes, and for how long AWS is at work behind it.
    fn database(&self, changes: &[Change]) -> (f64, f64) {
        let Some(database) = &self.spec.database else { return (STEP_SECONDS, 0.0) };
        if creates(changes, INSTANCE) {
            let asked = STEP_SECONDS + VISIBLE_SECONDS + self.create("db_subnet_group");
            return (asked, database_creation(&self.model, database));
        }
        let modified = fields(changes, INSTANCE).map(|field| modification(&field.field, &field.to));
        let longest = modified.max().map_or(0, |seconds| seconds + changes::DATABASE_ACCEPTED);
        (STEP_SECONDS, f64::from(longest))
    }

    fn load_balancer(&self, changes: &[Change]) -> (f64, f64) {
        let certificate = if creates(changes, "certificate") {
            self.create("route53_record_insync") + self.create("acm_certificate_dns_validated")
        } else {
            0.0
        };
        let balancer = creates(changes, "load-balancer");
        let asked = self.calls(changes) + certificate + if balancer { VISIBLE_SECONDS } else { 0.0 };
        (asked, if balancer { self.create("alb") } else { 0.0 })
    }

    fn egress(&self, changes: &[Change]) -> f64 {
        let gateways = if creates(changes, "nat/") { self.create("nat_gateway") } else { 0.0 };
        let endpoints =
            if creates(changes, "endpoint/") { self.create("vpc_endpoint_interface") } else { 0.0 };
        STEP_SECONDS
            + if gateways + endpoints > 0.0 { VISIBLE_SECONDS } else { 0.0 }
            + gateways.max(endpoints)
    }

    fn instance(&self, changes: &[Change]) -> (f64, f64) {
        let boots = self.create("ec2_instance_running") + self.create("ssm_agent_online_after_running");
        if creates(changes, INSTANCE) {
            return (STEP_SECONDS + self.create("iam_instance_profile_visible_to_ec2"), boots);
        }
        // Another type takes a stop and a start.
        let other_type = fields(changes, INSTANCE).any(|field| field.field == "type");
        if other_type { (STEP_SECONDS + changes::INSTANCE_STOP, boots) } else { (STEP_SECONDS, 0.0) }
    }

    /// What the step takes, and how long until the slowest service is steady.
    fn service(&self, changes: &[Change]) -> (f64, f64) {
        let cluster =
            if creates(changes, "cluster") { self.create("iam_role_assumable_by_service") } else { 0.0 };
        // Tasks of a service stand in every zone, so that it rolls out anew with another number of them.
        let moves = self.baseline.is_some_and(|baseline| baseline.network.zones != self.spec.network.zones);
        let services = self.spec.services.iter().map(|(name, service)| {
            let logical_id = format!("service/{name}");
            let steady = self.create("ecs_service_steady_after_alb_active");
            let drained = if service.is_worker() { 0.0 } else { DRAINING_SECONDS };
            let stood = self.baseline.is_some_and(|baseline| baseline.services.contains_key(name));
            if creates(changes, &logical_id) {
                steady
            } else if stood && moves || fields(changes, &logical_id).any(|field| rolls_out(&field.field)) {
                // The old tasks go when the new ones are well.
                steady + drained + changes::TASK_STOP
            } else if stood && fields(changes, &format!("scalable-target/{name}")).any(grows) {
                steady
            } else {
                0.0
            }
        });
        (self.calls(changes) + cluster, services.fold(0.0, f64::max))
    }

    /// What taking away takes of what the spec has no longer.
    fn pruning(&self, plan: &[ComponentPlan]) -> f64 {
        let removes = |name: &str, logical_id: &str| {
            plan.iter().filter(|component| component.component == name).any(|component| {
                let mut changes = component.plan.changes.iter();
                changes.any(|change| change.verb == Verb::Delete && change.resource.starts_with(logical_id))
            })
        };
        let snapshot = self.baseline.and_then(|baseline| baseline.database.as_ref());
        let snapshot =
            if snapshot.is_some_and(|database| database.final_snapshot) { SNAPSHOT_SECONDS } else { 0.0 };
        let gone = [
            (
                component_names::DATABASE,
                INSTANCE,
                self.model.delete_seconds("rds_postgres_single_az") + snapshot,
            ),
            (component_names::LOAD_BALANCER, "load-balancer", self.model.delete_seconds("alb")),
            (component_names::EGRESS, "nat/", self.model.delete_seconds("nat_gateway")),
            (component_names::EGRESS, "endpoint/", self.model.delete_seconds("vpc_endpoint_interface")),
            (component_names::INSTANCE, INSTANCE, self.model.delete_seconds("ec2_instance_running")),
        ];
        gone.iter()
            .filter(|(name, logical_id, _)| removes(name, logical_id))
            .map(|(_, _, seconds)| *seconds)
            .fold(0.0, f64::max)
    }
}

/// Whether an update of this field of a service starts other tasks.
fn rolls_out(field: &str) -> bool {
    ["taskDefinition", "image", "rollout", "routes", "exec", "subnets", "securityGroups", "publicAddress"]
        .contains(&field)
}

/// Whether a number becomes larger.
fn grows(field: &FieldChange) -> bool {
    let numbers = field.from.parse::<u32>().ok().zip(field.to.parse::<u32>().ok());
    field.field == "min" && numbers.is_some_and(|(from, to)| from < to)
}

/// How long a change of a field of the database takes.
fn modification(field: &str, to: &str) -> u32 {
    match field {
        "class" => changes::DATABASE_CLASS,
        "multiAz" if to == "true" => changes::DATABASE_STANDBY_ADDED,
        "multiAz" => changes::DATABASE_STANDBY_REMOVED,
        "version" if to.contains('.') => changes::DATABASE_MINOR_VERSION,
        "version" => changes::DATABASE_MAJOR_VERSION,
        "securityGroups" | "parameterGroup" => changes::DATABASE_GROUPS,
        field if field.starts_with("tags.") || field == "deletionProtection" => 0,
        _ => changes::DATABASE_SETTING,
    }
}
