//! Updates that replace the egress of the private subnets. The previous egress is kept until everything is healthy, since
//! a released public address cannot be recovered.

use std::time::Duration;

use aws_sdk_ec2::operation::modify_vpc_endpoint::builders::ModifyVpcEndpointFluentBuilder;
use aws_sdk_ec2::types::{IpPermission, VpcEndpoint};
use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::{COMPONENTS, handle};
use stackdrop_simulator::{Fault, FaultKind, When};
use stackdrop_statemachine::Abort;

use stackdrop_specs::Spec;

use crate::redeploy;
use crate::updates_network::{INSTANCE_ONLY, planned};
use crate::{
    MINIMAL, PRIVATE, SHOP, StopAt, admitted_state, cause, deployed, failed_step, object, pause, rehearsal,
    run, with,
};

const CHANGES: [(&str, &str); 5] = [
    ("nat: per-zone", "nat: single"),
    ("nat: per-zone", "nat: none"),
    ("nat: single", "nat: none"),
    ("nat: single", "nat: per-zone"),
    ("nat: none", "nat: single"),
];

/// The egress: gateways, endpoints, public addresses with their network interfaces, and the routes to NAT gateways.
async fn egress_resources(rehearsal: &Rehearsal) -> Vec<String> {
    let ec2 = &rehearsal.aws().ec2();
    let egress = rehearsal.account().inventory().into_iter().filter(|item| item.component == "egress");
    let mut all: Vec<String> = egress.map(|item| format!("{} {}", item.kind, item.id)).collect();
    for address in ec2.describe_addresses().send().await.unwrap().addresses() {
        let (public, interface) = (address.public_ip().unwrap(), address.network_interface_id());
        all.push(format!("{public} of {interface:?}"));
    }
    for table in ec2.describe_route_tables().send().await.unwrap().route_tables() {
        let routes = table.routes().iter().filter(|route| route.nat_gateway_id().is_some());
        all.extend(routes.map(|route| {
            let (id, state) = (table.route_table_id().unwrap(), route.state());
            format!("{id} leads to {} ({state:?})", route.nat_gateway_id().unwrap())
        }));
    }
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn a_failed_update_keeps_the_previous_gateways_and_addresses() {
    for (from, to) in CHANGES {
        let before = INSTANCE_ONLY.replacen("nat: single", from, 1);
        let rehearsal = rehearsal_of(&before).await;
        let stood = egress_resources(&rehearsal).await;
        let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
        rehearsal.account().arm(Fault::at("ec2", "StopInstances", When::Only(1), refused));
        let update = with(&with(&before, from, to), "t3.micro", "t3.small");
        let failed = rehearsal.deploy(&update, &()).await.unwrap();
        assert_eq!(failed.result(), Outcome::Failed, "{from} to {to}: {:?}", failed.error());
        assert_eq!(failed_step(&failed).as_deref(), Some("Instance"), "the egress had changed by then");
        assert_eq!(egress_resources(&rehearsal).await, stood, "{from} to {to}");
        let next = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "{from} to {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_previous_egress_is_deleted_only_after_everything_is_healthy() {
    for (from, to) in CHANGES {
        let before = INSTANCE_ONLY.replacen("nat: single", from, 1);
        let rehearsal = rehearsal_of(&before).await;
        let update = deployed(&rehearsal, &with(&before, from, to)).await;
        let going = ["DeleteNatGateway", "ReleaseAddress", "DeleteVpcEndpoints"];
        let gone: Vec<_> = update.calls.iter().filter(|call| going.contains(&&*call.operation)).collect();
        assert_eq!(gone.is_empty(), to == "nat: per-zone", "{from} to {to}");
        for call in gone {
            assert!(call.caller.ends_with("/egress/prune"), "{} by {}", call.operation, call.caller);
        }
        let egress = egress_resources(&rehearsal).await;
        let gateways = egress.iter().filter(|line| line.starts_with("AWS::EC2::NatGateway")).count();
        let wanted = match to {
            "nat: none" => 0,
            "nat: single" => 1,
            _ => 2,
        };
        assert_eq!(gateways, wanted, "{from} to {to}: {egress:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_leads_to_the_previous_gateway_until_the_new_one_is_available() {
    let rehearsal = rehearsal_of(INSTANCE_ONLY).await;
    let update = deployed(&rehearsal, &with(INSTANCE_ONLY, "nat: single", "nat: per-zone")).await;
    let place = |operation: &str| update.calls.iter().position(|call| call.operation == operation).unwrap();
    let (created, replaced) = (place("CreateNatGateway"), place("ReplaceRoute"));
    let looked =
        update.calls[created..replaced].iter().filter(|call| call.operation == "DescribeNatGateways");
    assert!(looked.count() > 1, "the step waited for the gateway before it replaced the route");
}

#[tokio::test(start_paused = true)]
async fn endpoints_awaiting_deletion_admit_a_new_service() {
    let before = with(INSTANCE_ONLY, "nat: single", "nat: none");
    let rehearsal = rehearsal_of(&before).await;
    let service = "services:\n  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', exec: true }\n";
    let update = with(&before, "nat: none", "nat: single") + service;
    let abort = Abort::default();
    let event = rehearsal.upload("specs/shop.yaml", update.as_bytes()).await.unwrap();
    // Exec calls `ssmmessages`. As long as the instance's endpoint exists, its private DNS name resolves to the endpoint.
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

/// Applies and prunes the baseline once more with every component, and returns the writing calls.
async fn writes_of_another_apply_and_prune(rehearsal: &Rehearsal) -> Vec<String> {
    let baseline = object(rehearsal, "stacks/shop/baseline.json").await.unwrap();
    let spec: Spec = serde_json::from_value(baseline["spec"].clone()).unwrap();
    let mut deployment = admitted_state(&spec);
    deployment["id"] = json!("applied-again");
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
async fn apply_and_prune_write_nothing_when_the_plan_is_empty() {
    for spec in [SHOP, PRIVATE, MINIMAL, INSTANCE_ONLY] {
        let spec =
            spec.replacen("stack: intranet", "stack: shop", 1).replacen("stack: hello", "stack: shop", 1);
        let rehearsal = rehearsal_of(&spec).await;
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
        assert_eq!(writes_of_another_apply_and_prune(&rehearsal).await, Vec::<String>::new(), "{spec}");
    }
    for (from, to) in CHANGES {
        let before = INSTANCE_ONLY.replacen("nat: single", from, 1);
        let rehearsal = rehearsal_of(&before).await;
        deployed(&rehearsal, &with(&before, from, to)).await;
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new());
        assert_eq!(
            writes_of_another_apply_and_prune(&rehearsal).await,
            Vec::<String>::new(),
            "{from} to {to}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_lost_its_gateway_and_its_names_is_released_as_planned() {
    let rehearsal = rehearsal_of(INSTANCE_ONLY).await;
    cause(&rehearsal, "nat-gateways-deleted");
    // For an hour, EC2 still shows the deleted gateway, whose tags name the address too.
    pause(Duration::from_hours(2)).await;
    for incident in ["logical-id-tags-removed", "names-changed"] {
        cause(&rehearsal, incident);
    }
    let private = deployed(&rehearsal, &with(INSTANCE_ONLY, "nat: single", "nat: none")).await;
    let plan = planned(&rehearsal, &private).await;
    assert!(plan.iter().any(|line| line.starts_with("address (198.18.")), "{plan:?}");
    assert_eq!(private.unplanned, Vec::<String>::new());
    assert!(!rehearsal.account().inventory().iter().any(|item| item.kind == "AWS::EC2::EIP"));
}

#[tokio::test(start_paused = true)]
async fn interface_endpoints_changed_by_hand_are_put_right() {
    type Change = fn(ModifyVpcEndpointFluentBuilder, &VpcEndpoint, &str) -> ModifyVpcEndpointFluentBuilder;
    let changes_by_hand: [(Change, &str); 4] = [
        (|call, _, _| call.private_dns_enabled(false), "endpoint/ssm privateDnsEnabled false -> true"),
        (
            |call, _, _| {
                let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ssm:GetParameter","Resource":"*"}]}"#;
                call.policy_document(policy)
            },
            "endpoint/ssm policy {",
        ),
        (
            |call, endpoint, _| call.remove_subnet_ids(&endpoint.subnet_ids()[0]),
            "endpoint/ssm subnets (none) -> subnet-",
        ),
        (|call, _, group| call.add_security_group_ids(group), "endpoint/ssm securityGroups sg-"),
    ];
    let rehearsal = rehearsal_of(&with(INSTANCE_ONLY, "nat: single", "nat: none")).await;
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let vpc = ec2.describe_vpcs().send().await.unwrap().vpcs()[0].vpc_id().unwrap().to_owned();
    let group = ec2.create_security_group().group_name("theirs").description("theirs").vpc_id(vpc);
    let group = group.send().await.unwrap().group_id().unwrap().to_owned();
    for (change, difference) in changes_by_hand {
        let of_ssm = aws_sdk_ec2::types::Filter::builder().name("service-name");
        let of_ssm = of_ssm.values("com.amazonaws.eu-central-1.ssm").build();
        let found = ec2.describe_vpc_endpoints().filters(of_ssm).send().await.unwrap();
        let endpoint = &found.vpc_endpoints()[0];
        let call = ec2.modify_vpc_endpoint().vpc_endpoint_id(endpoint.vpc_endpoint_id().unwrap());
        change(call, endpoint, &group).send().await.unwrap();
        pause(Duration::from_mins(5)).await;
        let repaired = redeploy(&rehearsal).await;
        assert!(repaired.succeeded(), "{difference}: {:?}", repaired.error());
        let plan = planned(&rehearsal, &repaired).await;
        assert!(plan.len() == 1 && plan[0].starts_with(difference), "{difference}: {plan:?}");
        let next = redeploy(&rehearsal).await;
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "after {difference}");
    }
}

/// An account with a deployed spec.
async fn rehearsal_of(spec: &str) -> Rehearsal {
    let rehearsal = rehearsal(spec);
    deployed(&rehearsal, spec).await;
    rehearsal
}
