//! The rotation of the master password that RDS manages in Secrets Manager.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::RotationRulesType;

use crate::common::sdk;
use crate::site::{Site, code, wait};

const DAY_SECONDS: f64 = 86_400.0;

/// The secret of the database `shop`.
struct Managed {
    site: Site,
    secrets: Client,
    arn: String,
}

impl Managed {
    async fn new() -> Self {
        let site = Site::with_database().await;
        let arn = site.database().await.master_user_secret.unwrap().secret_arn.unwrap();
        Self { secrets: Client::new(&sdk(&site.account)), site, arn }
    }

    async fn describe(&self) -> DescribeSecretOutput {
        self.secrets.describe_secret().secret_id(&self.arn).send().await.unwrap()
    }

    /// The status of the instance, and that of the secret.
    async fn states(&self) -> (String, String) {
        let database = self.site.database().await;
        (database.db_instance_status.unwrap(), database.master_user_secret.unwrap().secret_status.unwrap())
    }

    /// The labels of a version.
    async fn labels(&self, version: &str) -> Vec<String> {
        let secret = self.describe().await;
        secret.version_ids_to_stages.unwrap_or_default().remove(version).unwrap_or_default()
    }
}

fn every(days: i64) -> RotationRulesType {
    RotationRulesType::builder().automatically_after_days(days).build()
}

