//! What follows in one component from a change in another is in the plan. After each deployment, the rehearsal itself compares
//! the calls with the plan.

use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::deployment::plan::ComponentPlan;
use stackdrop_functions::deployment::summary;
use stackdrop_statemachine::Abort;

use crate::{SHOP, StopAt, changes, deployed, object, pause, redeploy, rehearsal, run, unprotected, with};

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

/// Deletes the example's database without a snapshot, and waits until it is gone.
async fn delete_the_database(rehearsal: &Rehearsal) {
    let rds = rehearsal.aws().rds();
    let call = rds.delete_db_instance().db_instance_identifier("shop-database").skip_final_snapshot(true);
    call.send().await.unwrap();
    pause(Duration::from_mins(30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_created_again_gives_its_secret_to_the_tasks_and_the_plan_says_so() {
    let spec = unprotected();
    let rehearsal = rehearsal(&spec);
    deployed(&rehearsal, &spec).await;
    let before = secret(&rehearsal).await;
    delete_the_database(&rehearsal).await;
    let repaired = redeploy(&rehearsal).await;
    assert_eq!(repaired.result(), Outcome::Succeeded, "{:?}", repaired.error());
    let plan = planned(&rehearsal).await;
    assert_names(&plan, &["database: create instance"]);
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
