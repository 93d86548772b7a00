//! Each function's role allows the calls that the function makes, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use stackdrop::rehearsal::camel;
use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;

use crate::template::{functions, many, properties, statements, template};
use crate::{MINIMAL, PRIVATE, SHOP, deployed, rehearsal};

/// IAM actions by function.
type Actions = BTreeMap<String, BTreeSet<String>>;

/// What no rehearsal shows: AWS asks for it by itself, in the caller's name or before the function runs.
const ONLY_AWS_ASKS: [(&str, &[&str], &str); 14] = [
    ("*", &["logs:CreateLogStream", "logs:PutLogEvents"], "Lambda writes the function's log as its role"),
    (
        "*",
        &["s3:ListBucket"],
        "without it S3 answers AccessDenied, not NoSuchKey, for an object that is not there",
    ),
    ("*", &["kms:Decrypt", "kms:GenerateDataKey"], "SNS encrypts for the publisher"),
    ("admit", &["s3:GetObjectVersion"], "asked instead of s3:GetObject when a call names a version"),
    ("conclude", &["s3:GetObject"], "asked when a write or a deletion carries If-Match"),
    ("*", &["iam:PassRole"], "asked when a call hands a role to a service"),
    ("*", &["ec2:CreateTags"], "asked when a call creates with tags"),
    (
        "database",
        &["rds:AddTagsToResource", "rds:CreateDBSnapshot"],
        "asked when a call creates with tags, or deletes with a final snapshot",
    ),
    (
        "database",
        &["secretsmanager:CreateSecret", "secretsmanager:TagResource", "kms:DescribeKey"],
        "RDS makes the master password's secret",
    ),
    (
        "database",
        &[
            "ec2:DescribeAccountAttributes",
            "ec2:DescribeAvailabilityZones",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcAttribute",
            "ec2:DescribeVpcs",
            "iam:CreateServiceLinkedRole",
        ],
        "RDS looks at the network; the account's first database makes RDS's role",
    ),
    (
        "load-balancer",
        &[
            "ec2:DescribeAccountAttributes",
            "ec2:DescribeAddresses",
            "ec2:DescribeInternetGateways",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "elasticloadbalancing:AddTags",
            "iam:CreateServiceLinkedRole",
        ],
        "Elastic Load Balancing looks at the network, tags, and makes its role with the account's first",
    ),
    (
        "egress",
        &[
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "route53:AssociateVPCWithHostedZone",
        ],
        "asked when an interface endpoint is created with its private name",
    ),
    (
        "service",
        &[
            "cloudwatch:DeleteAlarms",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:PutMetricAlarm",
            "iam:CreateServiceLinkedRole",
        ],
        "Application Auto Scaling tries the caller's permission; the account's first service makes ECS's role",
    ),
    ("instance", &["iam:TagInstanceProfile", "iam:TagRole"], "asked when a call creates with tags"),
];

/// What the code calls, but no rehearsal here brings about. A test looks that the code still does.
const RARE: [(&str, &[&str], &str); 1] = [(
    "service",
    &["ecs:ListServices"],
    "only where a cluster has more services than the deployments know of",
)];

/// The IAM actions that a call needs. They have the operation's name, except in S3.
fn actions(call: &stackdrop_simulator::Call) -> Vec<String> {
    let name = match (call.service.as_str(), call.operation.as_str()) {
        ("s3", "HeadObject") => "GetObject",
        ("s3", "ListObjectsV2" | "ListObjects" | "HeadBucket") => "ListBucket",
        ("s3", "ListObjectVersions") => "ListBucketVersions",
        (_, operation) => operation,
    };
    vec![format!("{}:{name}", call.service)]
}

/// Adds what the functions of an account have called so far.
fn note(made: &mut Actions, rehearsal: &Rehearsal) {
    for call in rehearsal.account().ledger() {
        // `deployment-1/network/ensure`; what comes from outside is of no function.
        if let [_, function, _] = call.caller.split('/').collect::<Vec<_>>()[..] {
            made.entry(function.to_owned()).or_default().extend(actions(&call));
        }
    }
}

/// The same spec with one thing replaced.
fn with(spec: &str, from: &str, to: &str) -> String {
    let changed = spec.replacen(from, to, 1);
    assert_ne!(changed, spec, "the spec has no {from:?}");
    changed
}

/// Everything that rehearsals show the functions call.
async fn made() -> Actions {
    let mut made = Actions::new();
    for rehearsal in [
        shop_changes_and_goes().await,
        shop_is_changed_by_hand().await,
        private_gets_a_way_out_and_goes().await,
        minimal_stands().await,
        somebody_is_asked().await,
    ] {
        note(&mut made, &rehearsal);
    }
    for rehearsal in fails_and_is_undone().await {
        note(&mut made, &rehearsal);
    }
    made
}