#[tokio::test(start_paused = true)]
async fn rds_changes_a_managed_password_every_seven_days() {
    let managed = Managed::new().await;
    let secret = managed.describe().await;
    assert_eq!(secret.rotation_rules().unwrap().automatically_after_days(), Some(7));
    assert_eq!(secret.last_rotated_date(), None);
    for week in 1..=3 {
        let before = managed.describe().await.last_rotated_date;
        wait(7.0 * DAY_SECONDS).await;
        // Not while RDS makes the backup of the night: some minutes later.
        for _ in 0..10 {
            managed.describe().await;
            wait(60.0).await;
        }
        assert_ne!(managed.describe().await.last_rotated_date, before, "week {week}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_resets_the_password_and_moves_the_labels() {
    let managed = Managed::new().await;
    let (token, other) = ("a".repeat(32), "b".repeat(32));
    let rotate =
        |token: &str| managed.secrets.rotate_secret().secret_id(&managed.arn).client_request_token(token);
    let started = rotate(&token).send().await.unwrap();
    assert_eq!(started.version_id(), Some(token.as_str()));
    assert_eq!(managed.states().await, ("resetting-master-credentials".into(), "rotating".into()));
    assert_eq!(managed.labels(&token).await, ["AWSPENDING"]);
    assert_eq!(code(rotate(&other).send().await), "InvalidRequestException", "one at a time");
    let repeated = rotate(&token).send().await.unwrap();
    assert_eq!(repeated.version_id(), Some(token.as_str()), "the same request starts no second rotation");
    wait(60.0).await;
    assert_eq!(managed.states().await, ("available".into(), "active".into()));
    assert_eq!(managed.labels(&token).await, ["AWSCURRENT"]);
    assert!(managed.describe().await.last_rotated_date().is_some());
    rotate(&other).send().await.unwrap();
    wait(60.0).await;
    assert_eq!(managed.labels(&token).await, ["AWSPREVIOUS"]);
}

#[tokio::test(start_paused = true)]
async fn rotation_rules_change_without_a_rotation_and_keep_the_planned_one() {
    let managed = Managed::new().await;
    let planned = managed.describe().await.next_rotation_date;
    let rules = |rules| {
        let call = managed.secrets.rotate_secret().secret_id(&managed.arn).rotation_rules(rules);
        call.rotate_immediately(false).client_request_token("c".repeat(32))
    };
    for invalid in [every(0), every(1001), RotationRulesType::builder().build()] {
        assert_eq!(code(rules(invalid).send().await), "InvalidParameterException");
    }
    let both = RotationRulesType::builder().automatically_after_days(7).schedule_expression("rate(7 days)");
    assert_eq!(code(rules(both.build()).send().await), "InvalidParameterException");
    rules(every(1000)).send().await.unwrap();
    let secret = managed.describe().await;
    assert_eq!(secret.rotation_rules().unwrap().automatically_after_days(), Some(1000));
    assert_eq!(secret.next_rotation_date, planned);
    assert_eq!(managed.states().await, ("available".into(), "active".into()));
}

#[tokio::test(start_paused = true)]
async fn the_password_of_a_stopped_database_does_not_change() {
    let managed = Managed::new().await;
    managed.site.rds.stop_db_instance().db_instance_identifier("shop").send().await.unwrap();
    wait(300.0).await;
    let call = managed.secrets.rotate_secret().secret_id(&managed.arn).client_request_token("d".repeat(32));
    assert_eq!(code(call.send().await), "InvalidRequestException");
}

#[tokio::test(start_paused = true)]
async fn the_password_changes_on_time_even_if_nobody_looks_for_three_weeks() {
    let managed = Managed::new().await;
    let created = managed.describe().await.created_date.unwrap().as_secs_f64();
    wait(22.0 * DAY_SECONDS).await;
    let secret = managed.describe().await;
    let days = (secret.last_rotated_date.unwrap().as_secs_f64() - created) / DAY_SECONDS;
    assert!((20.9..21.1).contains(&days), "{days} days after its creation");
    assert_eq!(secret.version_ids_to_stages.unwrap().len(), 2, "the current version and the one before it");
    assert!(secret.next_rotation_date.unwrap().as_secs_f64() > created + 27.9 * DAY_SECONDS);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_cannot_be_asked_for_in_every_way() {
    let managed = Managed::new().await;
    let rotate = |secret: &str| managed.secrets.rotate_secret().secret_id(secret);
    let token = "e".repeat(32);
    managed.secrets.create_secret().name("own").send().await.unwrap();
    managed.secrets.create_secret().name("old").send().await.unwrap();
    managed.secrets.delete_secret().secret_id("old").send().await.unwrap();
    let own = |secret: &str| rotate(secret).client_request_token(&token);
    let expression = RotationRulesType::builder().schedule_expression("every now and then").build();
    for (call, expected) in [
        (rotate(&managed.arn).client_request_token("short"), "InvalidParameterException"),
        (own(&managed.arn).rotation_rules(expression), "InvalidParameterException"),
        (own(&managed.arn).rotation_lambda_arn("arn:aws:lambda:x"), "InvalidRequestException"),
        (own("own"), "InvalidRequestException"),
        (own("old"), "InvalidRequestException"),
        (own("none"), "ResourceNotFoundException"),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
    }
    assert_eq!(managed.states().await, ("available".into(), "active".into()));
}

#[tokio::test(start_paused = true)]
async fn a_cron_schedule_replaces_the_planned_rotation_and_a_rate_does_not() {
    let managed = Managed::new().await;
    let planned = managed.describe().await.next_rotation_date;
    let set = async |expression: &str| {
        let rules = RotationRulesType::builder().schedule_expression(expression).build();
        let call = managed.secrets.rotate_secret().secret_id(&managed.arn).rotation_rules(rules);
        call.rotate_immediately(false).client_request_token("f".repeat(32)).send().await.unwrap();
        managed.describe().await.next_rotation_date
    };
    assert_eq!(set("rate(30 days)").await, planned);
    // Simulations begin on 2026-01-01.
    assert_eq!(set("cron(0 4 1 2 ? *)").await.unwrap().to_string(), "2026-02-01T04:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_rds_keeps_is_not_changed_by_others() {
    let managed = Managed::new().await;
    let tag = aws_sdk_secretsmanager::types::Tag::builder().key("a").value("b").build();
    let delete = managed.secrets.delete_secret().secret_id(&managed.arn).send().await;
    assert_eq!(code(delete), "InvalidRequestException");
    let tagged = managed.secrets.tag_resource().secret_id(&managed.arn).tags(tag).send().await;
    assert_eq!(code(tagged), "InvalidRequestException");
}
