//! Updates of network, egress, security groups and instance: in place, or refused before any change.

use aws_sdk_ec2::types::Filter;
use serde_json::{Value, json};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, FaultKind, When};

use crate::{changes, deployed, redeploy, rehearsal, run, with};

/// An instance in a private network.
pub(crate) const INSTANCE_ONLY: &str = "
stack: shop
region: eu-central-1
tags: { team: shop, tier: gold }
network: { cidr: 10.20.0.0/16, zones: 2, nat: single }
instance: { type: t3.micro, disk: 20 }
";

/// A web service that one range of addresses can reach.
pub(crate) const WEB: &str = "
stack: shop
region: eu-central-1
network: { cidr: 10.20.0.0/16, zones: 2, nat: single }
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
  redirectHttp: false
  allowedCidrs: [198.51.100.0/24]
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{ path: /* }] }
";

/// The plan in a deployment's record, one line for each change: `vpc tags.team shop -> books`, or `nat/b create`.
pub(crate) async fn planned(rehearsal: &Rehearsal, deployed: &Deployed) -> Vec<String> {
    let s3 = aws_sdk_s3::Client::new(rehearsal.sdk());
    let key = format!("stacks/shop/history/{}.json", deployed.id);
    let answer = s3.get_object().bucket(&rehearsal.aws().settings.bucket).key(key).send().await.unwrap();
    let record: Value = serde_json::from_slice(&answer.body.collect().await.unwrap().to_vec()).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let changes =
        record["plan"].as_array().unwrap().iter().flat_map(|part| part["changes"].as_array().unwrap());
    changes
        .flat_map(|change| {
            let (resource, verb) = (text(&change["resource"]), text(&change["verb"]));
            let fields = change["fields"].as_array().cloned().unwrap_or_default();
            if fields.is_empty() {
                return vec![format!("{resource} {verb}")];
            }
            let line = |field: &Value| {
                let (name, from, to) = (text(&field["field"]), text(&field["from"]), text(&field["to"]));
                format!("{resource} {name} {from} -> {to}")
            };
            fields.iter().map(line).collect()
        })
        .collect()
}

pub(crate) fn assert_planned(plan: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(plan.iter().any(|planned| planned.starts_with(line)), "`{line}` is not in {plan:#?}");
    }
}

/// Fails unless the calls were made in this order: the last call of each name before the first of the next.
fn assert_order(deployed: &Deployed, order: &[&str]) {
    let calls = changes(deployed);
    for pair in order.windows(2) {
        let last = calls.iter().rposition(|call| call == pair[0]);
        let first = calls.iter().position(|call| call == pair[1]);
        assert!(last.is_some() && last < first, "{} comes before {}: {calls:#?}", pair[0], pair[1]);
    }
}

struct Update {
    base: &'static str,
    from: &'static str,
    to: &'static str,
    planned: &'static [&'static str],
    /// The calls that must be made in this order.
    order: &'static [&'static str],
    /// The calls that would interrupt the service.
    never: &'static [&'static str],
}

const UPDATES: [Update; 10] = [
    Update {
        base: WEB,
        from: "198.51.100.0/24",
        to: "203.0.113.0/24",
        planned: &[
            "load-balancer in tcp 443 from 203.0.113.0/24 (none) -> allowed",
            "load-balancer in tcp 443 from 198.51.100.0/24 allowed -> (none)",
        ],
        order: &["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"],
        never: &[],
    },
    Update {
        base: WEB,
        from: "nat: single",
        to: "nat: per-zone",
        planned: &["nat/b create", "address/b create", "route/private/b natGateway nat-"],
        order: &["ec2:AllocateAddress", "ec2:CreateNatGateway", "ec2:ReplaceRoute"],
        never: &["ec2:DeleteRoute", "ec2:CreateRoute", "ec2:DeleteNatGateway"],
    },
    Update {
        base: INSTANCE_ONLY,
        from: "nat: single",
        to: "nat: none",
        planned: &["endpoint/ssm create", "route/private/a delete", "nat/a delete"],
        order: &["ec2:CreateVpcEndpoint", "ec2:DeleteRoute", "ec2:DeleteNatGateway", "ec2:ReleaseAddress"],
        never: &[],
    },
    Update {
        base: INSTANCE_ONLY,
        from: "zones: 2",
        to: "zones: 3",
        planned: &["subnet/private/c create", "route-table/private/c create"],
        order: &["ec2:CreateSubnet", "ec2:AssociateRouteTable"],
        never: &["ec2:ReplaceRoute", "ec2:DeleteRoute", "ec2:StopInstances"],
    },
    Update {
        base: INSTANCE_ONLY,
        from: "t3.micro",
        to: "t3.small",
        planned: &["instance type t3.micro -> t3.small"],
        order: &["ec2:StopInstances", "ec2:ModifyInstanceAttribute", "ec2:StartInstances"],
        never: &["ec2:TerminateInstances", "ec2:RunInstances"],
    },
    Update {
        base: INSTANCE_ONLY,
        from: "disk: 20",
        to: "disk: 30",
        planned: &["instance disk 20 -> 30"],
        order: &["ec2:ModifyVolume"],
        never: &["ec2:StopInstances"],
    },
    Update {
        base: INSTANCE_ONLY,
        from: "team: shop",
        to: "team: books",
        planned: &[
            "vpc tags.team shop -> books",
            "subnet/public/a tags.team shop -> books",
            "nat/a tags.team shop -> books",
            "instance tags.team shop -> books",
            "instance sgr-",
            "role/instance tags.team shop -> books",
            "profile/instance tags.team shop -> books",
        ],
        order: &["ec2:CreateTags"],
        never: &["ec2:DeleteTags"],
    },
    Update {
        base: INSTANCE_ONLY,
        from: ", tier: gold",
        to: "",
        planned: &["vpc tags.tier gold -> (none)", "address/a tags.tier gold -> (none)"],
        order: &["ec2:DeleteTags"],
        never: &["ec2:CreateTags"],
    },
    Update {
        base: INSTANCE_ONLY,
        from: "team: shop",
        to: "team: shop, owner: ops",
        planned: &["internet-gateway tags.owner (none) -> ops"],
        order: &["ec2:CreateTags"],
        never: &["ec2:DeleteTags"],
    },
    Update {
        base: WEB,
        from: "redirectHttp: false",
        to: "redirectHttp: true",
        planned: &["load-balancer in tcp 80 from 198.51.100.0/24 (none) -> allowed"],
        order: &["ec2:AuthorizeSecurityGroupIngress"],
        never: &["ec2:RevokeSecurityGroupIngress"],
    },
];

#[tokio::test(start_paused = true)]
async fn changes_of_the_spec_are_applied_in_place_without_interruption() {
    for Update { base, from, to, planned: wanted, order, never } in UPDATES {
        let changed = with(base, from, to);
        let rehearsal = rehearsal(base);
        deployed(&rehearsal, base).await;
        let update = deployed(&rehearsal, &changed).await;
        assert_planned(&planned(&rehearsal, &update).await, wanted);
        assert_order(&update, order);
        let calls = changes(&update);
        for call in order {
            assert!(calls.iter().any(|made| made == call), "{to}: {call} is not in {calls:#?}");
        }
        for call in never {
            assert!(!calls.iter().any(|made| made == call), "{to}: {call} is in {calls:#?}");
        }
        let next = redeploy(&rehearsal).await;
        assert_eq!(changes(&next), Vec::<String>::new(), "after {to}");
        assert_eq!(planned(&rehearsal, &next).await, Vec::<String>::new(), "after {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_disk_change_within_hours_is_refused_at_once_with_the_error_from_aws() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    deployed(&rehearsal, &with(INSTANCE_ONLY, "disk: 20", "disk: 30")).await;
    let refused = rehearsal.deploy(&with(INSTANCE_ONLY, "disk: 20", "disk: 40"), &()).await.unwrap();
    let explained = refused.error().unwrap();
    assert!(
        explained.contains("from 30 to 40 GiB: VolumeModificationRateExceeded: You've reached"),
        "{explained}"
    );
    assert!(
        refused.outcome.seconds < 60.0,
        "the deployment must not wait for hours: {} s",
        refused.outcome.seconds
    );
    // The stack is unchanged: a refused change needs no rollback.
    let redeployed = run(&rehearsal, json!({ "stack": "shop", "action": "redeploy" })).await;
    assert_eq!((redeployed.result(), changes(&redeployed)), (Outcome::Succeeded, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn routes_switch_to_the_new_egress_before_the_old_one_is_deleted() {
    for (from, to, order) in [
        ("nat: per-zone", "nat: single", ["ec2:ReplaceRoute", "ec2:DeleteNatGateway", "ec2:ReleaseAddress"]),
        ("nat: none", "nat: single", ["ec2:CreateNatGateway", "ec2:CreateRoute", "ec2:DeleteVpcEndpoints"]),
    ] {
        let before = with(INSTANCE_ONLY, "nat: single", from);
        let rehearsal = rehearsal(&before);
        deployed(&rehearsal, &before).await;
        let update = deployed(&rehearsal, &with(&before, from, to)).await;
        assert_order(&update, &order);
        let next = redeploy(&rehearsal).await;
        assert_eq!(changes(&next), Vec::<String>::new(), "{from} to {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_removed_from_the_spec_is_removed_from_every_resource() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let iam = &rehearsal.aws().iam();
    let tagged = async || {
        let filter = Filter::builder().name("key").values("tier").build();
        let tags = ec2.describe_tags().filters(filter).send().await.unwrap().tags.unwrap_or_default();
        let role = iam.get_role().role_name("stackdrop-shop-instance-eu-central-1").send().await.unwrap();
        let roles = role.role.into_iter().flat_map(|role| role.tags.unwrap_or_default());
        tags.len() + roles.filter(|tag| tag.key() == "tier").count()
    };
    assert!(tagged().await > 20, "{}", tagged().await);
    // A tag that another owner adds is kept.
    let vpc = ec2.describe_vpcs().send().await.unwrap().vpcs()[0].vpc_id.clone().unwrap();
    let own = aws_sdk_ec2::types::Tag::builder().key("cost-centre").value("42").build();
    ec2.create_tags().resources(&vpc).tags(own).send().await.unwrap();
    deployed(&rehearsal, &with(INSTANCE_ONLY, ", tier: gold", "")).await;
    assert_eq!(tagged().await, 0);
    let vpc = ec2.describe_vpcs().vpc_ids(vpc).send().await.unwrap().vpcs.unwrap().remove(0);
    assert!(vpc.tags().iter().any(|tag| tag.key() == Some("cost-centre")));
}

#[tokio::test(start_paused = true)]
async fn tags_of_a_failed_update_are_rolled_back() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let count = async |key: &str| {
        let filter = Filter::builder().name("key").values(key).build();
        ec2.describe_tags().filters(filter).send().await.unwrap().tags().len()
    };
    let before = count("tier").await;
    let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
    rehearsal.account().arm(Fault::at("ec2", "StopInstances", When::Only(1), refused));
    let changed = with(&with(INSTANCE_ONLY, "tier: gold", "owner: ops"), "t3.micro", "t3.small");
    let failed = rehearsal.deploy(&changed, &()).await.unwrap();
    assert_eq!(failed.result(), Outcome::Failed, "{:?}", failed.error());
    assert!(before > 0);
    assert_eq!((count("tier").await, count("owner").await), (before, 0));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_impossible_in_place_is_refused_with_the_field_and_a_fix() {
    for (from, to, why, fix) in [
        ("10.20.0.0/16", "10.30.0.0/16", "network.cidr cannot be changed", "set network.cidr back"),
        ("zones: 3", "zones: 2", "network.zones cannot be reduced", "set network.zones to 3"),
        (
            "disk: 20",
            "disk: 10",
            "instance.disk cannot be reduced from 20 GiB to 10 GiB",
            "set instance.disk to 20",
        ),
        ("t3.micro", "t4g.micro", "another architecture", "choose a type of the same architecture"),
    ] {
        let base = with(INSTANCE_ONLY, "zones: 2", "zones: 3");
        let rehearsal = rehearsal(&base);
        deployed(&rehearsal, &base).await;
        let refused = rehearsal.deploy(&with(&base, from, to), &()).await.unwrap();
        let error = refused.error().unwrap();
        assert!(error.starts_with("PreflightFailed"), "{error}");
        assert!(error.contains(why) && error.contains(fix), "{error}");
        assert_eq!(changes(&refused), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn the_size_of_a_disk_grown_by_a_failed_update_is_read_from_aws() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let refused = FaultKind::Refused { code: "RefusedByTest".into(), message: "the test says no".into() };
    rehearsal.account().arm(Fault::at("ec2", "StopInstances", When::Only(1), refused));
    let larger = with(&with(INSTANCE_ONLY, "disk: 20", "disk: 40"), "t3.micro", "t3.small");
    assert_eq!(rehearsal.deploy(&larger, &()).await.unwrap().result(), Outcome::Failed);
    // A disk cannot shrink: 30 is refused, although it is more than the baseline's 20.
    let between = rehearsal.deploy(&with(INSTANCE_ONLY, "disk: 20", "disk: 30"), &()).await.unwrap();
    assert!(
        between.error().unwrap().contains("cannot be reduced from 40 GiB to 30 GiB"),
        "{:?}",
        between.error()
    );
    let same = deployed(&rehearsal, &with(INSTANCE_ONLY, "disk: 20", "disk: 40")).await;
    assert_eq!(changes(&same), Vec::<String>::new(), "the disk already has this size");
}
