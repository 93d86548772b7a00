//! Manual changes of databases, load balancers and services are repaired.

use std::time::Duration;

use serde_json::json;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::Aws;

use crate::{SHOP, changes, deployed, rehearsal, run};

async fn redeployed(rehearsal: &Rehearsal) -> Deployed {
    let deployed = run(rehearsal, json!({ "stack": "shop" })).await;
    assert!(deployed.succeeded(), "{}: {:?}", deployed.result(), deployed.error());
    deployed
}

/// A manual change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ManualChange {
    ChangeTargetGroupAttribute,
    ChangeLogRetention,
    ChangeRolePolicy,
    DeleteScalingPolicy,
    DeleteSchedule,
    ChangeSchedule,
    TurnOffBackups,
    ChangeInstanceClass,
    DeleteListenerRule,
    ChangeTaskCount,
}

async fn web_group(aws: &Aws) -> String {
    let groups = aws.elb().describe_target_groups().send().await.unwrap();
    groups.target_groups()[0].target_group_arn().unwrap().to_owned()
}

impl ManualChange {
    pub(crate) async fn apply(self, aws: &Aws) {
        let database =
            || aws.rds().modify_db_instance().db_instance_identifier("shop-database").apply_immediately(true);
        match self {
            Self::ChangeTargetGroupAttribute => change_target_group_attribute(aws).await,
            Self::ChangeLogRetention => {
                let call = aws.logs().put_retention_policy().log_group_name("/stackdrop/shop/web");
                call.retention_in_days(1).send().await.unwrap();
            }
            Self::ChangeRolePolicy => {
                let all = json!({ "Version": "2012-10-17", "Statement": [
                    { "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
                ] });
                let call = aws.iam().put_role_policy().role_name("stackdrop-shop-execution-eu-central-1");
                call.policy_name("stackdrop").policy_document(all.to_string()).send().await.unwrap();
            }
            Self::DeleteScalingPolicy => {
                let found = aws.autoscaling().describe_scaling_policies().service_namespace("ecs".into());
                let policy = found.send().await.unwrap().scaling_policies.unwrap().remove(0);
                let call = aws.autoscaling().delete_scaling_policy().service_namespace("ecs".into());
                let call = call.policy_name(policy.policy_name()).resource_id(policy.resource_id());
                call.scalable_dimension(policy.scalable_dimension().clone()).send().await.unwrap();
            }
            Self::DeleteSchedule => {
                let call = aws.scheduler().delete_schedule().name("shop");
                call.group_name(&aws.settings.schedule_group).send().await.unwrap();
            }
            Self::ChangeSchedule => {
                let get =
                    aws.scheduler().get_schedule().name("shop").group_name(&aws.settings.schedule_group);
                let found = get.send().await.unwrap();
                let call =
                    aws.scheduler().update_schedule().name("shop").group_name(&aws.settings.schedule_group);
                let call = call.set_target(found.target).set_flexible_time_window(found.flexible_time_window);
                call.schedule_expression("rate(1 hour)").send().await.unwrap();
            }
            Self::TurnOffBackups => drop(database().backup_retention_period(0).send().await.unwrap()),
            Self::ChangeInstanceClass => {
                drop(database().db_instance_class("db.t4g.small").send().await.unwrap());
            }
            Self::DeleteListenerRule => delete_listener_rule(aws).await,
            Self::ChangeTaskCount => {
                let call = aws.ecs().update_service().cluster("shop").service("web").desired_count(4);
                call.send().await.unwrap();
            }
        }
    }
}

async fn change_target_group_attribute(aws: &Aws) {
    let key = "deregistration_delay.timeout_seconds";
    let group = web_group(aws).await;
    let found = aws.elb().describe_target_group_attributes().target_group_arn(&group);
    let mut attributes = found.send().await.unwrap().attributes.unwrap();
    attributes.retain(|attribute| attribute.key() == Some(key));
    attributes[0].value = Some("300".into());
    let call = aws.elb().modify_target_group_attributes().target_group_arn(group);
    call.set_attributes(Some(attributes)).send().await.unwrap();
}

async fn delete_listener_rule(aws: &Aws) {
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

/// The manual changes, and the calls that repair each of them.
pub(crate) const DRIFTS: [(ManualChange, &[&str]); 10] = [
    (ManualChange::ChangeTargetGroupAttribute, &["elasticloadbalancing:ModifyTargetGroupAttributes"]),
    (ManualChange::ChangeLogRetention, &["logs:PutRetentionPolicy"]),
    (ManualChange::ChangeRolePolicy, &["iam:PutRolePolicy"]),
    (ManualChange::DeleteScalingPolicy, &["application-autoscaling:PutScalingPolicy"]),
    (ManualChange::DeleteSchedule, &["scheduler:CreateSchedule"]),
    (ManualChange::ChangeSchedule, &["scheduler:CreateSchedule", "scheduler:UpdateSchedule"]),
    (ManualChange::TurnOffBackups, &["rds:ModifyDBInstance"]),
    (ManualChange::ChangeInstanceClass, &["rds:ModifyDBInstance"]),
    (ManualChange::DeleteListenerRule, &["elasticloadbalancing:CreateRule"]),
    (ManualChange::ChangeTaskCount, &[]),
];

#[tokio::test(start_paused = true)]
async fn a_redeploy_repairs_manual_changes_and_changes_nothing_else() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    for (change, repairs) in DRIFTS {
        change.apply(rehearsal.aws()).await;
        tokio::time::advance(Duration::from_mins(15)).await;
        let repaired = redeployed(&rehearsal).await;
        assert_eq!(changes(&repaired), repairs, "{change:?}");
        let again = redeployed(&rehearsal).await;
        assert_eq!(changes(&again), Vec::<String>::new(), "after {change:?}");
    }
}
