//! The services: creation, reads, repairs, rollouts, rollbacks and deletion.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do is a failure of the test that asked for it")]

#[path = "../common/mod.rs"]
mod common;

mod deletion; // deletion, its order, and resources that the stack does not manage
mod failures; // failed rollouts and their diagnosis
mod limits; // limits and defaults of ECS
mod manual_changes; // changes by hand or by other tools
mod preflight; // preflight checks of a plan
mod prepare; // what is applied before the step of the services
mod restarts; // new tasks of the same task definition
mod role_access; // what the execution role may access

use std::collections::BTreeSet;

use common::{act, apply, aws, deployment, until_done, writes};
use serde_json::{Value, json};
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Account, Fault, FaultKind, Seed, When};

const NAME: &str = "service";
const CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";
const TOKEN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/token-AbCdEf";

/// An image in the account's own registry.
const MAIL: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/mail:1";

/// A spec with one service without routes.
const WORKER: &str = "
stack: shop
services:
  mail: { image: mail, count: 1 }
";

/// A spec with one service behind the load balancer, with auto scaling and a secret.
const WEB: &str = "
stack: shop
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555
services:
  web:
    image: web
    port: 8080
    routes: [{ path: /* }]
    scaling: { min: 2, max: 6 }
    environment: { LOG_LEVEL: info }
    secrets: { TOKEN: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/token-AbCdEf:token::' }
";

fn account() -> Account {
    let account = common::account();
    account.seed(&Seed::Certificate { arn: CERTIFICATE.into(), domain: "*.example.com".into() });
    account.seed(&Seed::Secret { arn: TOKEN.into() });
    account.seed(&Seed::CrashingImage { image: "crashing".into(), exit_code: 3 });
    account.seed(&Seed::UnhealthyImage { image: "sick".into() });
    account.seed(&Seed::NoSuchImage { image: "missing".into() });
    account.seed(&Seed::Image { image: MAIL.into() });
    account
}

/// Applies the components that the services need.
async fn prepared(account: &Account, spec: &str) -> (Aws, Value) {
    let aws = aws(account);
    let mut deployment = deployment(spec);
    apply(&aws, &["network", "security-groups", "load-balancer", "egress"], &mut deployment).await;
    deployment["outputs"]["egress"] =
        until_done(&aws, "egress", "wait-until-stable", &deployment).await.unwrap();
    (aws, deployment)
}

/// An account with the spec's stable services.
async fn deployed(spec: &str) -> (Account, Aws, Value) {
    let account = account();
    let (aws, mut deployment) = prepared(&account, spec).await;
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    (account, aws, deployment)
}

async fn wait_until_stable(aws: &Aws, deployment: &Value) -> Result<Value, StepError> {
    until_done(aws, NAME, "wait-until-stable", deployment).await
}

/// Applies the next deployment, with a changed spec, up to the services.
async fn next(aws: &Aws, deployment: &Value, id: &str, spec: &str) -> Value {
    let mut next = changed(deployment, id, spec);
    apply(aws, &["network", "security-groups", "load-balancer", "egress", NAME], &mut next).await;
    next
}

/// The next deployment, with a changed spec, before any of its steps.
fn changed(deployment: &Value, id: &str, spec: &str) -> Value {
    let mut next = common::deployment(spec);
    next["id"] = json!(id);
    // Later than everything that earlier deployments started.
    next["started"] = json!("2026-06-01T00:00:00Z");
    next["outputs"] = deployment["outputs"].clone();
    next["baseline"] = json!({
        "deployment": deployment["id"], "version": "1",
        "spec": deployment["spec"], "outputs": deployment["outputs"],
    });
    next
}

/// The planned changes as lines such as `update service/web count`.
async fn changes(aws: &Aws, deployment: &Value) -> Vec<String> {
    let mut deployment = deployment.clone();
    deployment["outputs"] = json!({});
    let plan = act(aws, NAME, "plan", &deployment).await.unwrap();
    assert_eq!(plan["problems"], json!([]), "{plan}");
    let mut lines = Vec::new();
    for change in plan["changes"].as_array().unwrap() {
        let line = format!("{} {}", change["verb"].as_str().unwrap(), change["resource"].as_str().unwrap());
        match change["fields"].as_array() {
            Some(fields) => lines
                .extend(fields.iter().map(|field| format!("{line} {}", field["field"].as_str().unwrap()))),
            None => lines.push(line),
        }
    }
    lines
}

/// The types and names of the component's existing resources.
fn inventory(account: &Account) -> BTreeSet<String> {
    let items = account.inventory();
    let ours = items.iter().filter(|item| item.component == NAME);
    ours.map(|item| format!("{} {}", item.kind, item.name)).collect()
}

/// Another `apply` writes nothing, and the plan is empty.
async fn assert_nothing_to_do(account: &Account, aws: &Aws, deployment: &Value) {
    let before = writes(account).len();
    let outputs = until_done(aws, NAME, "apply", deployment).await.unwrap();
    assert_eq!(writes(account)[before..], [] as [String; 0]);
    assert_eq!(outputs, deployment["outputs"][NAME]);
    assert_eq!(changes(aws, deployment).await, [] as [&str; 0]);
}

fn refused(operation: &str) -> Fault {
    let kind = FaultKind::Refused { code: "AccessDeniedException".into(), message: "no".into() };
    Fault::at("ecs", operation, When::Only(1), kind)
}

/// The problems of a plan, each as `resource: why; fix`.
async fn problems(aws: &Aws, deployment: &Value) -> Vec<String> {
    let mut deployment = deployment.clone();
    deployment["outputs"] = json!({});
    let plan = act(aws, NAME, "plan", &deployment).await.unwrap();
    let text = |problem: &Value, field: &str| problem[field].as_str().unwrap().to_owned();
    let problems = plan["problems"].as_array().unwrap().iter();
    problems
        .map(|one| format!("{}: {}; {}", text(one, "resource"), text(one, "why"), text(one, "fix")))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_worker_starts_in_an_account_without_ecs_service_linked_role() {
    let account = account();
    let (aws, mut deployment) = prepared(&account, WORKER).await;
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "create AWSServiceRoleForECS (of the account)",
            "create role/execution",
            "create role/task",
            "create cluster",
            "create log-group/mail",
            "create task-definition/mail",
            "create service/mail",
        ]
    );
    apply(&aws, &[NAME], &mut deployment).await;
    let stable = wait_until_stable(&aws, &deployment).await.unwrap();
    assert_eq!(stable, deployment["outputs"][NAME]);
    let expected = [
        "AWS::ECS::Cluster shop",
        "AWS::ECS::Service mail",
        "AWS::ECS::TaskDefinition stackdrop-shop_mail:1",
        "AWS::IAM::Role stackdrop-shop-execution-eu-central-1",
        "AWS::IAM::Role stackdrop-shop-task-eu-central-1",
        "AWS::Logs::LogGroup /stackdrop/shop/mail",
    ];
    assert_eq!(inventory(&account).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_behind_the_load_balancer_is_read_in_fourteen_calls() {
    let (account, aws, deployment) = deployed(WEB).await;
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let before = account.calls();
    assert_eq!(changes(&aws, &deployment).await, [] as [&str; 0]);
    let calls: Vec<String> =
        account.call_log_from(before).iter().map(stackdrop_simulator::Call::name).collect();
    assert_eq!(calls.len(), 14, "{calls:?}");
    let service = described(&aws, "web").await;
    assert_eq!((service.desired_count(), service.running_count()), (2, 2));
    assert_eq!(service.health_check_grace_period_seconds(), Some(60));
    let role = &inventory(&account);
    assert!(role.contains("AWS::ApplicationAutoScaling::ScalingPolicy shop-web-cpu"), "{role:?}");
}

async fn described(aws: &Aws, name: &str) -> aws_sdk_ecs::types::Service {
    let call = aws.ecs().describe_services().cluster("shop").services(name);
    call.send().await.unwrap().services.unwrap().remove(0)
}

async fn policy(aws: &Aws, role: &str) -> Option<Value> {
    let call = aws.iam().get_role_policy().role_name(format!("stackdrop-shop-{role}-eu-central-1"));
    let response = call.policy_name("stackdrop").send().await.ok()?;
    let text = percent_decoded(&response.policy_document);
    Some(serde_json::from_str(&text).unwrap())
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

#[tokio::test(start_paused = true)]
async fn roles_allow_exactly_what_the_spec_needs() {
    let plain = WORKER.replace("image: mail", &format!("image: '{MAIL}', secrets: {{ TOKEN: '{TOKEN}' }}"));
    let exec = plain.replace("count: 1", "count: 1, exec: true");
    let (account, aws, deployment) = deployed(&plain).await;
    let logs = "arn:aws:logs:eu-central-1:123456789012:log-group:/stackdrop/shop/*";
    let repository = "arn:aws:ecr:eu-central-1:123456789012:repository/shop/mail";
    let resources = |policy: &Value| -> Vec<String> {
        let statements = policy["Statement"].as_array().unwrap().iter();
        statements.map(|one| format!("{} on {}", one["Action"], one["Resource"]).replace('"', "")).collect()
    };
    assert_eq!(
        resources(&policy(&aws, "execution").await.unwrap()),
        [
            format!("[logs:CreateLogStream,logs:PutLogEvents] on {logs}"),
            "ecr:GetAuthorizationToken on *".into(),
            format!(
                "[ecr:BatchCheckLayerAvailability,ecr:BatchGetImage,ecr:GetDownloadUrlForLayer] on [{repository}]"
            ),
            format!("secretsmanager:GetSecretValue on [{TOKEN}]"),
        ]
    );
    assert_eq!(policy(&aws, "task").await, None);
    // ECS exec is turned on, and off again.
    let deployment = next(&aws, &deployment, "second", &exec).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert_eq!(policy(&aws, "task").await.unwrap()["Statement"][0]["Action"].as_array().unwrap().len(), 4);
    assert!(described(&aws, "mail").await.enable_execute_command());
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let deployment = next(&aws, &deployment, "third", &plain).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert_eq!(policy(&aws, "task").await, None);
    assert!(!described(&aws, "mail").await.enable_execute_command());
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_get_the_databases_values_and_never_a_password() {
    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf";
    let spec = WORKER.replace(
        "count: 1",
        "count: 1, database: { PGHOST: host, PGPORT: port, PGDATABASE: name, PGUSER: username, PGPASSWORD: password }",
    ) + "database: { name: orders }\n";
    let account = account();
    let instance = "arn:aws:rds:eu-central-1:123456789012:db:shop-database".to_owned();
    let tags = [("aws:rds:primaryDBInstanceArn".to_owned(), instance)].into();
    account.seed(&Seed::SecretOf { arn: SECRET.into(), tags, kms_key: None });
    let (aws, mut deployment) = prepared(&account, &spec).await;
    let pending = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(
        matches!(&pending, StepError::Stalled { waiting_for, .. } if waiting_for == "the RDS instance to have a host name"),
        "{pending:?}"
    );
    deployment["outputs"]["database"] =
        json!({ "identifier": "shop", "host": "db.example", "secret": SECRET, "awaited": true });
    apply(&aws, &[NAME], &mut deployment).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    let arn = deployment["outputs"][NAME]["services"]["mail"]["taskDefinition"].as_str().unwrap();
    let call = aws.ecs().describe_task_definition().task_definition(arn).send().await.unwrap();
    let definition = call.task_definition.unwrap();
    let container = &definition.container_definitions()[0];
    let variables: Vec<(&str, &str)> =
        container.environment().iter().map(|pair| (pair.name().unwrap(), pair.value().unwrap())).collect();
    assert_eq!(variables, [("PGDATABASE", "orders"), ("PGHOST", "db.example"), ("PGPORT", "5432")]);
    let secrets: Vec<(&str, String)> =
        container.secrets().iter().map(|secret| (secret.name(), secret.value_from().to_owned())).collect();
    assert_eq!(
        secrets,
        [("PGPASSWORD", format!("{SECRET}:password::")), ("PGUSER", format!("{SECRET}:username::"))]
    );
    // A plan does not know the database's outputs, and reads the values from the existing task definition.
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn every_change_of_the_spec_is_applied_in_place() {
    let (account, aws, mut deployment) = deployed(WORKER).await;
    let specs = [
        ("count", WORKER.replace("count: 1", "count: 3")),
        ("image", WORKER.replace("image: mail", "image: 'mail:2'")),
        ("size", WORKER.replace("count: 1", "count: 1, cpu: 512, memory: 1024")),
        ("logs", WORKER.replace("count: 1", "count: 1, logDays: 7")),
        ("scaling", WORKER.replace("count: 1", "count: 2, scaling: { min: 2, max: 4, cpuPercent: 50 }")),
        ("percent", WORKER.replace("count: 1", "count: 1, scaling: { min: 1, max: 4, cpuPercent: 60 }")),
        ("plain", WORKER.into()),
        ("tags", WORKER.replace("stack: shop", "stack: shop\ntags: { team: red }")),
        ("command", WORKER.replace("count: 1", "count: 1, command: [serve], environment: { LEVEL: debug }")),
    ];
    for (id, spec) in specs {
        deployment = changed(&deployment, id, &spec);
        assert_ne!(changes(&aws, &deployment).await, [] as [&str; 0], "{id}");
        apply(&aws, &["network", "security-groups", NAME], &mut deployment).await;
        wait_until_stable(&aws, &deployment).await.unwrap();
        assert_nothing_to_do(&account, &aws, &deployment).await;
    }
    let service = described(&aws, "mail").await;
    assert_eq!(service.desired_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_can_be_added_to_the_load_balancer_and_removed_from_it() {
    let worker = format!("{WEB}  api: {{ image: api, port: 9090, count: 1 }}\n");
    let routed = worker.replace("count: 1", "count: 1, routes: [{ path: /api/* }]");
    let (account, aws, deployment) = deployed(&worker).await;
    assert!(described(&aws, "api").await.load_balancers().is_empty());
    let deployment = next(&aws, &deployment, "second", &routed).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert_eq!(described(&aws, "api").await.load_balancers().len(), 1);
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let deployment = next(&aws, &deployment, "third", &worker).await;
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert!(described(&aws, "api").await.load_balancers().is_empty());
    assert_nothing_to_do(&account, &aws, &deployment).await;
}

#[tokio::test(start_paused = true)]
async fn auto_scaling_manages_the_count() {
    let (account, aws, deployment) = deployed(WEB).await;
    let update = aws.ecs().update_service().cluster("shop").service("web").desired_count(5);
    update.send().await.unwrap();
    wait_until_stable(&aws, &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    assert_eq!(described(&aws, "web").await.desired_count(), 5);
}

#[tokio::test(start_paused = true)]
async fn old_tasks_may_read_their_secrets_until_the_new_ones_are_stable() {
    const OTHER: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/other-AbCdEf";
    let spec =
        |secret: &str| WORKER.replace("count: 1", &format!("count: 1, secrets: {{ TOKEN: '{secret}' }}"));
    let (account, aws, deployment) = deployed(&spec(TOKEN)).await;
    account.seed(&Seed::Secret { arn: OTHER.into() });
    let secrets = async || policy(&aws, "execution").await.unwrap()["Statement"][1]["Resource"].clone();
    let planned = changes(&aws, &changed(&deployment, "second", &spec(OTHER))).await;
    assert!(planned.contains(&format!("delete role/execution (access to {TOKEN})")), "{planned:?}");
    assert!(
        planned.contains(&"delete task-definition/mail (stackdrop-shop_mail:1)".to_owned()),
        "{planned:?}"
    );
    let second = next(&aws, &deployment, "second", &spec(OTHER)).await;
    assert_eq!(secrets().await, json!([OTHER, TOKEN]), "both, while the old task runs");
    wait_until_stable(&aws, &second).await.unwrap();
    until_done(&aws, NAME, "prune", &second).await.unwrap();
    assert_eq!(secrets().await, json!([OTHER]));
    let revisions =
        aws.ecs().list_task_definitions().family_prefix("stackdrop-shop_mail").send().await.unwrap();
    assert_eq!(revisions.task_definition_arns().len(), 1);
    assert_nothing_to_do(&account, &aws, &second).await;
}

#[tokio::test(start_paused = true)]
async fn a_workers_own_health_check_decides_whether_it_is_stable() {
    let checked = |image: &str| {
        WORKER.replace(
            "image: mail",
            &format!("image: {image}, healthCheck: {{ command: [pgrep, mail], grace: 20 }}"),
        )
    };
    let (account, aws, deployment) = deployed(&checked("mail")).await;
    let used =
        aws.ecs().describe_task_definition().task_definition("stackdrop-shop_mail").send().await.unwrap();
    let used = used.task_definition.unwrap();
    let check = used.container_definitions()[0].health_check().unwrap();
    assert_eq!(check.command(), ["CMD", "pgrep", "mail"]);
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let sick = next(&aws, &deployment, "second", &checked("sick")).await;
    let failed = wait_until_stable(&aws, &sick).await.unwrap_err();
    assert!(failed.to_string().contains("container health checks"), "{failed}");
}
