//! The duration of a deployment: the workflow's steps in order, each with the time that AWS needs.

use stackdrop_figures::{LatencyModel, MULTI_AZ_FACTOR, changes};
use stackdrop_specs::{Database, Nat, Spec};

use crate::deployment::component_names;
use crate::deployment::plan::{Change, ComponentPlan, FieldChange, Verb};

/// Admit, Plan and Conclude: the duration of a deployment that changes nothing.
const AROUND_SECONDS: f64 = 4.6;
/// A step that finds nothing to do, or starts something and does not wait for it.
const STEP_SECONDS: f64 = 0.65;
/// A new resource is not visible at once: a step that creates several retries until it sees them.
const VISIBLE_SECONDS: f64 = 2.0;
/// How long the services wait for new roles, which are created before the load balancer, or for new access of their role.
const ROLES_SECONDS: f64 = 30.0;
/// How much longer a worker's tasks must run, without a health check, than a service's tasks need to pass theirs.
const UNCHECKED_SECONDS: f64 = 35.0;
/// The target groups' deregistration delay, for which old tasks finish their connections.
const DRAINING_SECONDS: f64 = 30.0;
/// The logical ID of the database's instance, and of the EC2 instance, each in its own component.
const INSTANCE: &str = "instance";
/// A database's final snapshot.
const SNAPSHOT_SECONDS: f64 = 60.0;

/// The shortest possible duration of a spec's first deployment: the longest path through AWS's own durations, each once,
/// plus one control call for each resource on that path.
#[must_use]
pub fn seconds_of_first(spec: &Spec) -> f64 {
    let model = LatencyModel::built_in();
    let call = model.create_seconds("api_control_call");
    let created = |resource: &str| model.create_seconds(resource) + call;
    let vpc = created("vpc");
    let subnets = vpc + created("subnet");
    let gateway = vpc + created("internet_gateway");
    let egress = match spec.network.nat {
        Nat::Single | Nat::PerZone => subnets.max(gateway) + created("nat_gateway"),
        Nat::None => subnets + created("vpc_endpoint_interface"),
    };
    let instance = spec.instance.as_ref().map(|_| {
        egress + created("ec2_instance_running") + model.create_seconds("ssm_agent_online_after_running")
    });
    let database = spec
        .database
        .as_ref()
        .map(|database| subnets + created("db_subnet_group") + database_creation(&model, database) + call);
    let load_balancer = spec.load_balancer.as_ref().map(|load_balancer| {
        let certificate = if load_balancer.certificate_arn.is_none() {
            call + created("route53_record_insync") + model.create_seconds("acm_certificate_dns_validated")
        } else {
            0.0
        };
        certificate.max(subnets.max(gateway) + created("alb"))
    });
    let awaited = database.filter(|_| spec.services.values().any(stackdrop_specs::Service::uses_database));
    let services = spec.services.values().map(|service| {
        let routed = load_balancer.filter(|_| !service.is_worker());
        let ready = [Some(egress), awaited, routed].into_iter().flatten().fold(0.0, f64::max);
        ready
            + created("ecs_service_create_call")
            + model.create_seconds("ecs_service_steady_after_alb_active")
    });
    services.chain(instance).chain(database).chain(load_balancer).fold(egress, f64::max)
}

/// The duration of a database's creation. The model has only single-zone instances; RDS creates the standby in another
/// zone from a snapshot. A restored database gets its password once it is available.
fn database_creation(model: &LatencyModel, database: &Database) -> f64 {
    let zones = if database.multi_az { MULTI_AZ_FACTOR } else { 1.0 };
    if database.restore_from.is_none() {
        return model.create_seconds("rds_postgres_single_az") * zones;
    }
    let password = f64::from(changes::DATABASE_ACCEPTED + changes::DATABASE_PASSWORD);
    model.create_seconds("rds_postgres_restored") * zones + password
}

