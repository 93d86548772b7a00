//! What follows in one component from a change in another is in the plan. After each deployment, the rehearsal itself compares
//! the calls with the plan.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::deployment::plan::ComponentPlan;
use stackdrop_functions::deployment::summary;
use stackdrop_functions::{COMPONENTS, handle};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::{
    PRIVATE, SHOP, StopAt, admitted_state, changes, deployed, object, pause, redeploy, rehearsal, run,
    unprotected, with,
};

/// The changes of the last plan in the record of the stack's last deployment, one line each.
async fn planned(rehearsal: &Rehearsal) -> Vec<String> {
    let record = object(rehearsal, "stacks/shop/status.json").await.unwrap();
    let plan: Vec<ComponentPlan> = serde_json::from_value(record["plan"].clone()).unwrap();
    summary::changes(&plan)
}

/// The ARN of the secret of the example's database.
async fn secret(rehearsal: &Rehearsal) -> String {
    let call = rehearsal.aws().rds().describe_db_instances().db_instance_identifier("shop-database");
    let db = call.send().await.unwrap().db_instances.unwrap().remove(0);
    db.master_user_secret().unwrap().secret_arn().unwrap().to_owned()
}

/// The container of the tasks of the service `web`.
async fn container(rehearsal: &Rehearsal) -> aws_sdk_ecs::types::ContainerDefinition {
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let service = ecs.describe_services().cluster("shop").services("web").send().await.unwrap();
    let revision = service.services()[0].task_definition().unwrap().to_owned();
    let definition = ecs.describe_task_definition().task_definition(revision).send().await.unwrap();
    definition.task_definition.unwrap().container_definitions.unwrap().remove(0)
}

/// The secret from which a variable of the tasks comes.
async fn read_by_tasks(rehearsal: &Rehearsal, variable: &str) -> String {
    let container = container(rehearsal).await;
    container.secrets().iter().find(|from| from.name() == variable).unwrap().value_from().to_owned()
}

/// Fails unless a line of the plan has all texts.
fn assert_names(plan: &[String], texts: &[&str]) {
    let found = plan.iter().any(|line| texts.iter().all(|text| line.contains(text)));
    assert!(found, "no line has {texts:?}: {plan:#?}");
}

async fn assert_nothing_to_do(rehearsal: &Rehearsal) {
    let next = redeploy(rehearsal).await;
    assert_eq!((next.result(), changes(&next)), (Outcome::Succeeded, Vec::new()), "{:?}", next.error());
}

/// The snapshot of the deleted database.
const SNAPSHOT: &str = "shop-database-last";

