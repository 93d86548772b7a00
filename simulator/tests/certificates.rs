//! Certificates and their validation records, with an unmodified SDK.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test's helper does not expect fails the test"
)]

mod common;

use std::time::Duration;

use aws_sdk_acm::types::{CertificateStatus, Filters, KeyAlgorithm, Tag, ValidationMethod};
use aws_sdk_elasticloadbalancingv2::error::ProvideErrorMetadata;
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use common::{account, sdk};
use stackdrop_simulator::{Account, Fault, FaultKind, Seed, When};

const ZONE: &str = "Z0123456789ABCDEFGHIJ";

/// The error code of a refusal.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("it should be refused").code().unwrap_or_default().to_owned()
}

/// The error message of a refusal.
fn message<T: std::fmt::Debug, E: ProvideErrorMetadata>(result: Result<T, E>) -> String {
    result.expect_err("it should be refused").message().unwrap_or_default().to_owned()
}

async fn seconds(seconds: f64) {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
}

/// An account with the zone `example.com`.
struct House {
    account: Account,
    acm: aws_sdk_acm::Client,
    dns: aws_sdk_route53::Client,
}

impl House {
    fn new() -> Self {
        let account = account();
        account.seed(&Seed::HostedZone { id: ZONE.into(), name: "example.com".into() });
        let acm = aws_sdk_acm::Client::new(&sdk(&account));
        let dns = aws_sdk_route53::Client::new(&sdk(&account));
        Self { account, acm, dns }
    }

    async fn request(&self, domain: &str, token: &str) -> String {
        let request = self.acm.request_certificate().domain_name(domain).idempotency_token(token);
        let made = request.validation_method(ValidationMethod::Dns).send().await.unwrap();
        made.certificate_arn.unwrap()
    }

    async fn describe(&self, arn: &str) -> aws_sdk_acm::types::CertificateDetail {
        self.acm.describe_certificate().certificate_arn(arn).send().await.unwrap().certificate.unwrap()
    }

    async fn status(&self, arn: &str) -> CertificateStatus {
        self.describe(arn).await.status.unwrap()
    }

    /// Makes one change and returns its id.
    async fn change(
        &self,
        action: ChangeAction,
        record: ResourceRecordSet,
    ) -> Result<String, (String, String)> {
        self.batch(vec![(action, record)]).await
    }

    /// Makes several changes at once; returns the code and message of a refusal.
    async fn batch(
        &self,
        changes: Vec<(ChangeAction, ResourceRecordSet)>,
    ) -> Result<String, (String, String)> {
        let changes = changes.into_iter().map(|(action, record)| {
            Change::builder().action(action).resource_record_set(record).build().unwrap()
        });
        let batch = ChangeBatch::builder().set_changes(Some(changes.collect())).build().unwrap();
        seconds(1.0).await; // five calls a second are allowed
        let result =
            self.dns.change_resource_record_sets().hosted_zone_id(ZONE).change_batch(batch).send().await;
        match result {
            Ok(done) => Ok(done.change_info.unwrap().id),
            Err(error) => Err((
                error.code().unwrap_or_default().to_owned(),
                error.message().unwrap_or_default().to_owned(),
            )),
        }
    }

