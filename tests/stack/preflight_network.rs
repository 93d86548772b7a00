//! What would make a deployment of network, way out, groups and instance fail: told before anything is touched.

use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;

use crate::updates_network::{BOX, WEB};
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
async fn a_problem_ends_the_deployment_before_anything_is_touched() {
    let no_zone = || vec![not_offered("eu-central-1a"), not_offered("eu-central-1b")];
    let unknown = with(BOX, "t3.micro", "m9z.large");
    let per_zone = with(BOX, "nat: single", "nat: per-zone");
    for (spec, seeds, wanted) in [
        (
            BOX,
            vec![quota("vpc", "L-F678F1CE", 0)],
            ["the stack needs 1 more", "raise the quota vpc/L-F678F1CE"],
        ),
        (BOX, vec![quota("vpc", "L-A4707A72", 0)], ["0 of the 0 internet gateways", "vpc/L-A4707A72"]),
        (
            &per_zone,
            vec![quota("ec2", "L-0263D0A3", 1)],
            ["the stack needs 2 more", "set network.nat to single"],
        ),
        (BOX, no_zone(), ["t3.micro is not offered in eu-central-1a or eu-central-1b", "eu-central-1c"]),
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
async fn all_problems_are_told_at_once() {
    let seeds = vec![
        quota("vpc", "L-F678F1CE", 0),
        quota("vpc", "L-A4707A72", 0),
        quota("ec2", "L-0263D0A3", 0),
        not_offered("eu-central-1a"),
        not_offered("eu-central-1b"),
    ];
    let (_, refused) = preflight(BOX, seeds).await;
    let error = refused.error().unwrap();
    for text in ["vpc/L-F678F1CE", "vpc/L-A4707A72", "ec2/L-0263D0A3", "t3.micro is not offered"] {
        assert!(error.contains(text), "{text} in {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_ranges_than_a_group_has_rules_for_are_refused_beforehand() {
    let ranges = |block: &str| -> String {
        let all: Vec<String> = (0..30).map(|number| format!("{block}.{number}/32")).collect();
        all.join(", ")
    };
    let both = with(WEB, "redirectHttp: false", "redirectHttp: true");
    let full = with(&both, "198.51.100.0/24", &ranges("203.0.113"));
    let (rehearsal, first) = preflight(&full, Vec::new()).await;
    assert!(first.succeeded(), "{:?}", first.error());
    // What is added comes before what is taken away, and there is no room for both.
    let others = with(&both, "198.51.100.0/24", &ranges("192.0.2"));
    let refused = rehearsal.deploy(&others, &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(error.contains("vpc/L-0EA8095F") && error.contains("loadBalancer.allowedCidrs"), "{error}");
    assert_eq!(changes(&refused), Vec::<String>::new());
    rehearsal.account().seed(&quota("vpc", "L-0EA8095F", 120));
    deployed(&rehearsal, &others).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_parameter_is_a_problem_of_the_plan() {
    let rehearsal = rehearsal(BOX);
    let absent = FaultKind::Refused { code: "ParameterNotFound".into(), message: String::new() };
    rehearsal.account().arm(Fault::at("ssm", "GetParameter", When::From(1), absent));
    let refused = rehearsal.deploy(BOX, &()).await.unwrap();
    let error = refused.error().unwrap();
    assert!(
        error.starts_with("PreflightFailed") && error.contains("al2023-ami-kernel-default-x86_64"),
        "{error}"
    );
    assert_eq!(changes(&refused), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_may_not_be_read_is_told_and_keeps_nothing_from_being_made() {
    let rehearsal = rehearsal(BOX);
    rehearsal.account().arm(Fault::at(
        "servicequotas",
        "GetServiceQuota",
        When::From(1),
        FaultKind::AccessDenied,
    ));
    let deployed = rehearsal.deploy(BOX, &()).await.unwrap();
    assert!(deployed.succeeded(), "{:?}", deployed.error());
    let status = object(&rehearsal, "stacks/shop/status.json").await.unwrap();
    let told = status["message"].as_str().unwrap();
    assert!(told.contains("AWS denies reading the quota vpc/L-F678F1CE of VPCs"), "{told}");
    assert!(told.contains("allow servicequotas:GetServiceQuota"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_goes_to_the_zone_that_has_its_type() {
    let (rehearsal, first) = preflight(BOX, vec![not_offered("eu-central-1a")]).await;
    assert!(first.succeeded(), "{:?}", first.error());
    let ec2 = aws_sdk_ec2::Client::new(rehearsal.sdk());
    let found = ec2.describe_instances().send().await.unwrap();
    let placement = found.reservations()[0].instances()[0].placement().unwrap();
    assert_eq!(placement.availability_zone(), Some("eu-central-1b"));
}

#[tokio::test(start_paused = true)]
async fn a_type_that_the_instances_zone_lacks_is_refused_before_it_is_stopped() {
    let rehearsal = rehearsal(BOX);
    deployed(&rehearsal, BOX).await;
    let zone = "eu-central-1a".into();
    rehearsal.account().seed(&Seed::NotOffered { instance_type: "t3.small".into(), zone });
    let refused = rehearsal.deploy(&with(BOX, "t3.micro", "t3.small"), &()).await.unwrap();
    assert!(refused.error().unwrap().contains("t3.small is not offered in eu-central-1a"));
    assert_eq!(changes(&refused), Vec::<String>::new());
}
