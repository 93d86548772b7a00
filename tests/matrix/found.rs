//! What the matrix has found: each bug by name.

use stackdrop_simulator::{Fault, FaultKind, When};

use crate::course::{deploy, lock_is_free, open, standing};
use crate::{SHOP, simulated};

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