/// The duration of a plan's deployment. Waits that run concurrently count once.
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
    let (applied, stable) = steps.database(changes(component_names::DATABASE));
    at += applied;
    let database = at + stable;
    let of_services = changes(component_names::SERVICE);
    at += steps.service_foundations(of_services);
    let widens = fields(of_services, "role/execution").any(|field| field.field == "policy");
    let roles_visible = if creates(of_services, "role/") { at + ROLES_SECONDS } else { at };
    let (applied, stable) = steps.load_balancer(changes(component_names::LOAD_BALANCER));
    at += applied;
    let load_balancer = at + stable;
    at += steps.egress(changes(component_names::EGRESS));
    let (applied, stable) = steps.instance(changes(component_names::INSTANCE));
    at += applied;
    let instance = at + stable;
    if spec.services.values().any(stackdrop_specs::Service::uses_database) {
        at = at.max(database);
    }
    at = at.max(roles_visible);
    let (applied, stable) = steps.service(of_services);
    at += applied;
    if widens {
        // After the registration of the revisions that need the new access.
        at += ROLES_SECONDS;
    }
    // A new service becomes stable once its load balancer is active.
    let begins = if spec.services.values().any(|service| !service.is_worker()) && stable > 0.0 {
        at.max(load_balancer)
    } else {
        at
    };
    let stable = (begins + stable).max(database).max(load_balancer).max(instance);
    stable + steps.pruning(plan)
}

/// Estimates each step from its changes.
struct Steps<'a> {
    model: LatencyModel,
    spec: &'a Spec,
    baseline: Option<&'a Spec>,
}

/// Whether the changes create a resource whose logical ID has this prefix.
fn creates(changes: &[Change], logical_id: &str) -> bool {
    changes.iter().any(|change| change.verb == Verb::Create && change.resource.starts_with(logical_id))
}

/// The changed fields of the resources whose logical IDs have this prefix.
fn fields<'c>(changes: &'c [Change], logical_id: &'c str) -> impl Iterator<Item = &'c FieldChange> {
    let updates = changes.iter().filter(move |change| {
        matches!(change.verb, Verb::Update | Verb::Restart) && change.resource.starts_with(logical_id)
    });
    updates.flat_map(|change| &change.fields)
}

impl Steps<'_> {
    fn create(&self, resource: &str) -> f64 {
        self.model.create_seconds(resource)
    }

    /// The duration of one call for each change.
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
        let creates = changes.iter().any(|change| change.verb == Verb::Create);
        STEP_SECONDS + if creates { self.create("security_group") + 1.0 } else { 0.0 }
    }

    /// The step's duration, and how long AWS takes after it.
    fn database(&self, changes: &[Change]) -> (f64, f64) {
        let Some(database) = &self.spec.database else { return (STEP_SECONDS, 0.0) };
        if creates(changes, INSTANCE) {
            let applied = STEP_SECONDS + VISIBLE_SECONDS + self.create("db_subnet_group");
            return (applied, database_creation(&self.model, database));
        }
        let modified = fields(changes, INSTANCE).map(modification);
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
        let visible = if balancer { VISIBLE_SECONDS } else { 0.0 };
        let active = if balancer { self.create("alb") } else { 0.0 };
        // The step attaches a web ACL once the load balancer is active, while ACM validates the certificate.
        let is_filtered = self.spec.load_balancer.as_ref().is_some_and(|each| each.web_acl_arn.is_some());
        if is_filtered {
            return (self.calls(changes) + certificate.max(active) + visible, 0.0);
        }
        (self.calls(changes) + certificate + visible, active)
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
        // A change of the type stops and starts the instance.
        let other_type = fields(changes, INSTANCE).any(|field| field.field == "type");
        if other_type { (STEP_SECONDS + changes::INSTANCE_STOP, boots) } else { (STEP_SECONDS, 0.0) }
    }

    /// The step's duration, and how long the slowest service takes to become stable after it.
    fn service(&self, changes: &[Change]) -> (f64, f64) {
        // A service runs in every zone, so a changed number of zones causes a rollout.
        let moves = self.baseline.is_some_and(|baseline| baseline.network.zones != self.spec.network.zones);
        let services = self.spec.services.iter().map(|(name, service)| {
            let logical_id = format!("service/{name}");
            let unchecked = service.is_worker() && service.health_check.command.is_empty();
            let unchecked = if unchecked { UNCHECKED_SECONDS } else { 0.0 };
            let stable = self.create("ecs_service_steady_after_alb_active") + unchecked;
            let drained = if service.is_worker() { 0.0 } else { DRAINING_SECONDS };
            let existed = self.baseline.is_some_and(|baseline| baseline.services.contains_key(name));
            if creates(changes, &logical_id) {
                stable
            } else if existed && moves || fields(changes, &logical_id).any(|field| rolls_out(&field.field)) {
                // ECS stops the old tasks once the new ones are healthy.
                stable + drained + changes::TASK_STOP
            } else if existed && fields(changes, &format!("scalable-target/{name}")).any(grows) {
                stable
            } else {
                0.0
            }
        });
        (self.calls(changes), services.fold(0.0, f64::max))
    }

    /// The duration of creating the roles, log groups and cluster of the services.
    fn service_foundations(&self, changes: &[Change]) -> f64 {
        let creates = ["role/", "cluster", "log-group/"].iter().any(|kind| creates(changes, kind));
        STEP_SECONDS + if creates { self.create("iam_role") } else { 0.0 }
    }

    /// The duration of the pruning.
    fn pruning(&self, plan: &[ComponentPlan]) -> f64 {
        let deletes = |name: &str, logical_id: &str| {
            plan.iter().filter(|component| component.component == name).any(|component| {
                let mut changes = component.plan.changes.iter();
                changes.any(|change| change.verb == Verb::Delete && change.resource.starts_with(logical_id))
            })
        };
        let snapshot = self.baseline.and_then(|baseline| baseline.database.as_ref());
        let snapshot =
            if snapshot.is_some_and(|database| database.final_snapshot) { SNAPSHOT_SECONDS } else { 0.0 };
        let durations = [
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
        durations
            .iter()
            .filter(|(name, logical_id, _)| deletes(name, logical_id))
            .map(|(_, _, seconds)| *seconds)
            .fold(0.0, f64::max)
    }
}

