//! What is somebody else's is never changed or deleted, however much it looks like ours: the deployment says that it
//! stands in the way, and once it does not any more, the next deployment succeeds.

mod neighbour;

use neighbour::{Guest, Namesake, Neighbour};
use serde_json::json;
use stackdrop::rehearsal::Checkpoint;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Item;

use crate::{asked, changes, deployed, object, rehearsal, standing};

/// Everything that has a name of its own in an account or region.
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

/// A web service alone, and what an update adds to it.
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

/// The calls since then that named something of the neighbour's and may have changed it.
fn meddling(rehearsal: &Rehearsal, since: usize) -> Vec<String> {
    let ledger = rehearsal.account().call_log();
    let calls = ledger[since..].iter().filter(|call| call.writes && !call.caller.starts_with("neighbour"));
    calls
        .filter(|call| !call.named.is_empty())
        .map(|call| format!("{} {:?}", call.name(), call.named))
        .collect()
}

/// That what is the neighbour's stands as it stood, and that nobody has as much as asked for a change of it.
fn assert_untouched(rehearsal: &Rehearsal, theirs: &[Item], since: usize, about: &str) {
    // What a service costs goes with the tasks that it has, and is nobody's doing.
    let known = |item: &Item| (item.kind.clone(), item.id.clone(), item.name.clone(), item.tags.clone());
    let now: Vec<_> = rehearsal.account().inventory().iter().map(known).collect();
    for item in theirs {
        assert!(now.contains(&known(item)), "{about}: the {} {} was touched", item.kind, item.id);
    }
    assert_eq!(meddling(rehearsal, since), Vec::<String>::new(), "{about}");
}

