//! Problems of network, egress, security groups and instance, reported before any change.

use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;

use crate::updates_network::{INSTANCE_ONLY, WEB};
use crate::{changes, deployed, object, rehearsal, with};

fn quota(service: &str, code: &str, value: u32) -> Seed {
    Seed::Quota { service: service.into(), code: code.into(), value }
}

fn not_offered(zone: &str) -> Seed {
    Seed::NotOffered { instance_type: "t3.micro".into(), zone: zone.into() }
}

async fn preflight(spec: &str, seeds: Vec<Seed>) -> (Rehearsal, Deployed) {
    let read = Spec::read(spec.as_bytes()).unwrap();
    let rehearsal = Rehearsal::open(&Setting { seeds, ..Setting::default() }, &[&read]).unwrap();
    let deployed = rehearsal.deploy(spec, &()).await.unwrap();
    (rehearsal, deployed)
}

#[tokio::test(start_paused = true)]
async fn a_problem_ends_the_deployment_before_any_change() {
    let no_zone = || vec![not_offered("eu-central-1a"), not_offered("eu-central-1b")];
    let unknown = with(INSTANCE_ONLY, "t3.micro", "m9z.large");
    let per_zone = with(INSTANCE_ONLY, "nat: single", "nat: per-zone");
    for (spec, seeds, wanted) in [
        (
            INSTANCE_ONLY,
            vec![quota("vpc", "L-F678F1CE", 0)],
            ["the stack needs 1 more", "raise the quota vpc/L-F678F1CE"],
        ),
        (
            INSTANCE_ONLY,
            vec![quota("vpc", "L-A4707A72", 0)],
            ["0 of the 0 internet gateways", "vpc/L-A4707A72"],
        ),
        (
            &per_zone,
            vec![quota("ec2", "L-0263D0A3", 1)],
            ["the stack needs 2 more", "set network.nat to single"],
        ),
        (
            INSTANCE_ONLY,
            no_zone(),
            ["t3.micro is not offered in eu-central-1a or eu-central-1b", "eu-central-1c"],
        ),
        (&unknown, Vec::new(), ["m9z.large is not an instance type of eu-central-1", "set instance.type"]),
    ] {
        let (rehearsal, refused) = preflight(spec, seeds).await;
        let error = refused.error().unwrap();
        assert!(error.starts_with("PreflightFailed"), "{error}");
        assert!(wanted.iter().all(|text| error.contains(text)), "{wanted:?} in {error}");
        assert_eq!(changes(&refused), Vec::<String>::new());
        assert_eq!(rehearsal.account().inventory(), Vec::new());
    }
}

#[tokio::test(start_paused = true)]
async fn quotas_that_are_just_enough_are_no_problem() {
    let seeds =
        vec![quota("vpc", "L-F678F1CE", 1), quota("vpc", "L-A4707A72", 1), quota("ec2", "L-0263D0A3", 1)];
    let (_, deployed) = preflight(INSTANCE_ONLY, seeds).await;
    assert!(deployed.succeeded(), "{:?}", deployed.error());
}

#[tokio::test(start_paused = true)]
async fn all_problems_are_reported_together() {
    let seeds = vec![
        quota("vpc", "L-F678F1CE", 0),
        quota("vpc", "L-A4707A72", 0),
        quota("ec2", "L-0263D0A3", 0),
        not_offered("eu-central-1a"),
        not_offered("eu-central-1b"),
    ];
    let (_, refused) = preflight(INSTANCE_ONLY, seeds).await;
    let error = refused.error().unwrap();
    for text in ["vpc/L-F678F1CE", "vpc/L-A4707A72", "ec2/L-0263D0A3", "t3.micro is not offered"] {
        assert!(error.contains(text), "{text} in {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_ranges_for_a_security_group_are_refused_before_any_change() {
    let ranges = |block: &str| -> String {
        let all: Vec<String> = (0..30).map(|number| format!("{block}.{number}/32")).collect();
        all.join(", ")
    };
    let both = with(WEB, "redirectHttp: false", "redirectHttp: true");
    let full = with(&both, "198.51.100.0/24", &ranges("203.0.113"));
    let (rehearsal, first) = preflight(&full, Vec::new()).await;
    assert!(first.succeeded(), "{:?}", first.error());
    // The new ranges are added before the old ones are deleted, and the quota does not suffice for both.
    let others = with(&both, "198.51.100.0/24", &ranges("192.0.2"));
    let refused = rehearsal.deploy(&others, &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(error.contains("vpc/L-0EA8095F") && error.contains("loadBalancer.allowedCidrs"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
    rehearsal.account().seed(&quota("vpc", "L-0EA8095F", 120));
    deployed(&rehearsal, &others).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_parameter_is_a_problem_in_the_plan() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    let absent = FaultKind::Refused { code: "ParameterNotFound".into(), message: String::new() };
    rehearsal.account().arm(Fault::at("ssm", "GetParameter", When::From(1), absent));
    let refused = rehearsal.deploy(INSTANCE_ONLY, &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(
        error.starts_with("PreflightFailed") && error.contains("al2023-ami-kernel-default-x86_64"),
        "{error}"
    );
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_quota_is_reported_and_does_not_block_the_deployment() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    rehearsal.account().arm(Fault::at(
        "servicequotas",
        "GetServiceQuota",
        When::From(1),
        FaultKind::AccessDenied,
    ));
    let deployed = rehearsal.deploy(INSTANCE_ONLY, &()).await.unwrap();
    assert!(deployed.succeeded(), "{:?}", deployed.error());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let recorded = status["message"].as_str().unwrap();
    assert!(recorded.contains("AWS denies reading the quota vpc/L-F678F1CE of VPCs"), "{recorded}");
    assert!(recorded.contains("allow servicequotas:GetServiceQuota"), "{recorded}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_placed_in_a_zone_that_offers_its_type() {
    let (rehearsal, first) = preflight(INSTANCE_ONLY, vec![not_offered("eu-central-1a")]).await;
    assert!(first.succeeded(), "{:?}", first.error());
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let found = ec2.describe_instances().send().await.unwrap();
    let placement = found.reservations()[0].instances()[0].placement().unwrap();
    assert_eq!(placement.availability_zone(), Some("eu-central-1b"));
}

#[tokio::test(start_paused = true)]
async fn a_type_not_offered_in_the_instances_zone_is_refused_before_the_instance_is_stopped() {
    let rehearsal = rehearsal(INSTANCE_ONLY);
    deployed(&rehearsal, INSTANCE_ONLY).await;
    let zone = "eu-central-1a".into();
    rehearsal.account().seed(&Seed::NotOffered { instance_type: "t3.small".into(), zone });
    let refused = rehearsal.deploy(&with(INSTANCE_ONLY, "t3.micro", "t3.small"), &()).await.unwrap();
    assert!(refused.error().unwrap().contains("t3.small is not offered in eu-central-1a"));
    assert_eq!(changes(&refused), Vec::<String>::new());
}