/// Whether an update of this field of a service causes a rollout.
fn rolls_out(field: &str) -> bool {
    const ROLLING: [&str; 9] = [
        "taskDefinition",
        "image",
        "rollout",
        "routes",
        "exec",
        "subnets",
        "securityGroups",
        "publicAddress",
        "tasks",
    ];
    ROLLING.contains(&field)
}

/// Whether the update increases the minimum number of tasks.
fn grows(field: &FieldChange) -> bool {
    let numbers = field.from.parse::<u32>().ok().zip(field.to.parse::<u32>().ok());
    field.field == "min" && numbers.is_some_and(|(from, to)| from < to)
}

/// How long RDS takes to change a field of the database.
fn modification(FieldChange { field, from, to }: &FieldChange) -> u32 {
    let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    match field.as_str() {
        "class" => changes::DATABASE_CLASS,
        "multiAz" if to == "true" => changes::DATABASE_STANDBY_ADDED,
        "multiAz" => changes::DATABASE_STANDBY_REMOVED,
        "version" if major(from) == major(to) => changes::DATABASE_MINOR_VERSION,
        "version" => changes::DATABASE_MAJOR_VERSION,
        "status" => changes::DATABASE_START,
        "parameters" => changes::DATABASE_REBOOT,
        "securityGroups" | "parameterGroup" => changes::DATABASE_GROUPS,
        field if field.starts_with("tags.") || field == "deletionProtection" => 0,
        _ => changes::DATABASE_SETTING,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::deployment::component_names::{
        DATABASE, EGRESS, INSTANCE as INSTANCES, LOAD_BALANCER, NETWORK, SECURITY_GROUPS, SERVICE,
    };
    use crate::deployment::plan::Plan;

    /// The example; one of its services, `mailer`, is a worker.
    fn shop() -> Spec {
        let mut spec = Spec::read(include_str!("../../../../specs/shop.yaml").as_bytes()).unwrap();
        let worker = Spec::read(include_str!("../../../../specs/private.yaml").as_bytes()).unwrap();
        spec.services.insert("mailer".into(), worker.services["mailer"].clone());
        spec
    }

    fn without_services() -> Spec {
        Spec { services: BTreeMap::new(), ..shop() }
    }

    /// The duration of a plan with one change, beyond that of a plan whose steps find nothing to do.
    fn beyond(spec: &Spec, component: &str, verb: Verb, resource: &str, field: Option<[&str; 3]>) -> f64 {
        let fields = field.into_iter().map(|[field, from, to]| FieldChange::new(field, from, to)).collect();
        let change = Change { verb, resource: resource.into(), fields };
        let plan = Plan { changes: vec![change], ..Plan::default() };
        let plan = ComponentPlan { component: component.into(), plan };
        seconds_of(&[plan], spec, Some(spec)) - AROUND_SECONDS - 8.0 * STEP_SECONDS
    }

    fn assert_seconds(actual: f64, expected: f64, what: &str) {
        assert!((actual - expected).abs() < 1e-6, "{what}: {actual} s, expected {expected} s");
    }

    #[test]
    fn each_created_or_deleted_resource_takes_its_own_time() {
        let (spec, model) = (without_services(), LatencyModel::built_in());
        let create = |resource: &str| model.create_seconds(resource);
        let delete = |resource: &str| model.delete_seconds(resource);
        let call = create("api_control_call");
        let certificate = create("route53_record_insync") + create("acm_certificate_dns_validated");
        let boots = create("ec2_instance_running") + create("ssm_agent_online_after_running");
        let profile = create("iam_instance_profile_visible_to_ec2");
        let database = create("db_subnet_group") + create("rds_postgres_single_az");
        // What runs after the step goes on while AWS creates the resource.
        let beside = |steps: f64| -steps * STEP_SECONDS;
        for (component, verb, resource, expected) in [
            (NETWORK, Verb::Create, "vpc", call + create("vpc")),
            (NETWORK, Verb::Create, "subnet/private/a", call + create("subnet") + VISIBLE_SECONDS),
            (NETWORK, Verb::Delete, "subnet/private/c", call),
            (SECURITY_GROUPS, Verb::Create, "database", create("security_group") + 1.0),
            (SECURITY_GROUPS, Verb::Update, "database", 0.0),
            (DATABASE, Verb::Create, "instance", VISIBLE_SECONDS + database + beside(5.0)),
            (LOAD_BALANCER, Verb::Create, "certificate", call + certificate),
            (
                LOAD_BALANCER,
                Verb::Create,
                "load-balancer",
                call + VISIBLE_SECONDS + create("alb") + beside(3.0),
            ),
            (EGRESS, Verb::Create, "nat/a", VISIBLE_SECONDS + create("nat_gateway")),
            (EGRESS, Verb::Create, "endpoint/logs", VISIBLE_SECONDS + create("vpc_endpoint_interface")),
            (EGRESS, Verb::Update, "nat/a", 0.0),
            (INSTANCES, Verb::Create, "instance", profile + boots + beside(1.0)),
            (SERVICE, Verb::Create, "role/task", call + create("iam_role") + ROLES_SECONDS + beside(3.0)),
            (SERVICE, Verb::Create, "cluster", call + create("iam_role")),
            (SERVICE, Verb::Create, "log-group/web", call + create("iam_role")),
            (DATABASE, Verb::Delete, "instance", delete("rds_postgres_single_az") + SNAPSHOT_SECONDS),
            (LOAD_BALANCER, Verb::Delete, "load-balancer", call + delete("alb")),
            (EGRESS, Verb::Delete, "nat/a", delete("nat_gateway")),
            (EGRESS, Verb::Delete, "endpoint/logs", delete("vpc_endpoint_interface")),
            (INSTANCES, Verb::Delete, "instance", delete("ec2_instance_running")),
        ] {
            let what = format!("{component}: {verb:?} {resource}");
            assert_seconds(beyond(&spec, component, verb, resource, None), expected, &what);
        }
    }

    #[test]
    fn each_update_of_a_database_or_instance_takes_its_own_time() {
        let (spec, model) = (without_services(), LatencyModel::built_in());
        for (field, from, to, expected) in [
            ("class", "db.t4g.micro", "db.t4g.small", changes::DATABASE_CLASS),
            ("multiAz", "false", "true", changes::DATABASE_STANDBY_ADDED),
            ("multiAz", "true", "false", changes::DATABASE_STANDBY_REMOVED),
            ("version", "17.4", "17.9", changes::DATABASE_MINOR_VERSION),
            ("version", "17.9", "18.1", changes::DATABASE_MAJOR_VERSION),
            ("status", "stopped", "available", changes::DATABASE_START),
            ("parameters", "a", "b", changes::DATABASE_REBOOT),
            ("securityGroups", "a", "b", changes::DATABASE_GROUPS),
            ("parameterGroup", "a", "b", changes::DATABASE_GROUPS),
            ("backupDays", "7", "8", changes::DATABASE_SETTING),
            ("deletionProtection", "false", "true", 0),
            ("tags.team", "shop", "books", 0),
        ] {
            let expected = f64::from(expected + changes::DATABASE_ACCEPTED) - 5.0 * STEP_SECONDS;
            let took = beyond(&spec, DATABASE, Verb::Update, "instance", Some([field, from, to]));
            assert_seconds(took, expected, &format!("{field}: {from} -> {to}"));
        }
        let boots = model.create_seconds("ec2_instance_running")
            + model.create_seconds("ssm_agent_online_after_running");
        for (field, expected) in [("type", changes::INSTANCE_STOP + boots - STEP_SECONDS), ("disk", 0.0)] {
            let took = beyond(&spec, INSTANCES, Verb::Update, "instance", Some([field, "a", "b"]));
            assert_seconds(took, expected, field);
        }
    }

    #[test]
    fn services_take_the_time_of_their_rollout_and_other_changes_of_them_one_call() {
        let (spec, model) = (shop(), LatencyModel::built_in());
        let call = model.create_seconds("api_control_call");
        let steady = model.create_seconds("ecs_service_steady_after_alb_active");
        let rollout = steady + DRAINING_SECONDS + changes::TASK_STOP;
        let update = |resource: &str, field: &str, from: &str, to: &str| {
            beyond(&spec, SERVICE, Verb::Update, resource, Some([field, from, to]))
        };
        for field in ["taskDefinition", "rollout", "routes", "exec", "subnets", "securityGroups", "tasks"] {
            assert_seconds(update("service/web", field, "a", "b"), call + rollout, field);
        }
        assert_seconds(update("service/web", "tags.team", "a", "b"), call, "a tag");
        assert_seconds(update("scalable-target/web", "min", "2", "4"), call + steady, "more tasks");
        assert_seconds(update("scalable-target/web", "min", "4", "2"), call, "fewer tasks");
        assert_seconds(update("scalable-target/web", "min", "2", "2"), call, "as many tasks");
        assert_seconds(update("scalable-target/web", "max", "2", "4"), call, "the most tasks");
        assert_seconds(update("role/execution", "policy", "a", "b"), call + ROLES_SECONDS, "access");
        assert_seconds(update("role/execution", "trust", "a", "b"), call, "trust");
        let worker = steady + UNCHECKED_SECONDS;
        for (verb, resource, field, expected) in [
            (Verb::Create, "service/web", None, steady),
            (Verb::Create, "service/mailer", None, worker),
            (Verb::Update, "service/mailer", Some(["taskDefinition", "a", "b"]), worker + changes::TASK_STOP),
            (Verb::Restart, "service/web", Some(["tasks", "a", "b"]), rollout),
        ] {
            let what = format!("{verb:?} {resource}");
            assert_seconds(beyond(&spec, SERVICE, verb, resource, field), call + expected, &what);
        }
    }

    #[test]
    fn a_first_deployment_takes_at_least_its_longest_path() {
        let model = LatencyModel::built_in();
        let call = model.create_seconds("api_control_call");
        let created = |resource: &str| model.create_seconds(resource) + call;
        let full = shop();
        let bare = Spec { load_balancer: None, instance: None, database: None, ..without_services() };
        let subnets = created("vpc") + created("subnet");
        let public = subnets.max(created("vpc") + created("internet_gateway"));
        let egress = public + created("nat_gateway");
        assert_seconds(seconds_of_first(&bare), egress, "the network");
        let instance = Spec { instance: full.instance.clone(), ..bare.clone() };
        let boots = created("ec2_instance_running") + model.create_seconds("ssm_agent_online_after_running");
        assert_seconds(seconds_of_first(&instance), egress + boots, "an instance");
        let mut private = instance.clone();
        private.network.nat = Nat::None;
        let endpoints = subnets + created("vpc_endpoint_interface");
        assert_seconds(seconds_of_first(&private), endpoints + boots, "an instance without a NAT gateway");
        let mut database = Spec { database: full.database.clone(), ..bare.clone() };
        let rds = model.create_seconds("rds_postgres_single_az");
        let before = subnets + created("db_subnet_group") + call;
        assert_seconds(seconds_of_first(&database), before + rds, "a database");
        database.database = database.database.map(|database| Database { multi_az: true, ..database });
        assert_seconds(seconds_of_first(&database), before + rds * MULTI_AZ_FACTOR, "a standby");
        let steady =
            created("ecs_service_create_call") + model.create_seconds("ecs_service_steady_after_alb_active");
        let of_balancer = Spec { load_balancer: full.load_balancer.clone(), ..bare.clone() };
        let balancer = public + created("alb");
        assert_seconds(seconds_of_first(&of_balancer), balancer.max(egress), "a load balancer");
        let only = |name: &str| BTreeMap::from([(name.to_owned(), full.services[name].clone())]);
        let worker = Spec { services: only("mailer"), ..of_balancer.clone() };
        assert_seconds(seconds_of_first(&worker), (egress + steady).max(balancer), "a worker");
        let mut web = Spec { services: only("web"), ..of_balancer };
        assert_seconds(seconds_of_first(&web), egress.max(balancer) + steady, "a service");
        web.database.clone_from(&full.database);
        assert_seconds(seconds_of_first(&web), before + rds + steady, "a service with a database");
    }
}
