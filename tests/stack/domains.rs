//! The zones and names of Route 53 that an installation opens to stacks.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackdrop::installation::{Installation, Place, Template};
use stackdrop::{Deployed, Rehearsal, Setting};
use stackdrop_simulator::{AccessRequest, Principal};
use stackdrop_specs::Spec;

use crate::{PRIVATE, changes, deployed, resources, with};

/// The zone of the example.
const ZONE: &str = "Z0123456789ABCDEFGHIJ";

/// An account with the example's resources, in which Stackdrop has these parameters.
fn opened(parameters: &[(&str, &str)]) -> Rehearsal {
    let parameters: BTreeMap<String, String> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let spec = Spec::read(PRIVATE.as_bytes()).unwrap();
    Rehearsal::open(&Setting { parameters, ..Setting::default() }, &[&spec]).unwrap()
}

/// The error of a deployment that has changed nothing.
fn refusal(deployed: &Deployed) -> String {
    assert_eq!(changes(deployed), Vec::<String>::new());
    let error = deployed.error().unwrap();
    assert!(error.starts_with("PreflightFailed"), "{error}");
    error
}

fn records(rehearsal: &Rehearsal) -> Vec<String> {
    resources(rehearsal).into_iter().filter(|name| name.starts_with("AWS::Route53")).collect()
}

#[tokio::test(start_paused = true)]
async fn without_the_parameter_no_spec_gets_a_record() {
    let rehearsal = opened(&[("HostedZones", "")]);
    let refused = rehearsal.deploy(PRIVATE, &()).await.unwrap();
    let error = refusal(&refused);
    let expected = format!(
        "loadBalancer.hostedZoneId: zone {ZONE} is not open to stacks in this installation (open: none); add it to the \
         parameter HostedZones"
    );
    assert!(error.contains(&expected), "{error}");
    assert!(refused.calls.iter().all(|call| call.service != "route53"), "the role would deny the calls");
}

#[tokio::test(start_paused = true)]
async fn an_open_zone_deploys_with_records() {
    let rehearsal = opened(&[("HostedZones", &format!("Z9, {ZONE}"))]);
    deployed(&rehearsal, PRIVATE).await;
    let records = records(&rehearsal);
    for name in ["api.example.com", "intranet.example.com"] {
        assert!(records.contains(&format!("AWS::Route53::RecordSet {name}. A")), "{records:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_cannot_take_a_name_of_another_suffix() {
    let suffixes = "intranet=intranet.example.com,intranet=api.example.com,team-*=teams.example.com,login=login.example.com";
    let rehearsal = opened(&[("DomainSuffixes", suffixes)]);
    for (from, to, problem) in [
        (
            "domain: intranet.example.com",
            "domain: login.example.com",
            "loadBalancer.domain login.example.com is not open to the stack intranet in this installation (open: \
             intranet.example.com, api.example.com)",
        ),
        // The end of another name is not below it.
        (
            "domain: intranet.example.com",
            "domain: my-intranet.example.com",
            "loadBalancer.domain my-intranet.example.com is not open to the stack intranet",
        ),
        (
            "host: api.example.com",
            "host: shop.teams.example.com",
            "the host shop.teams.example.com of a route is not open to the stack intranet",
        ),
        // ACM would validate the whole domain for the certificate.
        (
            "host: api.example.com",
            "host: '*.example.com'",
            "the host *.example.com of a route is not open to the stack intranet",
        ),
    ] {
        let refused = rehearsal.deploy(&with(PRIVATE, from, to), &()).await.unwrap();
        let error = refusal(&refused);
        assert!(error.contains(problem), "{problem}: {error}");
    }
    assert_eq!(records(&rehearsal), Vec::<String>::new());
    deployed(&rehearsal, &with(PRIVATE, "host: api.example.com", "host: v2.api.example.com")).await;
}

#[tokio::test(start_paused = true)]
async fn the_role_denies_other_zones() {
    let allows = |rehearsal: &Rehearsal, action: &str, zone: &str| {
        let arn = rehearsal.installation().roles["LoadBalancerRole"].arn.clone();
        let principal = Principal::Role { arn, session: "load-balancer".into() };
        let mut request =
            AccessRequest::new(action, "hostedzone", &format!("arn:aws:route53:::hostedzone/{zone}"));
        if action == "route53:ChangeResourceRecordSets" {
            request.keys("route53:ChangeResourceRecordSetsRecordTypes", ["A".to_owned()]);
        }
        rehearsal.account().decide("test", &principal, request).is_ok()
    };
    let (closed, open) = (opened(&[("HostedZones", "")]), opened(&[]));
    for action in
        ["route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"]
    {
        assert!(allows(&open, action, ZONE), "{action}");
        assert!(!allows(&open, action, "Z9"), "{action}");
        assert!(!allows(&open, action, &format!("{ZONE}9")), "{action}");
        assert!(!allows(&closed, action, ZONE), "{action}");
    }
}

#[test]
fn the_role_allows_the_zones_of_its_partition() {
    let parameters = BTreeMap::from([("HostedZones".to_owned(), "Z1,Z2".to_owned())]);
    for partition in ["aws", "aws-cn", "aws-us-gov"] {
        let place = Place {
            stack: "stackdrop",
            account: "123456789012",
            region: "eu-central-1",
            partition,
            parameters: &parameters,
        };
        let installation = Installation::of(Template::built_in().unwrap(), place).unwrap();
        let (_, policy) = &installation.roles["LoadBalancerRole"].policies[0];
        let statements = policy["Statement"].as_array().unwrap().iter();
        let on_zones: Vec<&Value> = statements
            .map(|statement| &statement["Resource"])
            .filter(|resource| resource.to_string().contains(":hostedzone/"))
            .collect();
        let zone = |id: &str| format!("arn:{partition}:route53:::hostedzone/{id}");
        assert_eq!(on_zones, [&json!([zone("Z1"), zone("Z2")])]);
    }
}
