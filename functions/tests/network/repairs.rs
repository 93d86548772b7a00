//! Repairs of manual changes that AWS refuses for a moment: the step reads again, and completes.

use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Filter;
use serde_json::{Value, json};
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::common::{act, until_done};
use crate::{COMPONENTS, ENDPOINTS, NAT, applied, deployed};

/// The call of a component that repairs a manual change, and the codes with which AWS refuses it for a while.
struct Repair {
    spec: &'static str,
    component: &'static str,
    operation: &'static str,
    codes: &'static [&'static str],
}

const REPAIRS: [Repair; 6] = [
    Repair {
        spec: NAT,
        component: "network",
        operation: "ModifyVpcEndpoint",
        codes: &[
            "IncorrectState",
            "RouteAlreadyExists",
            "InvalidRouteTableId.NotFound",
            "InvalidRouteTableID.NotFound",
        ],
    },
    Repair {
        spec: NAT,
        component: "network",
        operation: "ReplaceRouteTableAssociation",
        codes: &["InvalidAssociationID.NotFound"],
    },
    Repair {
        spec: NAT,
        component: "network",
        operation: "DisassociateRouteTable",
        codes: &["InvalidAssociationID.NotFound"],
    },
    Repair { spec: NAT, component: "network", operation: "DeleteRoute", codes: &["InvalidRoute.NotFound"] },
    Repair {
        spec: NAT,
        component: "egress",
        operation: "ReplaceRoute",
        codes: &["InvalidGatewayID.NotFound", "InvalidNatGatewayID.NotFound", "NatGatewayNotFound"],
    },
    Repair {
        spec: ENDPOINTS,
        component: "egress",
        operation: "ModifyVpcEndpoint",
        codes: &["IncorrectState"],
    },
];

async fn later() {
    tokio::time::advance(Duration::from_mins(5)).await;
}

fn text<'d>(deployment: &'d Value, pointer: &str) -> &'d str {
    deployment["outputs"]["network"].pointer(pointer).and_then(Value::as_str).unwrap()
}

/// The ID of the stack's route table with this logical ID, and that of its first association.
async fn table(ec2: &Client, logical_id: &str) -> (String, String) {
    let by_logical_id = Filter::builder().name("tag:stackdrop:logical-id").values(logical_id).build();
    let found = ec2.describe_route_tables().filters(by_logical_id).send().await.unwrap();
    let table = &found.route_tables()[0];
    let association = table.associations()[0].route_table_association_id().unwrap();
    (table.route_table_id().unwrap().to_owned(), association.to_owned())
}

async fn internet_gateway(ec2: &Client) -> String {
    let gateways = ec2.describe_internet_gateways().send().await.unwrap();
    gateways.internet_gateways()[0].internet_gateway_id().unwrap().to_owned()
}

/// The stack's endpoint of an AWS service.
async fn endpoint(ec2: &Client, service: &str) -> String {
    let name = format!("com.amazonaws.eu-central-1.{service}");
    let by_service = Filter::builder().name("service-name").values(name).build();
    let found = ec2.describe_vpc_endpoints().filters(by_service).send().await.unwrap();
    found.vpc_endpoints()[0].vpc_endpoint_id().unwrap().to_owned()
}

/// Makes the manual change that a call repairs.
async fn change(ec2: &Client, repair: &Repair, deployment: &Value) {
    match (repair.component, repair.operation) {
        ("network", "ModifyVpcEndpoint") => {
            let id = endpoint(ec2, "s3").await;
            let call = ec2.modify_vpc_endpoint().vpc_endpoint_id(id);
            call.remove_route_table_ids(text(deployment, "/privateTables/a")).send().await.unwrap();
        }
        ("network", "ReplaceRouteTableAssociation") => {
            let (public, _) = table(ec2, "route-table/public").await;
            let (_, association) = table(ec2, "route-table/private/a").await;
            let call = ec2.replace_route_table_association().route_table_id(public);
            call.association_id(association).send().await.unwrap();
        }
        ("network", "DisassociateRouteTable") => {
            let vpc = text(deployment, "/vpc");
            let found = ec2.describe_vpcs().vpc_ids(vpc).send().await.unwrap();
            let range = found.vpcs()[0].cidr_block().unwrap();
            // The last addresses of the VPC's range.
            let [first, second, _, _] = range.split('.').collect::<Vec<_>>()[..] else { panic!("{range}") };
            let call = ec2.create_subnet().vpc_id(vpc).cidr_block(format!("{first}.{second}.255.0/28"));
            let subnet = call.send().await.unwrap().subnet.unwrap().subnet_id.unwrap();
            later().await;
            let call = ec2.associate_route_table().route_table_id(text(deployment, "/privateTables/a"));
            call.subnet_id(subnet).send().await.unwrap();
        }
        ("network", "DeleteRoute") => {
            let (id, _) = table(ec2, "route-table/database").await;
            let call = ec2.create_route().route_table_id(id).destination_cidr_block("0.0.0.0/0");
            call.gateway_id(internet_gateway(ec2).await).send().await.unwrap();
        }
        ("egress", "ReplaceRoute") => {
            let call = ec2.replace_route().route_table_id(text(deployment, "/privateTables/a"));
            let call = call.destination_cidr_block("0.0.0.0/0");
            call.gateway_id(internet_gateway(ec2).await).send().await.unwrap();
        }
        ("egress", "ModifyVpcEndpoint") => {
            let id = endpoint(ec2, "ssm").await;
            let call = ec2.modify_vpc_endpoint().vpc_endpoint_id(id).private_dns_enabled(false);
            call.send().await.unwrap();
        }
        (component, operation) => unreachable!("{component} repairs nothing with {operation}"),
    }
    later().await;
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_aws_refuses_for_a_moment_is_completed() {
    for repair in &REPAIRS {
        for code in repair.codes {
            let about = format!("{} {}: {code}", repair.component, repair.operation);
            let (account, aws, mut deployment) = deployed(repair.spec, &COMPONENTS[..3]).await;
            deployment["id"] = json!("second");
            later().await;
            let plan = act(&aws, repair.component, "plan", &deployment).await.unwrap();
            assert_eq!(plan["changes"], json!([]), "{about}: before the manual change");
            change(aws.ec2(), repair, &deployment).await;
            let plan = act(&aws, repair.component, "plan", &deployment).await.unwrap();
            assert_eq!(plan["changes"].as_array().map(Vec::len), Some(1), "{about}: {plan}");
            let kind = FaultKind::Refused { code: (*code).into(), message: "the test says no".into() };
            account.arm(Fault::at("ec2", repair.operation, When::Only(1), kind));
            let outputs = until_done(&aws, repair.component, "apply", &deployment).await;
            assert!(outputs.is_ok(), "{about}: {outputs:?}");
            assert_eq!(account.strikes().len(), 1, "{about}");
            // What the refused call had to do, if AWS told that it was done, is done by the next deployment.
            later().await;
            applied(&aws, repair.component, &mut deployment).await;
            later().await;
            let plan = act(&aws, repair.component, "plan", &deployment).await.unwrap();
            assert_eq!((&plan["changes"], &plan["problems"]), (&json!([]), &json!([])), "{about}");
        }
    }
}
