//! Bugs that the matrix found, each with a test of its own.

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::undisturbed_run::{deploy, lock_is_free, open, resources, run};
use crate::{SHOP, simulated, update};

#[test]
fn a_deployment_that_fails_right_after_taking_the_lock_releases_it() {
    simulated(async {
        let rehearsal = open(SHOP);
        // The third object that Admit writes is the status; the first two are the claim on the version and the lock.
        let denied =
            Fault::at("s3", "PutObject", When::From(3), FaultKind::AccessDenied).during("/admit/run");
        rehearsal.account().arm(denied);
        let deployed = deploy(&rehearsal, SHOP).await;
        assert!(deployed.error().unwrap().contains("status.json"), "{:?}", deployed.error());
        assert_eq!(lock_is_free(&rehearsal).await, Ok(()));
    });
}

#[test]
fn a_refused_schedule_is_created_by_the_next_deployment_of_the_same_spec() {
    simulated(async {
        let rehearsal = open(SHOP);
        rehearsal.account().arm(Fault::at(
            "scheduler",
            "CreateSchedule",
            When::From(1),
            FaultKind::AccessDenied,
        ));
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        let scheduled =
            |resources: &[String]| resources.iter().any(|item| item == "AWS::Scheduler::Schedule shop");
        assert!(!scheduled(&resources(&rehearsal)));
        rehearsal.account().disarm();
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        assert!(scheduled(&resources(&rehearsal)));
    });
}

#[test]
fn a_revision_that_could_not_be_pruned_is_pruned_by_the_next_deployment_of_the_same_spec() {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        let denied = Fault::at("iam", "GetRole", When::From(1), FaultKind::AccessDenied);
        rehearsal.account().arm(denied.during("/service/prune"));
        assert!(deploy(&rehearsal, &update::updated_spec()).await.succeeded());
        let revisions = |resources: &[String]| {
            resources.iter().filter(|item| *item == "AWS::ECS::TaskDefinition stackdrop-shop_web").count()
        };
        assert_eq!(revisions(&resources(&rehearsal)), 2, "the previous revision could not be deleted");
        rehearsal.account().disarm();
        let next = deploy(&rehearsal, &update::updated_spec()).await;
        assert!(next.succeeded());
        assert_eq!(revisions(&resources(&rehearsal)), 1, "{:?}", next.counts());
    });
}

#[test]
fn a_destroy_whose_plan_is_refused_changes_nothing_and_says_so() {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        let before = resources(&rehearsal);
        let denied = Fault::at("rds", "DescribeDBInstances", When::From(1), FaultKind::AccessDenied);
        rehearsal.account().arm(denied.during("/database/plan"));
        let deployed =
            run(&rehearsal, json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }))
                .await;
        assert_eq!(deployed.result(), Outcome::Failed);
        assert!(deployed.error().unwrap().contains("Nothing was changed."), "{:?}", deployed.error());
        assert_eq!(resources(&rehearsal), before);
    });
}
