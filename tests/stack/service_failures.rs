//! What goes wrong with databases, load balancers and services: found before anything is touched, put right when it was
//! done by hand, told in plain words when it happens.

use std::time::Duration;

use serde_json::json;
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_functions::Aws;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::{SHOP, changes, deployed, rehearsal};

/// What is replaced in the example, by what, and what the deployment must say.
const PROBLEMS: [(&str, &str, &str); 7] = [
    (
        "public.ecr.aws/docker/library/nginx:1.29",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/web:v9",
        "this account's registry has no repository shop/web; create the repository and push the image first",
    ),
    ("payment-Ab3dEf", "payments-Ab3dEf", "(services.web.secrets.PAYMENT_KEY); create it, or correct"),
    ("db.t4g.micro", "db.t4g.4xlarge", "RDS does not offer database.class db.t4g.4xlarge"),
    ("version: \"17\"", "version: \"18.9\"", "set database.version to one that it has: 18.1, 18.2"),
    ("6d4b1c2e-8f3a", "00000000-8f3a", "there is no certificate arn:aws:acm"),
    ("  idleTimeout", "  accessLogs: { bucket: nowhere }\n  idleTimeout", "there is no bucket nowhere"),
    (
        "    cpu: 512\n    memory: 1024\n",
        "    cpu: 4096\n    memory: 8192\n",
        "vCPUs of Fargate tasks that the account may have here",
    ),
];

