//! Rehearsals with manual changes of a stack.

use serde_json::json;
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::Seed;
use stackdrop_statemachine::Abort;

use super::{rehearsal, succeeds, unprotected, wait};
use crate::{SHOP, deployed, with};

pub(super) async fn shop_is_changed_manually() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    let shop = deployed(&rehearsal, SHOP).await;
    let outputs = stackdrop::rehearsal::outputs_of(&shop).unwrap();
    let (network, groups) = (outputs.network.unwrap(), outputs.security_groups.unwrap());
    let (id, balancer) = (outputs.instance.unwrap().id.unwrap(), outputs.load_balancer.unwrap().arn.unwrap());
    change_the_network(&rehearsal, &network).await;
    open_the_instance(&rehearsal, &id, groups.instance.as_ref().unwrap()).await;
    let elb = &rehearsal.aws().elb();
    let group = groups.service.unwrap();
    elb.set_security_groups().load_balancer_arn(balancer).security_groups(&group).send().await.unwrap();
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    // The redeploy has restored the instance's profile. Now the profile is removed.
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let (association, _) = association(&rehearsal, &id).await;
    ec2.disassociate_iam_instance_profile().association_id(association).send().await.unwrap();
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    // An unowned network interface uses a subnet and a security group, which blocks their deletion.
    let subnet = network.private_subnets.values().next().unwrap();
    ec2.create_network_interface().subnet_id(subnet).groups(group).send().await.unwrap();
    deployed(&rehearsal, &unprotected(SHOP)).await;
    let blocked = rehearsal
        .run(
            json!({ "stack": "shop", "action": "destroy", "deleteData": ["shop-instance"] }),
            &(),
            &Abort::default(),
        )
        .await;
    assert_eq!(blocked.result(), Outcome::DestroyFailed, "{:?}", blocked.error());
    rehearsal
}

/// Manual changes stop the database, replace its parameter group, and delete it and the load balancer. A deployment is refused until
/// the spec names a snapshot; then the database and the load balancer are created again in the existing subnets.
pub(super) async fn shop_loses_its_database_and_load_balancer() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    deployed(&rehearsal, &unprotected(SHOP)).await;
    // The functions start the database, and reboot it for its parameters.
    for incident in ["database-stopped", "database-parameter-group-replaced"] {
        let incident = stackdrop_simulator::Incident::named(incident).unwrap();
        assert_eq!(rehearsal.account().cause(incident, "shop").len(), 1);
        wait(600).await;
        succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    }
    let delete = rehearsal.aws().rds().delete_db_instance().db_instance_identifier("shop-database");
    delete.final_db_snapshot_identifier("shop-database-last").send().await.unwrap();
    wait(1800).await;
    let refused = rehearsal.run(json!({ "stack": "shop" }), &(), &Abort::default()).await;
    assert_eq!(refused.result(), Outcome::Failed, "{:?}", refused.error());
    deployed(&rehearsal, &restored_from(&unprotected(SHOP), "shop-database-last")).await;
    // The services wait for the new load balancer.
    let incident = stackdrop_simulator::Incident::named("load-balancer-deleted").unwrap();
    assert_eq!(rehearsal.account().cause(incident, "shop").len(), 1);
    wait(600).await;
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    rehearsal
}

fn restored_from(spec: &str, snapshot: &str) -> String {
    with(spec, "finalSnapshot: true", &format!("finalSnapshot: true\n  restoreFrom: {snapshot}"))
}

/// A new stack is created from a snapshot that another owner shares with it, and that has a customer key.
pub(super) async fn shop_is_restored_from_a_shared_snapshot() -> Rehearsal {
    let spec = restored_from(&unprotected(SHOP), "shared");
    let rehearsal = rehearsal(&spec);
    rehearsal.account().seed(&Seed::DatabaseSnapshot {
        name: "shared".into(),
        version: "17".into(),
        kms_key: Some("arn:aws:kms:eu-central-1:123456789012:key/of-the-owner".into()),
        tags: [("stackdrop-access".to_owned(), "shop".to_owned())].into(),
    });
    deployed(&rehearsal, &spec).await;
    rehearsal
}

async fn change_the_network(
    rehearsal: &Rehearsal,
    network: &stackdrop_functions::deployment::outputs::NetworkOutputs,
) {
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let public = network.public_subnets.values().next().unwrap();
    let yes = aws_sdk_ec2::types::AttributeBooleanValue::builder().value(true).build();
    ec2.modify_subnet_attribute().subnet_id(public).map_public_ip_on_launch(yes).send().await.unwrap();
    let tables = ec2.describe_route_tables().send().await.unwrap();
    let tables = tables.route_tables();
    let association = tables
        .iter()
        .flat_map(aws_sdk_ec2::types::RouteTable::associations)
        .find(|association| association.subnet_id() == Some(public))
        .unwrap();
    let private = network.private_tables.values().next().unwrap();
    let wrong = ec2.replace_route_table_association().route_table_id(private);
    wrong.association_id(association.route_table_association_id().unwrap()).send().await.unwrap();
    let nat = ec2.describe_nat_gateways().send().await.unwrap();
    let nat = nat.nat_gateways()[0].nat_gateway_id().unwrap();
    let table = association.route_table_id().unwrap();
    let route = ec2.replace_route().route_table_id(table).destination_cidr_block("0.0.0.0/0");
    route.nat_gateway_id(nat).send().await.unwrap();
    let route = ec2.create_route().route_table_id(table).destination_cidr_block("198.51.100.0/24");
    route.nat_gateway_id(nat).send().await.unwrap();
}

/// The instance's association with its profile: the ID of the association, and the name of the profile.
async fn association(rehearsal: &Rehearsal, id: &str) -> (String, String) {
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let answer = ec2.describe_iam_instance_profile_associations().send().await.unwrap();
    let mut associations = answer.iam_instance_profile_associations().iter();
    let found = associations.find(|association| association.instance_id() == Some(id)).unwrap();
    let profile = found.iam_instance_profile().unwrap().arn().unwrap().rsplit('/').next().unwrap();
    (found.association_id().unwrap().to_owned(), profile.to_owned())
}

async fn open_the_instance(rehearsal: &Rehearsal, id: &str, group: &str) {
    use aws_sdk_ec2::types::{HttpTokensState, IamInstanceProfileSpecification, IpPermission};
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let options = ec2.modify_instance_metadata_options().instance_id(id);
    options.http_tokens(HttpTokensState::Optional).send().await.unwrap();
    let iam = &rehearsal.aws().iam();
    let (association, profile) = association(rehearsal, id).await;
    iam.create_instance_profile().instance_profile_name("other").send().await.unwrap();
    iam.add_role_to_instance_profile()
        .instance_profile_name("other")
        .role_name(profile)
        .send()
        .await
        .unwrap();
    wait(60).await;
    let other = IamInstanceProfileSpecification::builder().name("other").build();
    let replace = ec2.replace_iam_instance_profile_association().association_id(association);
    replace.iam_instance_profile(other).send().await.unwrap();
    let rules = ec2.describe_security_groups().group_ids(group).send().await.unwrap();
    let out: Vec<IpPermission> = rules.security_groups()[0].ip_permissions_egress().to_vec();
    let revoke = ec2.revoke_security_group_egress().group_id(group);
    revoke.set_ip_permissions(Some(out)).send().await.unwrap();
}
