//! Resources of other owners are never changed or deleted, even if they look like ours. If one blocks a deployment, the
//! error names it, and the next deployment after its deletion succeeds.

mod namesakes; // resources of another owner with the names of ours
mod other_owner; // another owner in the same account
mod their_resources; // resources of another owner inside our stack

use namesakes::Namesake;
use other_owner::OtherOwner;
use serde_json::json;
use stackdrop::rehearsal::Checkpoint;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Item;
use their_resources::TheirResource;

use crate::{changes, deployed, object, rehearsal, resources, run};

/// A spec with every resource whose name is unique in an account or region.
const SPEC: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16, zones: 2, nat: single }
loadBalancer: { domain: shop.example.com, hostedZoneId: Z0123456789ABCDEFGHIJ }
services:
  web:
    image: public.ecr.aws/docker/library/nginx:1.29
    port: 80
    routes: [{ path: /* }]
    database: { DB_HOST: host }
instance: { type: t3.micro }
database: { deletionProtection: false, finalSnapshot: false }
";

/// A web service, and what an update adds to it.
const WEB: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16, zones: 2, nat: single }
loadBalancer: { domain: shop.example.com, hostedZoneId: Z0123456789ABCDEFGHIJ }
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /* }] }
";
const API: &str =
    "  api: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /api }] }\n";
const INSTANCE: &str = "instance: { type: t3.micro }\n";

/// The writing calls since then that named a resource of the other owner.
fn writes_to_theirs(rehearsal: &Rehearsal, since: usize) -> Vec<String> {
    let log = rehearsal.account().call_log();
    let calls = log[since..].iter().filter(|call| call.writes && !call.caller.starts_with("other-owner"));
    calls
        .filter(|call| !call.named.is_empty())
        .map(|call| format!("{} {:?}", call.name(), call.named))
        .collect()
}

/// Fails unless the other owner's resources are unchanged, and no writing call has named one.
fn assert_untouched(rehearsal: &Rehearsal, theirs: &[Item], since: usize, about: &str) {
    // The cost of a service is not compared: it varies with the number of running tasks.
    let known = |item: &Item| (item.kind.clone(), item.id.clone(), item.name.clone(), item.tags.clone());
    let now: Vec<_> = rehearsal.account().inventory().iter().map(known).collect();
    for item in theirs {
        assert!(now.contains(&known(item)), "{about}: the {} {} was touched", item.kind, item.id);
    }
    assert_eq!(writes_to_theirs(rehearsal, since), Vec::<String>::new(), "{about}");
}

/// Fails unless the error and the record name the blocking resource, and the lock is released.
async fn assert_blocked(
    rehearsal: &Rehearsal,
    ended: &Deployed,
    result: Outcome,
    expected: &str,
    about: &str,
) {
    let error = ended.error().unwrap_or_default();
    assert_eq!(ended.result(), result, "{about}: {error}");
    assert!(error.contains(expected), "{about}: {expected:?} is not in {error:?}");
    assert!(object(rehearsal, "stacks/shop/lock.json").await.is_none(), "{about}: the lock is free");
    let status = object(rehearsal, "stacks/shop/status.json").await.unwrap();
    assert!(status["message"].as_str().unwrap().contains(expected), "{about}: {status}");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_changes_nothing_when_another_owner_has_a_resource_of_the_same_name() {
    for namesake in Namesake::ALL {
        for stack in [None, Some("shop-2")] {
            if matches!((namesake, stack), (Namesake::TaskDefinition, None)) {
                continue; // a revision without a tag blocks nothing: see the next test
            }
            let about = format!("{namesake:?} of {stack:?}");
            let rehearsal = rehearsal(SPEC);
            let other_owner = OtherOwner::with_similar_vpc(&rehearsal, stack).await;
            let name = other_owner.create_namesake(namesake).await;
            let (theirs, since) = other_owner.watch_resources();

            let refused = rehearsal.deploy(SPEC, &()).await.unwrap();
            assert_blocked(&rehearsal, &refused, Outcome::Failed, &name, &about).await;
            assert!(
                refused.error().unwrap().starts_with("PreflightFailed"),
                "{about}: {:?}",
                refused.error()
            );
            assert_eq!(changes(&refused), Vec::<String>::new(), "{about}");
            assert_untouched(&rehearsal, &theirs, since, &about);
            assert_eq!(resources(&rehearsal).len(), theirs.len(), "{about}");

            other_owner.delete_namesake(namesake).await;
            let (theirs, since) = other_owner.watch_resources();
            deployed(&rehearsal, SPEC).await;
            assert_untouched(&rehearsal, &theirs, since, &about);
            let destroyed = run(
                &rehearsal,
                json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-database", "shop-instance"] }),
            )
            .await;
            assert_eq!(destroyed.result(), Outcome::Destroyed, "{about}: {:?}", destroyed.error());
            assert_untouched(&rehearsal, &theirs, since, &about);
            assert_eq!(resources(&rehearsal).len(), theirs.len(), "{about}: no other resources remain");
        }
    }
}

/// Pipelines that change a service's image can register revisions in our family, so the family's name counts as free.
#[tokio::test(start_paused = true)]
async fn an_untagged_revision_does_not_block_a_deployment_and_is_kept() {
    let rehearsal = rehearsal(SPEC);
    let other_owner = OtherOwner::with_similar_vpc(&rehearsal, None).await;
    other_owner.create_namesake(Namesake::TaskDefinition).await;
    let (theirs, since) = other_owner.watch_resources();
    deployed(&rehearsal, SPEC).await;
    assert_untouched(&rehearsal, &theirs, since, "deployed");
    let destroyed = run(
        &rehearsal,
        json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-database", "shop-instance"] }),
    )
    .await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_untouched(&rehearsal, &theirs, since, "destroyed");
    assert_eq!(resources(&rehearsal).len(), theirs.len(), "no other resources remain");
}

/// A checkpoint after the first deployment.
async fn deployed_checkpoint(spec: &str, largest: &str) -> Checkpoint {
    let rehearsal = rehearsal(largest);
    deployed(&rehearsal, spec).await;
    rehearsal.checkpoint()
}

#[tokio::test(start_paused = true)]
async fn an_update_blocked_by_another_owners_resource_names_it_and_changes_nothing() {
    let (api, instance, zone) =
        (format!("{WEB}{API}"), format!("{WEB}{INSTANCE}"), WEB.replacen("zones: 2", "zones: 3", 1));
    let before = deployed_checkpoint(WEB, &api).await;
    // The name of a target group depends on its VPC, which is the same in all runs from this checkpoint.
    let taken = {
        let rehearsal = Rehearsal::resume(&before);
        let ended = deployed(&rehearsal, &api).await;
        let arn = ended.outputs()["loadBalancer"]["targetGroups"]["api"].as_str().unwrap().to_owned();
        arn.split('/').nth(1).unwrap().to_owned()
    };
    let cases = [
        (TheirResource::TargetGroupNamed(taken), &api),
        (TheirResource::ServiceNamed("api"), &api),
        (TheirResource::GroupNamed("shop-instance"), &instance),
        (TheirResource::Subnet("10.20.128.0/24"), &zone),
    ];
    for (resource, update) in cases {
        for stack in [None, Some("shop-2")] {
            let about = format!("{resource:?} of {stack:?}");
            let rehearsal = Rehearsal::resume(&before);
            let other_owner = OtherOwner::of(&rehearsal, stack);
            let stood = resources(&rehearsal);
            let id = other_owner.add(&resource).await;
            let (theirs, since) = other_owner.watch_resources();

            let refused = rehearsal.deploy(update, &()).await.unwrap();
            assert_blocked(&rehearsal, &refused, Outcome::Failed, &id, &about).await;
            assert_untouched(&rehearsal, &theirs, since, &about);
            let ours: Vec<String> = resources(&rehearsal);
            assert!(stood.iter().all(|item| ours.contains(item)), "{about}: the baseline is kept");
            assert_eq!(ours.len(), stood.len() + theirs.len(), "{about}: nothing was added");

            other_owner.remove(&resource).await;
            deployed(&rehearsal, update).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_blocked_by_another_owners_resource_names_it_and_completes_once_it_is_gone() {
    let before = deployed_checkpoint(WEB, WEB).await;
    let cases: [(TheirResource, &[&str]); 6] = [
        (TheirResource::Subnet("10.20.254.0/24"), &["VPC"]),
        (TheirResource::RouteTable, &["VPC"]),
        (TheirResource::GroupThatRefersToOurs, &["SecurityGroup", "VPC"]),
        (TheirResource::Interface, &["SecurityGroup", "Subnet", "VPC"]),
        (TheirResource::Instance, &["SecurityGroup", "Subnet", "VPC"]),
        // The service could run with our roles.
        (TheirResource::ServiceNamed("theirs"), &["Cluster", "Role"]),
    ];
    for (resource, held) in cases {
        let about = format!("{resource:?}");
        let rehearsal = Rehearsal::resume(&before);
        let other_owner = OtherOwner::of(&rehearsal, None);
        let id = other_owner.add(&resource).await;
        // ECS's error names the service without its cluster.
        let id = id.strip_prefix("service/shop/").unwrap_or(&id);
        let (theirs, since) = other_owner.watch_resources();

        let destroy =
            json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-database", "shop-instance"] });
        let blocked = run(&rehearsal, destroy.clone()).await;
        assert_blocked(&rehearsal, &blocked, Outcome::DestroyFailed, id, &about).await;
        assert_untouched(&rehearsal, &theirs, since, &about);
        let ours = rehearsal.account().inventory().into_iter().filter(|item| !item.component.is_empty());
        let left: Vec<String> = ours.map(|item| item.kind).collect();
        let allowed = |kind: &String| held.iter().any(|held| kind.ends_with(&format!("::{held}")));
        assert!(held.iter().all(|held| left.iter().any(|kind| kind.ends_with(held))), "{about}: {left:?}");
        assert!(left.iter().all(allowed), "{about}: everything else is deleted: {left:?}");

        other_owner.remove(&resource).await;
        let destroyed = run(&rehearsal, destroy).await;
        assert_eq!(destroyed.result(), Outcome::Destroyed, "{about}: {:?}", destroyed.error());
        assert_eq!(resources(&rehearsal), Vec::<String>::new(), "{about}");
    }
}

#[tokio::test(start_paused = true)]
async fn rules_targets_and_records_of_other_owners_survive_updates_and_records_survive_a_destroy() {
    let rehearsal = rehearsal(WEB);
    deployed(&rehearsal, WEB).await;
    let other_owner = OtherOwner::of(&rehearsal, None);
    let rule = other_owner.add(&TheirResource::Rule).await;
    let target = other_owner.add(&TheirResource::Target).await;
    other_owner.create_record("mail.example.com").await;
    let (theirs, since) = other_owner.watch_resources();
    deployed(&rehearsal, &WEB.replacen("port: 80", "count: 2, port: 80", 1)).await;
    assert_untouched(&rehearsal, &theirs, since, "an update");
    assert!(other_owner.has_rule(&rule).await, "the rule is kept");
    assert!(other_owner.has_target(&target).await, "the target is kept");
    assert!(other_owner.has_record("mail.example.com").await);

    // AWS deletes a target group with targets: what is behind them is not changed.
    let destroyed = run(
        &rehearsal,
        json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-database", "shop-instance"] }),
    )
    .await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert!(other_owner.has_record("mail.example.com").await, "the record is kept");
    assert_eq!(writes_to_theirs(&rehearsal, since), Vec::<String>::new());
}
