//! The way out of the private subnets when the spec asks for another: the one of before is there until all is healthy,
//! since a public address that was released never comes back.

use aws_sdk_ec2::types::IpPermission;
use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::{COMPONENTS, handle};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::Abort;

use stackdrop_specs::Spec;

use crate::updates_network::{BOX, again, planned};
use crate::{
    MINIMAL, PRIVATE, SHOP, StopAt, admitted, asked, deployed, failed_step, object, rehearsal, with,
};

const CHANGES: [(&str, &str); 5] = [
    ("nat: per-zone", "nat: single"),
    ("nat: per-zone", "nat: none"),
    ("nat: single", "nat: none"),
    ("nat: single", "nat: per-zone"),
    ("nat: none", "nat: single"),
];

/// What goes out by what: gateways, endpoints, public addresses with who holds them, and where each private table leads.
async fn way_out(rehearsal: &Rehearsal) -> Vec<String> {
    let ec2 = &rehearsal.aws().ec2();
    let egress = rehearsal.account().inventory().into_iter().filter(|item| item.component == "egress");
    let mut all: Vec<String> = egress.map(|item| format!("{} {}", item.kind, item.id)).collect();
    for address in ec2.describe_addresses().send().await.unwrap().addresses() {
        let (public, holder) = (address.public_ip().unwrap(), address.network_interface_id());
        all.push(format!("{public} of {holder:?}"));
    }
    for table in ec2.describe_route_tables().send().await.unwrap().route_tables() {
        let ways = table.routes().iter().filter(|route| route.nat_gateway_id().is_some());
        all.extend(ways.map(|route| {
            let (id, state) = (table.route_table_id().unwrap(), route.state());
            format!("{id} leads to {} ({state:?})", route.nat_gateway_id().unwrap())
        }));
    }
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_later_comes_back_to_the_very_gateways_and_addresses_of_before() {
    for (from, to) in CHANGES {
        let before = BOX.replacen("nat: single", from, 1);
        let rehearsal = rehearsal_of(&before).await;
        let stood = way_out(&rehearsal).await;
        let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
        rehearsal.account().arm(Fault::at("ec2", "StopInstances", When::Only(1), refused));
        let update = with(&with(&before, from, to), "t3.micro", "t3.small");
        let failed = rehearsal.deploy(&update, &()).await.unwrap();
        assert_eq!(failed.result(), Outcome::Failed, "{from} to {to}: {:?}", failed.error());
        assert_eq!(failed_step(&failed).as_deref(), Some("Instance"), "the way out had changed by then");
        assert_eq!(way_out(&rehearsal).await, stood, "{from} to {to}");
        let next = asked(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{from} to {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_way_out_of_before_goes_only_when_everything_is_healthy() {
    for (from, to) in CHANGES {
        let before = BOX.replacen("nat: single", from, 1);
        let rehearsal = rehearsal_of(&before).await;
        let update = deployed(&rehearsal, &with(&before, from, to)).await;
        let going = ["DeleteNatGateway", "ReleaseAddress", "DeleteVpcEndpoints"];
        let gone: Vec<_> = update.calls.iter().filter(|call| going.contains(&&*call.operation)).collect();
        assert_eq!(gone.is_empty(), to == "nat: per-zone", "{from} to {to}");
        for call in gone {
            assert!(call.caller.ends_with("/egress/prune"), "{} by {}", call.operation, call.caller);
        }
        let stands = way_out(&rehearsal).await;
        let gateways = stands.iter().filter(|line| line.starts_with("AWS::EC2::NatGateway")).count();
        let wanted = match to {
            "nat: none" => 0,
            "nat: single" => 1,
            _ => 2,
        };
        assert_eq!(gateways, wanted, "{from} to {to}: {stands:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_on_their_way_out_let_a_new_service_through() {
    let before = with(BOX, "nat: single", "nat: none");
    let rehearsal = rehearsal_of(&before).await;
    let service = "services:\n  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', exec: true }\n";
    let update = with(&before, "nat: none", "nat: single") + service;
    let abort = Abort::default();
    let event = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
    // Exec asks for `ssmmessages`, whose name leads to the instance's endpoint as long as that is there.
    rehearsal.run(event, &StopAt("Egress", abort.clone()), &abort).await;
    let groups = rehearsal.aws().ec2().describe_security_groups().send().await.unwrap();
    let named = |name: &str| {
        let mut groups = groups.security_groups().iter();
        groups.find(|group| group.group_name() == Some(name)).unwrap_or_else(|| panic!("no group {name}"))
    };
    let (endpoints, service) = (named("shop-endpoints"), named("shop-service"));
    let peers = endpoints.ip_permissions().iter().flat_map(IpPermission::user_id_group_pairs);
    assert!(peers.into_iter().any(|peer| peer.group_id() == service.group_id()), "{endpoints:#?}");
}

/// Asks every component to bring about and to tidy up the baseline once more: what was changed by that.
async fn changed_by_asking_again(rehearsal: &Rehearsal) -> Vec<String> {
    let baseline = object(rehearsal, "stacks/shop/baseline.json").await.unwrap();
    let spec: Spec = serde_json::from_value(baseline["spec"].clone()).unwrap();
    let mut deployment = admitted(&spec);
    deployment["id"] = json!("asked-again");
    deployment["source"]["version"] = baseline["version"].clone();
    deployment["outputs"] = baseline["outputs"].clone();
    deployment["baseline"] = baseline;
    let before = rehearsal.account().calls();
    for action in ["apply", "prune"] {
        for part in &COMPONENTS {
            let payload = json!({ "action": action, "deployment": deployment });
            let answer = handle(part.name, payload, rehearsal.aws()).await;
            assert!(answer.is_ok(), "{} {action}: {answer:?}", part.name);
        }
    }
    let calls = rehearsal.account().call_log();
    calls.iter().skip(before).filter(|call| call.writes).map(stackdrop_simulator::Call::name).collect()
}

#[tokio::test(start_paused = true)]
async fn where_the_plan_is_empty_neither_ensure_nor_tidy_writes_anything() {
    for spec in [SHOP, PRIVATE, MINIMAL, BOX] {
        let spec =
            spec.replacen("stack: intranet", "stack: shop", 1).replacen("stack: hello", "stack: shop", 1);
        let rehearsal = rehearsal_of(&spec).await;
        let next = again(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
        assert_eq!(changed_by_asking_again(&rehearsal).await, Vec::<String>::new(), "{spec}");
    }
    for (from, to) in CHANGES {
        let before = BOX.replacen("nat: single", from, 1);
        let rehearsal = rehearsal_of(&before).await;
        deployed(&rehearsal, &with(&before, from, to)).await;
        let next = again(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
        assert_eq!(changed_by_asking_again(&rehearsal).await, Vec::<String>::new(), "{from} to {to}");
    }
}

/// An account in which a spec is deployed.
async fn rehearsal_of(spec: &str) -> Rehearsal {
    let rehearsal = rehearsal(spec);
    deployed(&rehearsal, spec).await;
    rehearsal
}