    /// The zone's record sets, as name and type.
    async fn names(&self) -> Vec<(String, String)> {
        let found = self.dns.list_resource_record_sets().hosted_zone_id(ZONE).send().await.unwrap();
        let sets = found.resource_record_sets.into_iter();
        sets.map(|set| (set.name, set.r#type.as_str().to_owned())).collect()
    }
}

fn record(name: &str, kind: RrType, values: &[&str]) -> ResourceRecordSet {
    let values =
        values.iter().map(|value| ResourceRecord::builder().value(*value).build().unwrap()).collect();
    let record = ResourceRecordSet::builder().name(name).r#type(kind).ttl(300);
    record.set_resource_records(Some(values)).build().unwrap()
}

fn alias(name: &str, zone: &str, target: &str) -> ResourceRecordSet {
    let target = AliasTarget::builder().hosted_zone_id(zone).dns_name(target).evaluate_target_health(false);
    let record = ResourceRecordSet::builder().name(name).r#type(RrType::A);
    record.alias_target(target.build().unwrap()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_issued_some_time_after_its_record_is_in_sync() {
    let house = House::new();
    let arn = house.request("shop.example.com", "first").await;
    let early = house.acm.describe_certificate().certificate_arn(&arn).send().await;
    assert!(early.unwrap_err().into_service_error().is_resource_not_found_exception(), "not known at once");
    seconds(1.0).await;
    let detail = house.describe(&arn).await;
    assert_eq!(detail.status, Some(CertificateStatus::PendingValidation));
    assert!(
        detail.domain_validation_options()[0].resource_record().is_none(),
        "the record comes a little later"
    );
    seconds(3.0).await;
    let detail = house.describe(&arn).await;
    let wanted = detail.domain_validation_options()[0].resource_record().unwrap();
    assert!(wanted.name().ends_with(".shop.example.com."));
    assert!(wanted.value().ends_with(".acm-validations.aws."));

    let record = record(wanted.name(), RrType::Cname, &[wanted.value()]);
    let change = house.change(ChangeAction::Upsert, record).await.unwrap();
    let state =
        || async { house.dns.get_change().id(&change).send().await.unwrap().change_info.unwrap().status };
    assert_eq!(state().await, ChangeStatus::Pending);
    seconds(42.0).await;
    assert_eq!(state().await, ChangeStatus::Insync);
    assert_eq!(house.status(&arn).await, CertificateStatus::PendingValidation);
    seconds(75.0).await;
    assert_eq!(house.status(&arn).await, CertificateStatus::PendingValidation);
    seconds(7.0).await;
    let detail = house.describe(&arn).await;
    assert_eq!(detail.status, Some(CertificateStatus::Issued));
    assert!(detail.issued_at().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_without_its_record_waits_and_then_times_out() {
    let house = House::new();
    let arn = house.request("shop.example.com", "first").await;
    seconds(10.0).await;
    let detail = house.describe(&arn).await;
    let wanted = detail.domain_validation_options()[0].resource_record().unwrap().clone();
    let wrong = record(wanted.name(), RrType::Cname, &["_wrong.acm-validations.aws."]);
    house.change(ChangeAction::Create, wrong).await.unwrap();
    seconds(71.0 * 3600.0).await;
    assert_eq!(house.status(&arn).await, CertificateStatus::PendingValidation);
    seconds(3600.0).await;
    assert_eq!(house.status(&arn).await, CertificateStatus::ValidationTimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_fails_gives_a_reason() {
    let house = House::new();
    house.account.arm(Fault::at("acm", "RequestCertificate", When::Only(1), FaultKind::ResourceFails));
    let arn = house.request("shop.example.com", "first").await;
    seconds(10.0).await;
    let detail = house.describe(&arn).await;
    assert_eq!(detail.status, Some(CertificateStatus::Failed));
    assert!(detail.failure_reason().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_token_gives_the_same_certificate_for_an_hour() {
    let house = House::new();
    let first = house.request("shop.example.com", "token_1").await;
    assert_eq!(house.request("shop.example.com", "token_1").await, first);
    assert_ne!(house.request("shop.example.com", "token_2").await, first);
    let other = house.acm.request_certificate().domain_name("other.example.com").idempotency_token("token_1");
    let other = other.validation_method(ValidationMethod::Dns).send().await;
    assert!(other.unwrap_err().into_service_error().is_invalid_parameter_exception());
    seconds(3600.0).await;
    assert_ne!(house.request("shop.example.com", "token_1").await, first);
}

#[tokio::test(start_paused = true)]
async fn impossible_requests_are_refused() {
    let house = House::new();
    let request = |domain: &str| {
        let request = house.acm.request_certificate().domain_name(domain);
        request.validation_method(ValidationMethod::Dns)
    };
    let tag = |key: &str| Tag::builder().key(key).value("").build().unwrap();
    let many = (0..51).map(|number| tag(&number.to_string())).collect();
    let names = (0..10).map(|number| format!("{number}.example.com")).collect();
    let long = format!("{}.{}.example.com", "a".repeat(40), "b".repeat(20));
    let cases = [
        (request("localhost"), "ValidationException"),
        (request("*.*.example.com"), "ValidationException"),
        (request("-a.example.com"), "ValidationException"),
        (request(&long), "InvalidParameterException"),
        (request("example.com").idempotency_token("a-b"), "ValidationException"),
        (request("example.com").idempotency_token("a".repeat(33)), "ValidationException"),
        (request("example.com").validation_method(ValidationMethod::Email), "InvalidParameterException"),
        (request("example.com").key_algorithm(KeyAlgorithm::Rsa1024), "InvalidParameterException"),
        (request("example.com").set_subject_alternative_names(Some(names)), "LimitExceededException"),
        (request("example.com").tags(tag("aws:mine")), "InvalidTagException"),
        (request("example.com").set_tags(Some(many)), "TooManyTagsException"),
        (request("example.com").certificate_authority_arn("arn:aws:acm-pca:x"), "UnknownParameter"),
    ];
    for (request, expected) in cases {
        let shown = format!("{request:?}");
        assert_eq!(code(request.send().await), expected, "{shown}");
    }
    let missing = format!("arn:aws:acm:eu-central-1:123456789012:certificate/{}", "0".repeat(36));
    for (arn, expected) in
        [(missing.as_str(), "ResourceNotFoundException"), ("arn:aws:s3:::b", "InvalidArnException")]
    {
        assert_eq!(code(house.acm.describe_certificate().certificate_arn(arn).send().await), expected);
        assert_eq!(code(house.acm.delete_certificate().certificate_arn(arn).send().await), expected);
        assert_eq!(code(house.acm.list_tags_for_certificate().certificate_arn(arn).send().await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn certificates_are_listed_by_status_and_key_and_keep_tags() {
    let house = House::new();
    let seeded = "arn:aws:acm:eu-central-1:123456789012:certificate/11111111-2222-3333-4444-555555555555";
    house.account.seed(&Seed::Certificate { arn: seeded.into(), domain: "old.example.com".into() });
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let request = house
        .acm
        .request_certificate()
        .domain_name("shop.example.com")
        .subject_alternative_names("*.example.com");
    let request = request.validation_method(ValidationMethod::Dns).tags(tag("stackdrop:stack", "shop"));
    let arn = request.send().await.unwrap().certificate_arn.unwrap();
    let curve = house
        .acm
        .request_certificate()
        .domain_name("curve.example.com")
        .validation_method(ValidationMethod::Dns);
    let curve =
        curve.key_algorithm(KeyAlgorithm::EcPrime256v1).send().await.unwrap().certificate_arn.unwrap();
    seconds(4.0).await;
    let arns = |found: aws_sdk_acm::operation::list_certificates::ListCertificatesOutput| -> Vec<String> {
        let summaries = found.certificate_summary_list.unwrap_or_default().into_iter();
        summaries.filter_map(|each| each.certificate_arn).collect()
    };
    let list = || house.acm.list_certificates();
    assert_eq!(arns(list().send().await.unwrap()), [arn.clone(), seeded.into()], "only RSA unless asked");
    let issued = list().certificate_statuses(CertificateStatus::Issued).send().await.unwrap();
    assert_eq!(arns(issued), [seeded]);
    let curves = Filters::builder().key_types(KeyAlgorithm::EcPrime256v1).build();
    assert_eq!(arns(list().includes(curves).send().await.unwrap()), [curve]);
    let page = list().max_items(1).send().await.unwrap();
    let rest = list().max_items(1).next_token(page.next_token.clone().unwrap()).send().await.unwrap();
    assert_eq!((arns(page), arns(rest)), (vec![arn.clone()], vec![seeded.to_owned()]));

    let validations = house.describe(&arn).await;
    let validations = validations.domain_validation_options();
    assert_eq!(validations.len(), 2);
    assert!(validations[1].resource_record().unwrap().name().ends_with(".example.com."));

    house.acm.add_tags_to_certificate().certificate_arn(&arn).tags(tag("a", "1")).send().await.unwrap();
    let remove = |value: &str| {
        house.acm.remove_tags_from_certificate().certificate_arn(&arn).tags(tag("a", value)).send()
    };
    let count = || async {
        house.acm.list_tags_for_certificate().certificate_arn(&arn).send().await.unwrap().tags().len()
    };
    remove("2").await.unwrap();
    assert_eq!(count().await, 2, "a tag with another value stays");
    remove("1").await.unwrap();
    assert_eq!(count().await, 1);

    let items = house.account.inventory();
    let of_acm: Vec<_> =
        items.iter().filter(|item| item.kind == "AWS::CertificateManager::Certificate").collect();
    assert_eq!(of_acm.len(), 2, "what was there before is not ours");
    house.acm.delete_certificate().certificate_arn(&arn).send().await.unwrap();
    let gone = house.acm.delete_certificate().certificate_arn(&arn).send().await;
    assert!(gone.unwrap_err().into_service_error().is_resource_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn impossible_lists_of_certificates_and_too_many_tags_are_refused() {
    let house = House::new();
    let list = || house.acm.list_certificates();
    for (call, expected) in [
        (list().max_items(0), "InvalidArgsException"),
        (list().max_items(1001), "InvalidArgsException"),
        (list().next_token("x"), "InvalidArgsException"),
        (list().certificate_statuses("LOST".into()), "ValidationException"),
    ] {
        let shown = format!("{call:?}");
        assert_eq!(code(call.send().await), expected, "{shown}");
    }
    let arn = house.request("shop.example.com", "first").await;
    seconds(1.0).await;
    let tags = |numbers: std::ops::Range<u32>| {
        let tag = |number: u32| Tag::builder().key(number.to_string()).value("").build().unwrap();
        let call = house.acm.add_tags_to_certificate().certificate_arn(&arn);
        call.set_tags(Some(numbers.map(tag).collect())).send()
    };
    tags(0..49).await.unwrap();
    assert_eq!(code(tags(49..51).await), "TooManyTagsException");
    tags(49..50).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn zones_are_found_by_name_and_by_id() {
    let house = House::new();
    house.account.seed(&Seed::HostedZone { id: "ZOTHER".into(), name: "other.org".into() });
    let zone = house.dns.get_hosted_zone().id(ZONE).send().await.unwrap();
    assert_eq!(zone.hosted_zone().unwrap().name(), "example.com.");
    assert_eq!(zone.hosted_zone().unwrap().resource_record_set_count(), Some(2));
    assert_eq!(zone.delegation_set().unwrap().name_servers().len(), 4);
    let unknown = house.dns.get_hosted_zone().id("ZNOBODY").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_no_such_hosted_zone());
    let from = |name: &str| house.dns.list_hosted_zones_by_name().dns_name(name).send();
    let names =
        |found: aws_sdk_route53::operation::list_hosted_zones_by_name::ListHostedZonesByNameOutput| {
            found.hosted_zones.into_iter().map(|zone| zone.name).collect::<Vec<_>>()
        };
    assert_eq!(names(from("example.com").await.unwrap()), ["example.com.", "other.org."]);
    // The list starts at the next name if this one does not exist.
    assert_eq!(names(from("example.org").await.unwrap()), ["other.org."]);
    seconds(1.0).await;
    let all = house.dns.list_hosted_zones().max_items(1).send().await.unwrap();
    assert_eq!(
        (all.hosted_zones()[0].id(), all.next_marker()),
        (&*format!("/hostedzone/{ZONE}"), Some("ZOTHER"))
    );
    let rest = house.dns.list_hosted_zones().marker(all.next_marker().unwrap()).send().await.unwrap();
    assert_eq!((rest.hosted_zones()[0].name(), rest.is_truncated()), ("other.org.", false));
    seconds(1.0).await;
    let page = house.dns.list_hosted_zones_by_name().max_items(1).send().await.unwrap();
    assert!(page.is_truncated);
    assert_eq!(page.next_dns_name(), Some("other.org."));
}

#[tokio::test(start_paused = true)]
async fn record_sets_are_listed_in_order_from_a_name_on() {
    let house = House::new();
    for (name, kind, value) in [
        ("www.example.com", RrType::A, "192.0.2.1"),
        ("*.example.com", RrType::Txt, "\"a \\\"b\\\" & c\""),
        ("API.example.com.", RrType::Cname, "www.example.com"),
    ] {
        house.change(ChangeAction::Create, record(name, kind, &[value])).await.unwrap();
    }
    let own = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    let expected = [
        own("example.com.", "NS"),
        own("example.com.", "SOA"),
        own("\\052.example.com.", "TXT"),
        own("api.example.com.", "CNAME"),
        own("www.example.com.", "A"),
    ];
    assert_eq!(house.names().await, expected);
    let from =
        house.dns.list_resource_record_sets().hosted_zone_id(ZONE).start_record_name("api.example.com");
    let page = from.start_record_type(RrType::Cname).max_items(1).send().await.unwrap();
    assert_eq!(page.resource_record_sets()[0].name(), "api.example.com.");
    assert!(page.is_truncated());
    assert_eq!(page.next_record_name(), Some("www.example.com."));
    seconds(1.0).await;
    let text = house.dns.list_resource_record_sets().hosted_zone_id(ZONE).start_record_name("*.example.com");
    let text = text.send().await.unwrap();
    assert_eq!(text.resource_record_sets()[0].resource_records()[0].value(), "\"a \\\"b\\\" & c\"");
    let items = house.account.inventory();
    let records: Vec<_> = items.iter().filter(|item| item.kind == "AWS::Route53::RecordSet").collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].component, "");
    let type_only = house.dns.list_resource_record_sets().hosted_zone_id(ZONE).start_record_type(RrType::A);
    assert_eq!(code(type_only.send().await), "InvalidInput");
    let nowhere = house.dns.list_resource_record_sets().hosted_zone_id("ZNOBODY").send().await;
    assert!(nowhere.unwrap_err().into_service_error().is_no_such_hosted_zone());
    let unknown = house.dns.get_change().id("CNOTHING").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_no_such_change());
}

#[tokio::test(start_paused = true)]
async fn impossible_changes_are_refused_as_route_53_words_them() {
    use ChangeAction::{Create, Delete, Upsert};
    let house = House::new();
    house.change(Create, record("www.example.com", RrType::A, &["192.0.2.1", "192.0.2.2"])).await.unwrap();
    let no_values = ResourceRecordSet::builder().name("a.example.com").r#type(RrType::A).build().unwrap();
    let cases = [
        (Create, record("www.example.com", RrType::A, &["192.0.2.3"]), "but it already exists"),
        (Delete, record("web.example.com", RrType::A, &["192.0.2.1"]), "but it was not found"),
        (
            Delete,
            record("www.example.com", RrType::A, &["192.0.2.1"]),
            "but the values provided do not match the current values",
        ),
        (
            Upsert,
            record("www.example.org", RrType::A, &["192.0.2.1"]),
            "is not permitted in zone example.com.",
        ),
        (Upsert, record("a.example.com", RrType::A, &["192.0.2"]), "ARRDATAIllegalIPv4Address"),
        (Upsert, record("a.example.com", RrType::Aaaa, &["192.0.2.1"]), "AAAARRDATAIllegalIPv6Address"),
        (Upsert, record("a.example.com", RrType::Txt, &["plain"]), "enclosed in quotation marks"),
        (
            Upsert,
            record("a.example.com", RrType::A, &["192.0.2.1", "192.0.2.1"]),
            "Duplicate Resource Record",
        ),
        (
            Upsert,
            record("a.example.com", RrType::Cname, &["b.example.com", "c.example.com"]),
            "only one value",
        ),
        (Upsert, record("example.com", RrType::Cname, &["b.example.com"]), "not permitted at apex"),
        (
            Upsert,
            record("www.example.com", RrType::Cname, &["b.example.com"]),
            "conflicts with other records",
        ),
        (Upsert, alias("a.example.com", ZONE, "nowhere.example.com"), "but that target was not found"),
        (
            Upsert,
            alias("a.example.com", "Z215JYRZR1TBD5", "shop-1.eu-central-1.elb.amazonaws.com"),
            "does not lie within the target zone",
        ),
    ];
    for (action, record, expected) in cases {
        let (code, message) = house.change(action, record).await.unwrap_err();
        assert_eq!(code, "InvalidChangeBatch", "{message}");
        assert!(message.starts_with('[') && message.contains(expected), "{message}");
    }
    let (code, message) = house.change(Upsert, no_values).await.unwrap_err();
    assert_eq!(code, "InvalidInput");
    assert!(message.contains("but found none in Change with [Action=UPSERT"), "{message}");
    let names = house.names().await;
    assert_eq!(names.len(), 3, "nothing was changed: {names:?}");
    let zone = house.dns.list_resource_record_sets().hosted_zone_id(ZONE).send().await.unwrap();
    for (set, expected) in
        zone.resource_record_sets.into_iter().take(2).zip(["at least one NS", "exactly one SOA"])
    {
        let (_, message) = house.change(Delete, set).await.unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_applied_completely_or_not_at_all() {
    use ChangeAction::{Create, Delete, Upsert};
    let house = House::new();
    let a = || record("a.example.com", RrType::A, &["192.0.2.1"]);
    let missing = || record("b.example.com", RrType::A, &["192.0.2.1"]);
    let (_, message) = house.batch(vec![(Create, a()), (Delete, missing())]).await.unwrap_err();
    assert!(message.contains("b.example.com."), "{message}");
    assert_eq!(house.names().await.len(), 2);
    house.batch(vec![(Create, a()), (Create, missing())]).await.unwrap();
    house
        .batch(vec![(Delete, a()), (Create, record("a.example.com", RrType::A, &["192.0.2.9"]))])
        .await
        .unwrap();
    let (_, message) = house.batch(vec![(Upsert, a()), (Upsert, a())]).await.unwrap_err();
    assert!(
        message.contains("invalid set of changes for a resource record set 'A a.example.com.'"),
        "{message}"
    );
    house.change(Delete, missing()).await.unwrap();
    assert_eq!(house.names().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn paths_and_parameters_that_are_not_simulated_are_refused() {
    let house = House::new();
    let result = house.dns.list_health_checks().send().await;
    assert!(message(result).contains("GET /2013-04-01/healthcheck"));
    let result =
        house.dns.list_resource_record_sets().hosted_zone_id(ZONE).start_record_name("a.example.com");
    let result = result.start_record_type(RrType::A).start_record_identifier("blue").send().await;
    assert_eq!(code(result), "UnknownParameter");
}
