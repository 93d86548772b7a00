//! A failure at any step of a first deployment leaves no resources; a failed update leaves the last good version.

use stackdrop_functions::deployment::outcome::Outcome;
use std::collections::BTreeSet;

use stackdrop::rehearsal::pascal_case;
use stackdrop_functions::COMPONENTS;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;

use crate::{
    PRIVATE, SHOP, changes, changes_something, deployed, failed_step, refused, rehearsal, resources,
    resources_but_logs, with,
};

#[tokio::test(start_paused = true)]
async fn a_failed_component_is_rolled_back_with_all_earlier_ones() {
    for part in &COMPONENTS {
        let rehearsal = rehearsal(SHOP);
        let fault = Fault::at("*", "*", When::Only(1), refused()).during(&format!("/{}/apply", part.name));
        rehearsal.account().arm(fault);
        let deployed = rehearsal.deploy(SHOP, &()).await.unwrap();
        assert_eq!(deployed.result(), Outcome::Failed, "{}: {:?}", part.name, deployed.error());
        assert_eq!(failed_step(&deployed), Some(pascal_case(part.name)));
        let error = deployed.error().unwrap();
        assert!(error.contains(&pascal_case(part.name)) && error.contains("the test says no"), "{error}");
        assert_eq!(resources(&rehearsal), Vec::<String>::new(), "after {} failed", part.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_any_creating_call_is_rolled_back() {
    for spec in [SHOP, PRIVATE] {
        let all = rehearsal(spec);
        let creating: BTreeSet<(String, String)> = deployed(&all, spec)
            .await
            .calls
            .into_iter()
            .filter(changes_something)
            .filter(|call| call.caller.ends_with("/apply"))
            .map(|call| (call.service, call.operation))
            .collect();
        assert!(creating.len() > 20, "{creating:?}");
        for (service, operation) in creating {
            let rehearsal = rehearsal(spec);
            rehearsal
                .account()
                .arm(Fault::at(&service, &operation, When::From(1), refused()).during("/apply"));
            let deployed = rehearsal.deploy(spec, &()).await.unwrap();
            assert_eq!(deployed.result(), Outcome::Failed, "{service}:{operation}: {:?}", deployed.error());
            assert!(
                deployed.error().unwrap().contains("the test says no"),
                "{service}:{operation}: {:?}",
                deployed.error()
            );
            assert_eq!(
                resources(&rehearsal),
                Vec::<String>::new(),
                "after {service}:{operation} was refused"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_fails_after_its_creation_is_rolled_back() {
    let failing = [
        ("ec2", "CreateNatGateway", "AwaitEgress"),
        ("ec2", "RunInstances", "WaitUntilStable"),
        ("rds", "CreateDBInstance", "AwaitDatabase"),
        ("elasticloadbalancing", "CreateLoadBalancer", "WaitUntilStable"),
        ("ecs", "CreateService", "WaitUntilStable"),
    ];
    for (service, operation, step) in failing {
        let rehearsal = rehearsal(SHOP);
        rehearsal.account().arm(Fault::at(service, operation, When::From(1), FaultKind::ResourceFails));
        let deployed = rehearsal.deploy(SHOP, &()).await.unwrap();
        assert_eq!(deployed.result(), Outcome::Failed, "{operation}: {:?}", deployed.error());
        assert_eq!(failed_step(&deployed).as_deref(), Some(step), "{operation}: {:?}", deployed.error());
        assert_eq!(
            resources_but_logs(&rehearsal),
            Vec::<String>::new(),
            "after the resource of {operation} failed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_does_not_run_is_explained_and_the_stack_rolled_back() {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let image = spec.services.values().next().unwrap().image.clone();
    let seeds = [
        (Seed::NoSuchImage { image: image.clone() }, "CannotPull"),
        (Seed::CrashingImage { image: image.clone(), exit_code: 3 }, "3"),
        (Seed::UnhealthyImage { image }, "health"),
    ];
    for (seed, expected) in seeds {
        let setting = stackdrop::Setting { seeds: vec![seed], ..Default::default() };
        let rehearsal = stackdrop::Rehearsal::open(&setting, &[&spec]).unwrap();
        let deployed = rehearsal.deploy(SHOP, &()).await.unwrap();
        assert_eq!(deployed.result(), Outcome::Failed, "{:?}", deployed.error());
        let error = deployed.error().unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_on_failure_keep_keeps_the_resources_for_the_next_deployment() {
    let kept = SHOP.replacen("onFailure: rollback", "onFailure: keep", 1);
    assert_ne!(kept, SHOP);
    let rehearsal = rehearsal(&kept);
    rehearsal.account().arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    let first = rehearsal.deploy(&kept, &()).await.unwrap();
    assert_eq!(first.result(), Outcome::Kept, "{:?}", first.error());
    assert!(resources(&rehearsal).iter().any(|item| item.contains("AWS::RDS::DBInstance")));
    rehearsal.account().disarm();
    let second = deployed(&rehearsal, &kept).await;
    assert!(!crate::changes(&second).contains(&"rds:CreateDBInstance".to_owned()), "the database is kept");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_rollback_names_the_remaining_resources_and_is_completed_later() {
    let rehearsal = rehearsal(SHOP);
    let account = rehearsal.account();
    account.arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    account.arm(Fault::at("ec2", "DeleteNatGateway", When::From(1), refused()));
    let first = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!(first.result(), Outcome::RollbackFailed, "{:?}", first.error());
    let error = first.error().unwrap();
    assert!(error.contains("nat-"), "{error}");
    assert!(resources(&rehearsal).iter().any(|item| item.contains("NatGateway")));
    account.disarm();
    account.arm(Fault::at("ecs", "CreateService", When::From(1), refused()));
    let second = rehearsal.deploy(SHOP, &()).await.unwrap();
    assert_eq!(second.result(), Outcome::Failed, "{:?}", second.error());
    assert_eq!(resources_but_logs(&rehearsal), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_rolls_back_to_the_last_good_version() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let before = resources(&rehearsal);
    let changed = SHOP.replacen("type: t3.micro", "type: t3.small", 1);
    assert_ne!(changed, SHOP);
    rehearsal.account().arm(Fault::at("ec2", "ModifyInstanceAttribute", When::Only(1), refused()));
    let second = rehearsal.deploy(&changed, &()).await.unwrap();
    assert_eq!(second.result(), Outcome::Failed, "{:?}", second.error());
    assert!(second.error().unwrap().contains("deployment-1"), "{:?}", second.error());
    assert_eq!(resources(&rehearsal), before);
    let third = deployed(&rehearsal, SHOP).await;
    assert_eq!(crate::changes(&third), Vec::<String>::new(), "the baseline is deployed");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_restarts_no_service_that_the_update_did_not_reach() {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, SHOP).await;
    let rejected = Fault::at("elasticloadbalancing", "SetSubnets", When::Only(1), refused());
    rehearsal.account().arm(rejected);
    let failed = rehearsal.deploy(&with(SHOP, "zones: 2", "zones: 3"), &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert_eq!(failed_step(&failed).as_deref(), Some("LoadBalancer"));
    let of_services: Vec<String> =
        changes(&failed).into_iter().filter(|call| call.starts_with("ecs:")).collect();
    assert_eq!(of_services, Vec::<String>::new());
}