#[tokio::test(start_paused = true)]
async fn problems_are_reported_in_seconds_with_a_fix_before_any_change() {
    let rehearsal = rehearsal(SHOP);
    for (from, to, said) in PROBLEMS {
        let spec = SHOP.replacen(from, to, 1);
        assert_ne!(spec, SHOP, "{from}");
        let before = tokio::time::Instant::now();
        let refused = rehearsal.deploy(&spec, &()).await.unwrap();
        let error = refused.error().unwrap();
        assert!(error.starts_with("PreflightFailed") && error.contains(said), "{said}: {error}");
        assert_eq!(changes(&refused), Vec::<String>::new());
        let took = before.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    let all = PROBLEMS.iter().fold(SHOP.to_owned(), |spec, (from, to, _)| spec.replacen(from, to, 1));
    let error = rehearsal.deploy(&all, &()).await.unwrap().error().unwrap();
    for (_, _, said) in PROBLEMS.iter().filter(|(from, ..)| !from.starts_with("db.")) {
        assert!(error.contains(said), "all at once, with {said}: {error}");
    }
}

async fn redeployed(rehearsal: &Rehearsal) -> Deployed {
    let deployed = rehearsal.run(json!({ "stack": "shop" }), &(), &Abort::default()).await;
    assert!(deployed.succeeded(), "{}: {:?}", deployed.result(), deployed.error());
    deployed
}

/// Something that somebody does by hand.
#[derive(Debug, Clone, Copy)]
enum ByHand {
    TargetGroupAttribute,
    LogRetention,
    RolePolicy,
    ScalingPolicyDeleted,
    ScheduleDeleted,
    ScheduleChanged,
    BackupsOff,
    ClassChanged,
    RuleDeleted,
    CountUnderScaling,
}

async fn web_group(aws: &Aws) -> String {
    let groups = aws.elb().describe_target_groups().send().await.unwrap();
    groups.target_groups()[0].target_group_arn().unwrap().to_owned()
}

impl ByHand {
    /// Does it.
    async fn happens(self, aws: &Aws) {
        let database =
            || aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
        match self {
            Self::TargetGroupAttribute => {
                let key = "deregistration_delay.timeout_seconds";
                let group = web_group(aws).await;
                let found = aws.elb().describe_target_group_attributes().target_group_arn(&group);
                let mut attributes = found.send().await.unwrap().attributes.unwrap();
                attributes.retain(|attribute| attribute.key() == Some(key));
                attributes[0].value = Some("300".into());
                let call = aws.elb().modify_target_group_attributes().target_group_arn(group);
                call.set_attributes(Some(attributes)).send().await.unwrap();
            }
            Self::LogRetention => {
                let call = aws.logs().put_retention_policy().log_group_name("/stackdrop/shop/web");
                call.retention_in_days(1).send().await.unwrap();
            }
            Self::RolePolicy => {
                let all = json!({ "Version": "2012-10-17", "Statement": [
                    { "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
                ] });
                let call = aws.iam().put_role_policy().role_name("stackdrop-shop-execution-eu-central-1");
                call.policy_name("stackdrop").policy_document(all.to_string()).send().await.unwrap();
            }
            Self::ScalingPolicyDeleted => {
                let found = aws.autoscaling().describe_scaling_policies().service_namespace("ecs".into());
                let policy = found.send().await.unwrap().scaling_policies.unwrap().remove(0);
                let call = aws.autoscaling().delete_scaling_policy().service_namespace("ecs".into());
                let call = call.policy_name(policy.policy_name()).resource_id(policy.resource_id());
                call.scalable_dimension(policy.scalable_dimension().clone()).send().await.unwrap();
            }
            Self::ScheduleDeleted => {
                let call = aws.scheduler().delete_schedule().name("shop");
                call.group_name(&aws.settings.schedule_group).send().await.unwrap();
            }
            Self::ScheduleChanged => {
                let get =
                    aws.scheduler().get_schedule().name("shop").group_name(&aws.settings.schedule_group);
                let found = get.send().await.unwrap();
                let call =
                    aws.scheduler().update_schedule().name("shop").group_name(&aws.settings.schedule_group);
                let call = call.set_target(found.target).set_flexible_time_window(found.flexible_time_window);
                call.schedule_expression("rate(1 hour)").send().await.unwrap();
            }
            Self::BackupsOff => drop(database().backup_retention_period(0).send().await.unwrap()),
            Self::ClassChanged => drop(database().db_instance_class("db.t4g.small").send().await.unwrap()),
            Self::RuleDeleted => {
                let balancer = aws.elb().describe_load_balancers().send().await.unwrap();
                let arn = balancer.load_balancers()[0].load_balancer_arn().unwrap();
                let listeners = aws.elb().describe_listeners().load_balancer_arn(arn).send().await.unwrap();
                let https = listeners.listeners().iter().find(|one| one.port() == Some(443)).unwrap();
                let rules = aws.elb().describe_rules().listener_arn(https.listener_arn().unwrap());
                let rules = rules.send().await.unwrap().rules.unwrap();
                let rule = rules.iter().find(|rule| rule.is_default() != Some(true)).unwrap();
                let call = aws.elb().delete_rule().rule_arn(rule.rule_arn().unwrap());
                call.send().await.unwrap();
            }
            Self::CountUnderScaling => {
                let call = aws.ecs().update_service().cluster("shop").service("web").desired_count(4);
                call.send().await.unwrap();
            }
        }
    }
}

/// What is done by hand, and the calls that put it right.
const DRIFTS: [(ByHand, &[&str]); 10] = [
    (ByHand::TargetGroupAttribute, &["elasticloadbalancing:ModifyTargetGroupAttributes"]),
    (ByHand::LogRetention, &["logs:PutRetentionPolicy"]),
    (ByHand::RolePolicy, &["iam:PutRolePolicy"]),
    (ByHand::ScalingPolicyDeleted, &["application-autoscaling:PutScalingPolicy"]),
    (ByHand::ScheduleDeleted, &["scheduler:CreateSchedule"]),
    (ByHand::ScheduleChanged, &["scheduler:CreateSchedule", "scheduler:UpdateSchedule"]),
    (ByHand::BackupsOff, &["rds:ModifyDBInstance"]),
    (ByHand::ClassChanged, &["rds:ModifyDBInstance"]),
    (ByHand::RuleDeleted, &["elasticloadbalancing:CreateRule"]),
    (ByHand::CountUnderScaling, &[]),
];

#[tokio::test(start_paused = true)]
async fn a_redeploy_repairs_manual_changes_and_changes_nothing_else() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for (by_hand, repairs) in DRIFTS {
        by_hand.happens(rehearsal.aws()).await;
        tokio::time::advance(Duration::from_mins(15)).await;
        let repaired = redeployed(&rehearsal).await;
        assert_eq!(changes(&repaired), repairs, "{by_hand:?}");
        let again = redeployed(&rehearsal).await;
        assert_eq!(changes(&again), Vec::<String>::new(), "after {by_hand:?}");
    }
}

/// A worker with one secret, and the same behind a load balancer.
const WORKER: &str = "
stack: shop
region: eu-central-1
services:
  web: { image: 'IMAGE', secrets: { TOKEN: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/token-AbCdEf' } }
";
const WEB: &str = "
stack: shop
region: eu-central-1
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
services:
  web: { image: 'IMAGE', port: 80, healthCheck: { path: /ready }, routes: [{ path: /* }] }
";

#[tokio::test(start_paused = true)]
async fn a_failure_is_explained_with_its_cause() {
    let seeds = vec![
        Seed::CrashingImage { image: "crashing".into(), exit_code: 137 },
        Seed::UnhealthyImage { image: "sick".into() },
        Seed::NoSuchImage { image: "missing".into() },
    ];
    let setting = Setting { seeds, ..Setting::default() };
    for (spec, image, telling) in [
        (WORKER, "crashing", vec!["the service web", "exit code 137", "log group /stackdrop/shop/web"]),
        (WORKER, "missing", vec!["the service web", "CannotPullContainerError", "missing: not found"]),
        (WEB, "sick", vec!["the service web", "health checks"]),
    ] {
        let spec = spec.replace("IMAGE", image);
        let read = Spec::read(spec.as_bytes()).unwrap();
        let rehearsal = Rehearsal::open(&setting, &[&read]).unwrap();
        let failed = rehearsal.deploy(&spec, &()).await.unwrap();
        let error = failed.error().unwrap();
        assert!(telling.iter().all(|text| error.contains(text)), "{image}: {error}");
    }
    let rehearsal = rehearsal(SHOP);
    rehearsal.account().arm(Fault::at("rds", "CreateDBInstance", When::Only(1), FaultKind::ResourceFails));
    let error = rehearsal.deploy(SHOP, &()).await.unwrap().error().unwrap();
    assert!(error.contains("the database shop-database") && error.contains("RDS says: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_names_the_role_and_the_action() {
    let rehearsal = rehearsal(SHOP);
    let message = "User: arn:aws:sts::123456789012:assumed-role/stackdrop-service/x is not authorized to perform: \
                   ecs:CreateCluster on resource: * because no identity-based policy allows the ecs:CreateCluster action";
    let denied = FaultKind::Refused { code: "AccessDeniedException".into(), message: message.into() };
    rehearsal.account().arm(Fault::at("ecs", "CreateCluster", When::Only(1), denied));
    let error = rehearsal.deploy(SHOP, &()).await.unwrap().error().unwrap();
    assert!(error.contains("allow ecs:CreateCluster in the policy of the role stackdrop-service"), "{error}");
}