fn unprotected(spec: &str) -> String {
    if spec.contains("deletionProtection: true") {
        with(spec, "deletionProtection: true", "deletionProtection: false")
    } else {
        with(spec, "multiAz: true", "multiAz: true\n  deletionProtection: false")
    }
}

/// A second service behind the load balancer, with routes before and after the first one's.
const API: &str = "
services:
  api:
    image: public.ecr.aws/docker/library/nginx:1.29
    port: 81
    scaling: { min: 1, max: 2, cpuPercent: 50 }
    routes:
      - path: /api/*
      - path: /v2/*
        priority: 20";

async fn shop_changes_and_goes() -> Rehearsal {
    let first = unprotected(SHOP);
    let second = with(&first, "\nservices:", API);
    let mut third = second.clone();
    for (from, to) in [
        ("  team: shop\n", "  owner: anna\n"),
        ("zones: 2", "zones: 3"),
        ("nat: single", "nat: per-zone"),
        ("6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23", "00000000-8f3a-4f0e-9a51-2b7c9d0e1f23"),
        ("redirectHttp: true", "redirectHttp: false"),
        ("interval: 10", "interval: 15"),
        ("path: /v2/*\n        priority: 20", "path: /v3/*\n        priority: 30"),
        ("scaling: { min: 1, max: 2, cpuPercent: 50 }", "count: 1"),
        ("type: t3.micro", "type: t3.small"),
        ("disk: 20", "disk: 30"),
        ("class: db.t4g.micro", "class: db.t4g.small"),
        ("cron(0 3 * * ? *)", "cron(0 4 * * ? *)"),
    ] {
        third = with(&third, from, to);
    }
    let fourth = with(&with(&first, "zones: 2", "zones: 3"), "disk: 20", "disk: 30");
    let specs = [&first, &third].map(|spec| Spec::read(spec.as_bytes()).unwrap());
    let rehearsal = Rehearsal::open(&Setting::default(), &[&specs[0], &specs[1]]).unwrap();
    // A route goes from one service to the other.
    let moved = "      - path: /v2/*\n        priority: 20";
    let swapped = with(
        &with(&second, &format!("\n{moved}"), ""),
        "      - path: /*",
        &format!("      - path: /*\n{moved}"),
    );
    for spec in [&first, &second, &swapped, &third, &fourth] {
        deployed(&rehearsal, spec).await;
    }
    for input in [
        json!({ "stack": "shop", "action": "redeploy" }),
        json!({ "stack": "shop", "refreshImage": true }),
        json!({ "stack": "shop", "action": "plan" }),
    ] {
        succeeds(&rehearsal, input).await;
    }
    succeeds(&rehearsal, json!({ "stack": "shop", "action": "destroy" })).await;
    rehearsal
}

async fn succeeds(rehearsal: &Rehearsal, input: Value) {
    let ended = rehearsal.run(input.clone(), &(), &Abort::default()).await;
    assert!(ended.succeeded(), "{input}: {}: {:?}", ended.result(), ended.error());
}

async fn shop_is_changed_by_hand() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    let shop = deployed(&rehearsal, SHOP).await;
    let outputs = stackdrop::rehearsal::outputs_of(&shop).unwrap();
    let (network, groups) = (outputs.network.unwrap(), outputs.security_groups.unwrap());
    let (id, balancer) = (outputs.instance.unwrap().id.unwrap(), outputs.load_balancer.unwrap().arn.unwrap());
    change_the_network(&rehearsal, &network).await;
    open_the_instance(&rehearsal, &id, groups.instance.as_ref().unwrap()).await;
    let elb = &rehearsal.aws().elb;
    let group = groups.service.unwrap();
    elb.set_security_groups().load_balancer_arn(balancer).security_groups(group).send().await.unwrap();
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    // Now that the profile is the right one again, there is none.
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let (association, _) = association(&rehearsal, &id).await;
    ec2.disassociate_iam_instance_profile().association_id(association).send().await.unwrap();
    succeeds(&rehearsal, json!({ "stack": "shop" })).await;
    // Somebody's own interface holds a subnet, so that the stack can't go.
    let subnet = network.private_subnets.values().next().unwrap();
    ec2.create_network_interface().subnet_id(subnet).send().await.unwrap();
    deployed(&rehearsal, &unprotected(SHOP)).await;
    let held = rehearsal.run(json!({ "stack": "shop", "action": "destroy" }), &(), &Abort::default()).await;
    assert_eq!(held.result(), "UndoFailed", "{:?}", held.error());
    rehearsal
}

async fn change_the_network(rehearsal: &Rehearsal, network: &stackdrop_functions::network::Outputs) {
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

/// The instance's association with a profile: its id, and the profile's name.
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
    let iam = &rehearsal.aws().iam;
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

async fn private_gets_a_way_out_and_goes() -> Rehearsal {
    let first = unprotected(&with(
        PRIVATE,
        "region: eu-central-1\n",
        "region: eu-central-1\ntags: { team: office }\n",
    ));
    let second = with(&with(&first, "nat: none", "nat: single"), "team: office", "owner: anna");
    let rehearsal = rehearsal(&first);
    deployed(&rehearsal, &first).await;
    // Somebody takes an endpoint out of a subnet.
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let endpoints = ec2.describe_vpc_endpoints().send().await.unwrap();
    let endpoint =
        endpoints.vpc_endpoints().iter().find(|endpoint| !endpoint.subnet_ids().is_empty()).unwrap();
    let modify = ec2.modify_vpc_endpoint().vpc_endpoint_id(endpoint.vpc_endpoint_id().unwrap());
    modify.remove_subnet_ids(&endpoint.subnet_ids()[0]).send().await.unwrap();
    for spec in [&first, &second, &first] {
        deployed(&rehearsal, spec).await;
    }
    succeeds(&rehearsal, json!({ "stack": "intranet", "action": "destroy" })).await;
    rehearsal
}

async fn minimal_stands() -> Rehearsal {
    let rehearsal = rehearsal(MINIMAL);
    deployed(&rehearsal, MINIMAL).await;
    rehearsal
}

/// Two deployments of which the second finds the first waiting for an answer.
async fn somebody_is_asked() -> Rehearsal {
    let cautious = with(SHOP, "approval: none", "approval: required");
    let rehearsal = rehearsal(&cautious);
    let event = rehearsal.upload("specs/shop.yaml", cautious.as_bytes()).await.unwrap();
    let destroy = json!({ "stack": "shop", "action": "destroy" });
    let (nothing, abort) = ((), Abort::default());
    let waiting = rehearsal.run(event, &nothing, &abort);
    let insisting = async {
        wait(120).await;
        rehearsal.run(destroy, &nothing, &abort).await
    };
    tokio::join!(waiting, insisting);
    rehearsal
}

#[expect(clippy::disallowed_methods, reason = "a person takes their time")]
async fn wait(seconds: u64) {
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
}

/// Deployments that fail: AWS is asked why, and who holds what can't go.
async fn fails_and_is_undone() -> Vec<Rehearsal> {
    let spec = Spec::read(SHOP.as_bytes()).unwrap();
    let image = spec.services["web"].image.clone();
    let mut rehearsals = Vec::new();
    let seeds = vec![Seed::CrashingImage { image, exit_code: 3 }];
    let crashing = Rehearsal::open(&Setting { seeds, ..Setting::default() }, &[&spec]).unwrap();
    crashing.deploy(SHOP, &()).await.unwrap();
    rehearsals.push(crashing);
    let database = rehearsal(SHOP);
    database.account().arm(Fault::at("rds", "CreateDBInstance", When::From(1), FaultKind::ResourceFails));
    database.deploy(SHOP, &()).await.unwrap();
    rehearsals.push(database);
    rehearsals.push(stopped().await);
    rehearsals
}

/// A deployment that was stopped, and the one that looks after it.
async fn stopped() -> Rehearsal {
    let rehearsal = rehearsal(SHOP);
    let event = rehearsal.upload("specs/shop.yaml", SHOP.as_bytes()).await.unwrap();
    let (nothing, abort) = ((), Abort::default());
    let stop = async {
        wait(60).await;
        abort.stop("Stopped", "by hand");
    };
    let (deployment, ()) = tokio::join!(rehearsal.run(event.clone(), &nothing, &abort), stop);
    let interruption = rehearsal.interruption(&deployment.id, &event).unwrap();
    rehearsal.run(interruption, &(), &Abort::default()).await;
    rehearsal
}

/// What each role allows.
fn allowed() -> Actions {
    let template = template();
    let allowed = |function: &String| {
        let statements = statements(&template, function).iter();
        statements.flat_map(|statement| many(&statement["Action"])).map(str::to_owned).collect()
    };
    functions().into_keys().map(|function| (function.clone(), allowed(&function))).collect()
}

/// Whether one of the lists above has it.
fn listed(list: &[(&str, &[&str], &str)], function: &str, action: &str) -> bool {
    list.iter().any(|(of, actions, _)| (*of == "*" || *of == function) && actions.contains(&action))
}

#[tokio::test(start_paused = true)]
async fn roles_allow_what_functions_call_and_no_more() {
    let (made, allowed) = (made().await, allowed());
    let mut wrong = Vec::new();
    for (function, allowed) in &allowed {
        let made = &made[function];
        for action in made.difference(allowed) {
            wrong.push(format!(
                "{function} calls {action}: allow it in {}Role of template.yaml, for as few resources as it can be",
                camel(function)
            ));
        }
        for action in allowed.difference(made) {
            if !listed(&ONLY_AWS_ASKS, function, action) && !listed(&RARE, function, action) {
                wrong.push(format!(
                    "{function} never calls {action}: take it out of {}Role of template.yaml, or rehearse here \
                     what makes it call that",
                    camel(function)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_no_rehearsal_shows_is_still_in_the_code() {
    for (function, rare, why) in &RARE {
        let code = code_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/src"), function);
        for action in *rare {
            let (_, operation) = action.split_once(':').unwrap();
            let call = format!(".{}()", snake(operation));
            assert!(code.contains(&call), "{function} does not call {action} any more ({why})");
        }
    }
}

/// The text of a component's folder.
fn code_of(functions: &Path, component: &str) -> String {
    let files = std::fs::read_dir(functions.join(component.replace('-', "_"))).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// An operation as the SDK names its method.
fn snake(operation: &str) -> String {
    let mut name = String::new();
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The conditions that keep a statement to what carries a stack's tag.
const BY_TAG: [&str; 2] = ["aws:RequestTag/stackdrop:stack", "aws:ResourceTag/stackdrop:stack"];

/// What may be created, changed or deleted without a look at tags, and why.
const WITHOUT_TAG: [(&str, &[&str], &str); 11] = [
    ("*", &["logs:CreateLogStream", "logs:PutLogEvents"], "the function's own log group"),
    (
        "*",
        &[
            "s3:PutObject",
            "s3:DeleteObject",
            "kms:Decrypt",
            "kms:GenerateDataKey",
            "sns:Publish",
            "events:PutEvents",
        ],
        "the installation's own",
    ),
    (
        "*",
        &[
            "scheduler:CreateSchedule",
            "scheduler:UpdateSchedule",
            "scheduler:DeleteSchedule",
            "states:SendTaskFailure",
        ],
        "the installation's own",
    ),
    ("*", &["iam:PassRole", "iam:CreateServiceLinkedRole"], "by service"),
    (
        "network",
        &["ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"],
        "a VPC's default group can't be tagged in time",
    ),
    ("load-balancer", &["elasticloadbalancing:SetRulePriorities"], "knows no tags"),
    ("load-balancer", &["route53:ChangeResourceRecordSets"], "records have no tags; by type of record"),
    ("egress", &["route53:AssociateVPCWithHostedZone"], "EC2 does it for an endpoint"),
    (
        "instance",
        &[
            "iam:AddRoleToInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:AttachRolePolicy",
            "iam:DetachRolePolicy",
            "ec2:RunInstances",
        ],
        "by name; from Amazon's images",
    ),
    (
        "service",
        &[
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:PutRolePolicy",
            "ecs:DeregisterTaskDefinition",
            "application-autoscaling:DeregisterScalableTarget",
            "application-autoscaling:PutScalingPolicy",
            "application-autoscaling:RegisterScalableTarget",
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutMetricAlarm",
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ],
        "by name, or AWS takes no narrower condition",
    ),
    (
        "database",
        &[
            "rds:AddTagsToResource",
            "rds:DeleteDBInstance",
            "rds:CreateDBSnapshot",
            "secretsmanager:CreateSecret",
            "secretsmanager:TagResource",
        ],
        "by name",
    ),
];

#[test]
fn what_changes_something_is_limited_to_what_carries_a_stacks_tag() {
    let template = template();
    for function in functions().into_keys() {
        for statement in statements(&template, &function) {
            let tests = statement["Condition"].as_object().into_iter().flat_map(serde_json::Map::values);
            let mut keys = tests.flat_map(|test| test.as_object().unwrap().keys());
            let by_tag = keys.any(|key| BY_TAG.contains(&key.as_str()));
            for action in many(&statement["Action"]) {
                assert!(!action.contains('*'), "{function}: {action}");
                let (_, operation) = action.split_once(':').unwrap();
                let reads = ["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb));
                assert!(
                    by_tag || reads || listed(&WITHOUT_TAG, &function, action),
                    "{function} may {action} whatever its tags: give the statement a condition on {}, or say here \
                     why it has none",
                    BY_TAG.join(" or ")
                );
            }
        }
    }
}

#[test]
fn no_function_can_change_the_installations_own_roles() {
    let template = template();
    for function in functions().into_keys() {
        assert_eq!(
            properties(&template, &format!("{}Role", camel(&function)))["Path"],
            "/stackdrop/functions/"
        );
        for statement in statements(&template, &function) {
            for resource in many(&statement["Resource"]).iter().filter(|resource| resource.contains(":iam::"))
            {
                // The names of the stacks' roles all begin like this, so their pattern matches no deeper path.
                let own =
                    resource.contains("/stackdrop/stackdrop-*-") || resource.contains("/aws-service-role/");
                assert!(own, "{function}: {resource}");
            }
        }
    }
}