/// Deletes the example's database with a snapshot, and waits until it is gone.
async fn delete_the_database(rehearsal: &Rehearsal) {
    let rds = rehearsal.aws().rds();
    let call = rds.delete_db_instance().db_instance_identifier("shop-database");
    call.final_db_snapshot_identifier(SNAPSHOT).send().await.unwrap();
    pause(Duration::from_mins(30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_restored_gives_its_secret_to_the_tasks_and_the_plan_says_so() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let before = secret(&rehearsal).await;
    delete_the_database(&rehearsal).await;
    let restored = format!("finalSnapshot: true\n  restoreFrom: {SNAPSHOT}");
    deployed(&rehearsal, &with(&spec, "finalSnapshot: true", &restored)).await;
    let plan = planned(&rehearsal).await;
    assert_names(&plan, &["database: create instance", "restoreFrom", SNAPSHOT]);
    assert_names(&plan, &["update task-definition/web", "secrets.DB_PASSWORD", "(new)"]);
    assert_names(&plan, &["update service/web", "a new revision"]);
    assert_names(&plan, &["update role/execution", "the database's new secret"]);
    assert_names(&plan, &["delete role/execution (access to", &before]);
    let after = secret(&rehearsal).await;
    assert_ne!(after, before);
    assert_eq!(read_by_tasks(&rehearsal, "DB_PASSWORD").await, format!("{after}:password::"));
    assert_nothing_to_do(&rehearsal).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_get_the_secret_of_a_database_whose_password_management_was_turned_off_and_on() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = secret(&rehearsal).await;
    let modify = || rehearsal.aws().rds().modify_db_instance().db_instance_identifier("shop-database");
    let off = modify().manage_master_user_password(false).master_user_password("correct-horse-battery");
    off.apply_immediately(true).send().await.unwrap();
    pause(Duration::from_mins(10)).await;
    modify().manage_master_user_password(true).apply_immediately(true).send().await.unwrap();
    pause(Duration::from_mins(10)).await;
    let after = secret(&rehearsal).await;
    assert_ne!(after, before);
    let repaired = redeploy(&rehearsal).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert_names(
        &planned(&rehearsal).await,
        &["task-definition/web", "secrets.DB_USER", &after[after.len() - 20..]],
    );
    assert_eq!(read_by_tasks(&rehearsal, "DB_USER").await, format!("{after}:username::"));
    assert_nothing_to_do(&rehearsal).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_host_that_was_changed_by_hand_in_a_task_definition_is_put_right() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let ecs = aws_sdk_ecs::Client::new(rehearsal.sdk());
    let found = ecs.describe_task_definition().task_definition("stackdrop-shop_web").send().await.unwrap();
    let right = found.task_definition.unwrap();
    let mut container = right.container_definitions.unwrap().remove(0);
    for pair in container.environment.iter_mut().flatten().filter(|pair| pair.name() == Some("DB_HOST")) {
        pair.value = Some("db.elsewhere.example.com".into());
    }
    let register =
        ecs.register_task_definition().family("stackdrop-shop_web").container_definitions(container);
    let register = register
        .network_mode(aws_sdk_ecs::types::NetworkMode::Awsvpc)
        .requires_compatibilities(aws_sdk_ecs::types::Compatibility::Fargate)
        .set_cpu(right.cpu)
        .set_memory(right.memory)
        .set_execution_role_arn(right.execution_role_arn)
        .set_task_role_arn(right.task_role_arn)
        .set_tags(found.tags);
    register.send().await.unwrap();
    let update = ecs.update_service().cluster("shop").service("web").task_definition("stackdrop-shop_web");
    update.send().await.unwrap();
    pause(Duration::from_mins(10)).await;
    let repaired = redeploy(&rehearsal).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    assert_names(&planned(&rehearsal).await, &["task-definition/web", "environment.DB_HOST", "db.elsewhere"]);
    let environment = self::container(&rehearsal).await.environment.unwrap();
    let host = environment.iter().find(|pair| pair.name() == Some("DB_HOST")).unwrap();
    assert!(host.value().unwrap().starts_with("shop-database."), "{host:?}");
    assert_nothing_to_do(&rehearsal).await;
}

#[tokio::test(start_paused = true)]
async fn a_third_zone_moves_the_load_balancer_the_database_subnets_and_the_tasks_in_the_plan() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    deployed(&rehearsal, &with(SHOP, "zones: 2", "zones: 3")).await;
    let plan = planned(&rehearsal).await;
    assert_names(&plan, &["load-balancer: update load-balancer", "zones: 2 -> 3"]);
    assert_names(&plan, &["database: update subnet-group", "subnets"]);
    assert_names(&plan, &["service: update service/web", "subnets"]);
    assert_nothing_to_do(&rehearsal).await;
}

#[tokio::test(start_paused = true)]
async fn the_deletion_protection_that_an_interrupted_deployment_left_off_is_in_the_next_plan() {
    let kept = with(SHOP, "onFailure: rollback", "onFailure: keep");
    let rehearsal = rehearsal(&kept);
    let event = rehearsal.upload("specs/shop.yaml", kept.as_bytes()).await.unwrap();
    let abort = Abort::default();
    rehearsal.run(event, &StopAt("LoadBalancer", abort.clone()), &abort).await;
    let next = run(&rehearsal, json!({ "stack": "shop" })).await;
    assert_eq!(next.result(), Outcome::Succeeded, "{:?}", next.error());
    let plan = planned(&rehearsal).await;
    assert_names(&plan, &["database: update instance", "deletionProtection: false -> true"]);
    assert_names(&plan, &["database: wait for instance"]);
}

#[tokio::test(start_paused = true)]
async fn the_state_does_not_keep_what_only_the_review_needs() {
    let rehearsal = rehearsal(SHOP);
    let deployed = deployed(&rehearsal, SHOP).await;
    let state = deployed.outcome.input_of("Network").unwrap();
    let plan: &Vec<Value> = state["plan"].as_array().unwrap();
    assert!(plan.iter().all(|of| of.get("database").is_none() && of.get("tasks").is_none()), "{plan:?}");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_being_changed_restarts_the_services_in_the_plan() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    crate::cause(&rehearsal, "secret-rotated");
    let next = redeploy(&rehearsal).await;
    assert_eq!(next.result(), Outcome::Succeeded, "{:?}", next.error());
    assert_names(&planned(&rehearsal).await, &["service: restart service/web", "is being changed"]);
    assert!(rehearsal.account().outdated_tasks().iter().all(|task| task.until.is_some()));
}

/// The last deployment's outputs, as far as other components use them.
fn outputs() -> Value {
    json!({
        "network": {
            "vpc": "vpc-1", "publicSubnets": { "a": "public-a", "b": "public-b" },
            "privateSubnets": { "a": "private-a" }, "databaseSubnets": { "a": "data-a", "b": "data-b" },
            "privateTables": {},
        },
        "securityGroups": {
            "loadBalancer": "sg-1", "database": "sg-2", "endpoints": "sg-3", "instance": "sg-4", "service": "sg-5",
        },
        "loadBalancer": { "targetGroups": { "web": "group-1", "api": "group-2" } },
    })
}

/// The lines of the plan after the review of a plan that creates these resources of components.
async fn reviewed(
    rehearsal: &Rehearsal,
    spec: &Spec,
    created: &[(&str, &str)],
    destroying: bool,
) -> Vec<String> {
    let of = |component: &str| {
        let own = created.iter().filter(|(of, _)| *of == component);
        let changes: Vec<Value> =
            own.map(|(_, resource)| json!({ "verb": "create", "resource": resource })).collect();
        json!({ "component": component, "changes": changes, "problems": [] })
    };
    let mut state = admitted_state(spec);
    state["destroying"] = json!(destroying);
    state["baseline"] =
        json!({ "deployment": "earlier", "version": "0", "spec": spec, "outputs": outputs() });
    state["plan"] = COMPONENTS.iter().map(|component| of(component.name)).collect();
    let payload = json!({ "action": "review", "deployment": state });
    let answer = handle("admit", payload, rehearsal.aws()).await.unwrap();
    let plan: Vec<ComponentPlan> = serde_json::from_value(answer["plan"].clone()).unwrap();
    summary::changes(&plan)
}

#[tokio::test(start_paused = true)]
async fn a_new_subnet_security_group_or_target_group_is_entered_where_it_is_used() {
    let mut spec = Spec::read(PRIVATE.as_bytes()).unwrap();
    spec.instance = Spec::read(SHOP.as_bytes()).unwrap().instance;
    spec.services.retain(|name, _| name != "mailer");
    let rehearsal = rehearsal(PRIVATE);
    for (component, resource, expected) in [
        (
            "network",
            "subnet/public/c",
            vec!["load-balancer: update load-balancer (subnets: public-a, public-b -> (new))"],
        ),
        (
            "network",
            "subnet/database/c",
            vec!["database: update subnet-group (subnets: data-a, data-b -> (new))"],
        ),
        (
            "network",
            "subnet/private/c",
            vec![
                "egress: update endpoint/ecr.api (subnets: private-a -> (new))",
                "egress: update endpoint/ssmmessages (subnets: private-a -> (new))",
                "service: update service/api (subnets: private-a -> (new))",
                "service: update service/web (subnets: private-a -> (new))",
            ],
        ),
        (
            "security-groups",
            "load-balancer",
            vec!["load-balancer: update load-balancer (securityGroups: sg-1 -> (new))"],
        ),
        ("security-groups", "database", vec!["database: update instance (securityGroups: sg-2 -> (new))"]),
        ("security-groups", "endpoints", vec!["egress: update endpoint/ssm (securityGroups: sg-3 -> (new))"]),
        ("security-groups", "instance", vec!["instance: update instance (securityGroups: sg-4 -> (new))"]),
        (
            "security-groups",
            "service",
            vec![
                "service: update service/api (securityGroups: sg-5 -> (new))",
                "service: update service/web (securityGroups: sg-5 -> (new))",
            ],
        ),
        ("load-balancer", "target-group/web", vec!["service: update service/web (routes: group-1 -> (new))"]),
        ("load-balancer", "target-group/api", vec!["service: update service/api (routes: group-2 -> (new))"]),
        ("network", "route-table/public", vec![]),
        ("network", "vpc", vec![]),
    ] {
        let lines = reviewed(&rehearsal, &spec, &[(component, resource)], false).await;
        for line in &expected {
            assert!(
                lines.contains(&(*line).to_owned()),
                "{component} {resource}: {line} is not in {lines:#?}"
            );
        }
        let is_cause = |line: &&String| **line == format!("{component}: create {resource}");
        let followers = lines.iter().filter(|line| !is_cause(line));
        let each =
            if resource.ends_with("endpoints") || resource.starts_with("subnet/private") { 6 } else { 0 };
        let others = expected.iter().filter(|line| !line.starts_with("egress")).count();
        assert_eq!(followers.count(), each + others, "{component} {resource}: {lines:#?}");
        let destroyed = reviewed(&rehearsal, &spec, &[(component, resource)], true).await;
        assert_eq!(destroyed, [format!("{component}: create {resource}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_created_itself_is_not_updated_with_what_it_uses() {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let rehearsal = rehearsal(SHOP);
    let created = [
        ("network", "subnet/public/c"),
        ("security-groups", "load-balancer"),
        ("security-groups", "service"),
        ("load-balancer", "load-balancer"),
        ("load-balancer", "target-group/web"),
        ("service", "service/web"),
    ];
    let lines = reviewed(&rehearsal, &spec, &created, false).await;
    assert_eq!(lines, created.map(|(component, resource)| format!("{component}: create {resource}")));
}

#[tokio::test(start_paused = true)]
async fn tasks_follow_the_host_secret_and_password_of_the_database_as_far_as_they_use_them() {
    let rehearsal = rehearsal(SHOP);
    let revision = "service: update service/web (taskDefinition: shop_web:1 -> a new revision)";
    let pruned = "service: delete task-definition/web (shop_web:1)";
    let tasks = |is_pruned: bool, host: Value, secret: Value| json!({ "revision": "shop_web:1", "isPruned": is_pruned, "host": host, "secret": secret });
    let database = |host: &str, secret: &str, rotates: bool| json!({ "host": host, "secret": secret, "rotates": rotates });
    for (variables, used, now, expected) in [
        (
            json!({ "DB_PASSWORD": "password" }),
            tasks(true, json!(null), json!("arn:old")),
            database("db.old", "arn:old", true),
            vec!["service: restart service/web (tasks: with a password that is being changed -> new ones)"],
        ),
        (
            json!({ "DB_USER": "username" }),
            tasks(true, json!(null), json!("arn:old")),
            database("db.old", "arn:old", true),
            vec![],
        ),
        (
            json!({ "DB_HOST": "host" }),
            tasks(true, json!("db.old"), json!(null)),
            database("db.new", "arn:new", false),
            vec![
                "service: update task-definition/web (environment.DB_HOST: db.old -> db.new)",
                revision,
                pruned,
            ],
        ),
        (
            json!({ "DB_HOST": "host" }),
            tasks(false, json!("db.old"), json!(null)),
            database("db.new", "arn:new", false),
            vec!["service: update task-definition/web (environment.DB_HOST: db.old -> db.new)", revision],
        ),
        (
            json!({ "DB_PASSWORD": "password" }),
            tasks(true, json!(null), json!("arn:old")),
            database("db.new", "arn:new", false),
            vec![
                "service: update task-definition/web (secrets.DB_PASSWORD: arn:old -> arn:new)",
                revision,
                pruned,
                "service: update role/execution (policy: access to the previous secret -> access to the database's new secret)",
                "service: delete role/execution (access to arn:old)",
            ],
        ),
        (
            json!({ "DB_HOST": "host" }),
            tasks(true, json!(null), json!(null)),
            database("db.new", "arn:new", false),
            vec![],
        ),
        (
            json!({ "DB_PORT": "port" }),
            tasks(true, json!("db.old"), json!("arn:old")),
            database("db.new", "arn:new", false),
            vec![],
        ),
    ] {
        let mut spec = json!(Spec::read(SHOP.as_bytes()).unwrap());
        spec["services"]["web"]["database"] = variables.clone();
        let mut state = admitted_state(&serde_json::from_value(spec).unwrap());
        state["plan"] = json!([
            { "component": "database", "changes": [], "problems": [], "database": now },
            { "component": "service", "changes": [], "problems": [], "tasks": { "web": used } },
        ]);
        let payload = json!({ "action": "review", "deployment": state });
        let answer = handle("admit", payload, rehearsal.aws()).await.unwrap();
        let plan: Vec<ComponentPlan> = serde_json::from_value(answer["plan"].clone()).unwrap();
        assert_eq!(summary::changes(&plan), expected, "{variables}");
    }
}
