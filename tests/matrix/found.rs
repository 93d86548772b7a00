//! What the matrix has found: each bug by name.

use serde_json::json;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::course::{deploy, lock_is_free, open, run, standing};
use crate::{SHOP, simulated, update};

#[test]
fn a_deployment_that_fails_right_after_it_took_the_lock_frees_it() {
    simulated(async {
        let rehearsal = open(SHOP);
        // The third object that Admit writes, after its claim on the version and the lock: the status.
        let denied =
            Fault::at("s3", "PutObject", When::From(3), FaultKind::AccessDenied).during("/admit/run");
        rehearsal.account().arm(denied);
        let deployed = deploy(&rehearsal, SHOP).await;
        assert!(deployed.error().unwrap().contains("status.json"), "{:?}", deployed.error());
        assert_eq!(lock_is_free(&rehearsal).await, Ok(()));
    });
}

#[test]
fn a_schedule_that_was_refused_is_made_by_the_next_deployment_of_the_same_spec() {
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
            |standing: &[String]| standing.iter().any(|item| item == "AWS::Scheduler::Schedule shop");
        assert!(!scheduled(&standing(&rehearsal)));
        rehearsal.account().disarm();
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        assert!(scheduled(&standing(&rehearsal)));
    });
}

#[test]
fn what_could_not_be_tidied_up_goes_with_the_next_deployment_of_the_same_spec() {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        let denied = Fault::at("iam", "GetRole", When::From(1), FaultKind::AccessDenied);
        rehearsal.account().arm(denied.during("/service/prune"));
        assert!(deploy(&rehearsal, &update::later()).await.succeeded());
        let revisions = |standing: &[String]| {
            standing.iter().filter(|item| *item == "AWS::ECS::TaskDefinition shop-web").count()
        };
        assert_eq!(revisions(&standing(&rehearsal)), 2, "the one before could not be removed");
        rehearsal.account().disarm();
        let next = deploy(&rehearsal, &update::later()).await;
        assert!(next.succeeded());
        assert_eq!(revisions(&standing(&rehearsal)), 1, "{:?}", next.counts());
    });
}

#[test]
fn a_removal_whose_plan_is_refused_has_changed_nothing_and_says_so() {
    simulated(async {
        let rehearsal = open(SHOP);
        assert!(deploy(&rehearsal, SHOP).await.succeeded());
        let before = standing(&rehearsal);
        let denied = Fault::at("rds", "DescribeDBInstances", When::From(1), FaultKind::AccessDenied);
        rehearsal.account().arm(denied.during("/database/plan"));
        let deployed = run(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
        assert_eq!(deployed.result(), Outcome::Failed);
        assert!(deployed.error().unwrap().contains("Nothing was changed."), "{:?}", deployed.error());
        assert_eq!(standing(&rehearsal), before);
    });
}