/// That it was said what stands in the way, that nobody holds the lock, and that the record says the same.
async fn assert_said(rehearsal: &Rehearsal, ended: &Deployed, result: Outcome, said: &str, about: &str) {
    let error = ended.error().unwrap_or_default();
    assert_eq!(ended.result(), result, "{about}: {error}");
    assert!(error.contains(said), "{about}: {said:?} is not in {error:?}");
    assert!(object(rehearsal, "stacks/shop/lock.json").await.is_none(), "{about}: the lock is free");
    let status = object(rehearsal, "stacks/shop/status.json").await.unwrap();
    assert!(status["message"].as_str().unwrap().contains(said), "{about}: {status}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_beside_a_namesake_and_nothing_of_it_is_touched() {
    for thing in Namesake::ALL {
        for stack in [None, Some("shop-2")] {
            if matches!((thing, stack), (Namesake::TaskDefinition, None)) {
                continue; // a revision without a tag takes nothing away: see below
            }
            let about = format!("{thing:?} of {stack:?}");
            let rehearsal = rehearsal(SPEC);
            let neighbour = Neighbour::moves_in(&rehearsal, stack).await;
            let name = neighbour.makes(thing).await;
            let (theirs, since) = neighbour.shows();

            let refused = rehearsal.deploy(SPEC, &()).await.unwrap();
            assert_said(&rehearsal, &refused, Outcome::Failed, &name, &about).await;
            assert!(
                refused.error().unwrap().starts_with("PreflightFailed"),
                "{about}: {:?}",
                refused.error()
            );
            assert_eq!(changes(&refused), Vec::<String>::new(), "{about}");
            assert_untouched(&rehearsal, &theirs, since, &about);
            assert_eq!(standing(&rehearsal).len(), theirs.len(), "{about}");

            neighbour.takes_away(thing).await;
            let (theirs, since) = neighbour.shows();
            deployed(&rehearsal, SPEC).await;
            assert_untouched(&rehearsal, &theirs, since, &about);
            let destroyed = asked(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
            assert_eq!(destroyed.result(), Outcome::Destroyed, "{about}: {:?}", destroyed.error());
            assert_untouched(&rehearsal, &theirs, since, &about);
            assert_eq!(standing(&rehearsal).len(), theirs.len(), "{about}: nothing else is left");
        }
    }
}

/// Who sets a service's image may register revisions beside ours, so that the family's name is not taken.
#[tokio::test(start_paused = true)]
async fn a_revision_of_nobody_stands_beside_ours_and_outlives_them() {
    let rehearsal = rehearsal(SPEC);
    let neighbour = Neighbour::moves_in(&rehearsal, None).await;
    neighbour.makes(Namesake::TaskDefinition).await;
    let (theirs, since) = neighbour.shows();
    deployed(&rehearsal, SPEC).await;
    assert_untouched(&rehearsal, &theirs, since, "deployed");
    let destroyed = asked(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert_untouched(&rehearsal, &theirs, since, "destroyed");
    assert_eq!(standing(&rehearsal).len(), theirs.len(), "nothing else is left");
}

/// The stack as it stands after its first deployment.
async fn stands(spec: &str, largest: &str) -> Checkpoint {
    let rehearsal = rehearsal(largest);
    deployed(&rehearsal, spec).await;
    rehearsal.checkpoint()
}

#[tokio::test(start_paused = true)]
async fn an_update_that_finds_a_guest_in_its_place_says_so_and_changes_nothing() {
    let (api, instance, zone) =
        (format!("{WEB}{API}"), format!("{WEB}{INSTANCE}"), WEB.replacen("zones: 2", "zones: 3", 1));
    let before = stands(WEB, &api).await;
    // A target group's name depends on its VPC, which is the same in all that goes on from here.
    let taken = {
        let rehearsal = Rehearsal::resume(&before);
        let ended = deployed(&rehearsal, &api).await;
        let arn = ended.outputs()["loadBalancer"]["targetGroups"]["api"].as_str().unwrap().to_owned();
        arn.split('/').nth(1).unwrap().to_owned()
    };
    let cases = [
        (Guest::TargetGroupNamed(taken), &api),
        (Guest::ServiceNamed("api"), &api),
        (Guest::GroupNamed("shop-instance"), &instance),
        (Guest::Subnet("10.20.128.0/24"), &zone),
    ];
    for (guest, update) in cases {
        for stack in [None, Some("shop-2")] {
            let about = format!("{guest:?} of {stack:?}");
            let rehearsal = Rehearsal::resume(&before);
            let neighbour = Neighbour::of(&rehearsal, stack);
            let stood = standing(&rehearsal);
            let id = neighbour.puts(&guest).await;
            let (theirs, since) = neighbour.shows();

            let refused = rehearsal.deploy(update, &()).await.unwrap();
            assert_said(&rehearsal, &refused, Outcome::Failed, &id, &about).await;
            assert_untouched(&rehearsal, &theirs, since, &about);
            let ours: Vec<String> = standing(&rehearsal);
            assert!(stood.iter().all(|item| ours.contains(item)), "{about}: the baseline stands");
            assert_eq!(ours.len(), stood.len() + theirs.len(), "{about}: nothing was added");

            neighbour.clears(&guest).await;
            deployed(&rehearsal, update).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_names_the_guest_that_holds_it_up_takes_the_rest_and_goes_on_when_the_guest_has_left() {
    let before = stands(WEB, WEB).await;
    let cases: [(Guest, &[&str]); 7] = [
        (Guest::Subnet("10.20.254.0/24"), &["VPC"]),
        (Guest::RouteTable, &["VPC"]),
        (Guest::GroupThatRefersToOurs, &["SecurityGroup", "VPC"]),
        (Guest::Interface, &["SecurityGroup", "Subnet", "VPC"]),
        (Guest::Instance, &["SecurityGroup", "Subnet", "VPC"]),
        (Guest::Target, &["TargetGroup"]),
        // It may run with our roles.
        (Guest::ServiceNamed("theirs"), &["Cluster", "Role"]),
    ];
    for (guest, held) in cases {
        let about = format!("{guest:?}");
        let rehearsal = Rehearsal::resume(&before);
        let neighbour = Neighbour::of(&rehearsal, None);
        let id = neighbour.puts(&guest).await;
        // ECS names services without their cluster.
        let id = id.strip_prefix("service/shop/").unwrap_or(&id);
        let (theirs, since) = neighbour.shows();

        let destroy = json!({ "stack": "shop", "action": "destroy" });
        let held_up = asked(&rehearsal, destroy.clone()).await;
        assert_said(&rehearsal, &held_up, Outcome::DestroyFailed, id, &about).await;
        assert_untouched(&rehearsal, &theirs, since, &about);
        let ours = rehearsal.account().inventory().into_iter().filter(|item| !item.component.is_empty());
        let left: Vec<String> = ours.map(|item| item.kind).collect();
        let allowed = |kind: &String| held.iter().any(|held| kind.ends_with(&format!("::{held}")));
        assert!(held.iter().all(|held| left.iter().any(|kind| kind.ends_with(held))), "{about}: {left:?}");
        assert!(left.iter().all(allowed), "{about}: what nobody holds is gone: {left:?}");

        neighbour.clears(&guest).await;
        let destroyed = asked(&rehearsal, destroy).await;
        assert_eq!(destroyed.result(), Outcome::Destroyed, "{about}: {:?}", destroyed.error());
        assert_eq!(standing(&rehearsal), Vec::<String>::new(), "{about}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strange_rule_target_and_record_outlive_updates_and_a_record_outlives_the_stack() {
    let rehearsal = rehearsal(WEB);
    deployed(&rehearsal, WEB).await;
    let neighbour = Neighbour::of(&rehearsal, None);
    let rule = neighbour.puts(&Guest::Rule).await;
    let target = neighbour.puts(&Guest::Target).await;
    neighbour.writes_record("mail.example.com").await;
    let (theirs, since) = neighbour.shows();
    deployed(&rehearsal, &WEB.replacen("port: 80", "count: 2, port: 80", 1)).await;
    assert_untouched(&rehearsal, &theirs, since, "an update");
    assert!(neighbour.has_rule(&rule).await, "the rule is there");
    assert!(neighbour.has_target(&target).await, "the target is there");
    assert!(neighbour.has_record("mail.example.com").await);

    neighbour.clears(&Guest::Target).await;
    let destroyed = asked(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    assert_eq!(destroyed.result(), Outcome::Destroyed, "{:?}", destroyed.error());
    assert!(neighbour.has_record("mail.example.com").await, "the record is nobody's but theirs");
    assert_eq!(meddling(&rehearsal, since), Vec::<String>::new());
}
