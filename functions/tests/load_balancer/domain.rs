//! A requested certificate: validation, its domain's records, and deletion.

use std::time::Duration;

use aws_sdk_acm::types::CertificateStatus;
use aws_sdk_route53::types::{ResourceRecord, ResourceRecordSet, RrType};
use serde_json::json;
use stackdrop_functions::Aws;
use stackdrop_functions::aws::error::StepError;
use stackdrop_simulator::{Fault, FaultKind, Seed, When};

use crate::common::{act, apply, until_done, writes};
use crate::{
    DOMAIN, NAME, ZONE, assert_nothing_to_do, changes, deployed, inventory, listeners, next, prepared,
    problems, put_record, record, stable,
};

/// Asserts that the zone contains only AWS's own records.
async fn assert_zone_is_unchanged(aws: &Aws) {
    let records = aws.route53().list_resource_record_sets().hosted_zone_id(ZONE).send().await.unwrap();
    let kinds: Vec<&str> =
        records.resource_record_sets().iter().map(|record| record.r#type().as_str()).collect();
    assert!(kinds.iter().all(|kind| ["NS", "SOA"].contains(kind)), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_requested_validated_and_served_under_the_domain() {
    let (account, aws, mut deployment) = prepared(DOMAIN).await;
    let waiting = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(waiting.is_retried(), "{waiting:?}");
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_eq!(deployment["outputs"]["loadBalancer"]["url"], "https://shop.example.com");
    let certificate =
        listeners(&aws, &deployment).await[&443].certificates()[0].certificate_arn().unwrap().to_owned();
    let call = aws.acm().describe_certificate().certificate_arn(&certificate);
    let detail = call.send().await.unwrap().certificate.unwrap();
    assert_eq!(detail.status(), Some(&CertificateStatus::Issued));
    assert_eq!(detail.domain_name(), Some("shop.example.com"));
    let alias = record(&aws, "shop.example.com", RrType::A).await.unwrap();
    let target = alias.alias_target().unwrap().dns_name().trim_end_matches('.').to_owned();
    assert_eq!(target, deployment["outputs"]["loadBalancer"]["dnsName"].as_str().unwrap().to_lowercase());
    let requests = writes(&account).into_iter().filter(|call| call == "acm:RequestCertificate");
    assert_eq!(requests.count(), 1);
    assert_nothing_to_do(&account, &aws, &deployment).await;

    let deletion = until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(deletion["remaining"], json!([]));
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_zone_is_unchanged(&aws).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_certificate_ends_the_deployment_with_its_reason() {
    let (account, aws, deployment) = prepared(DOMAIN).await;
    account.arm(Fault::at("acm", "RequestCertificate", When::Only(1), FaultKind::ResourceFails));
    let failed = until_done(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(
        matches!(&failed, StepError::Unhealthy { why, .. } if why.starts_with("FAILED: ADDITIONAL_VERIFICATION_REQUIRED; contact AWS Support")),
        "{failed:?}"
    );
    // The next deployment requests another certificate, and deletes the failed one.
    let mut deployment = deployment;
    deployment["id"] = json!("second");
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let certificates = inventory(&account).into_iter().filter(|item| item.contains("Certificate"));
    assert_eq!(certificates.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_domain_gets_a_certificate_and_the_old_one_is_pruned_once_unused() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let mut deployment = next(&deployment, &DOMAIN.replace("shop.example.com", "store.example.com"));
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "create alias-record",
            "create certificate",
            "create certificate/validation-record",
            "delete alias-record (shop.example.com)",
            "delete certificate (shop.example.com)",
            "update listener/https certificate",
        ]
    );
    apply(&aws, &[NAME], &mut deployment).await;
    assert!(
        record(&aws, "shop.example.com", RrType::A).await.is_some(),
        "nobody is sent away before the end"
    );
    assert!(record(&aws, "store.example.com", RrType::A).await.is_some());
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert!(record(&aws, "shop.example.com", RrType::A).await.is_none());
    assert_nothing_to_do(&account, &aws, &deployment).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_zone_is_unchanged(&aws).await;
}

#[tokio::test(start_paused = true)]
async fn an_existing_validation_record_is_kept() {
    let (account, aws, mut deployment) = deployed(DOMAIN).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    // The user created the record that ACM requires for a certificate in another region.
    deployment["id"] = json!("second");
    let waiting = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(waiting.is_retried(), "{waiting:?}");
    tokio::time::advance(Duration::from_secs(10)).await;
    let listed = aws.acm().list_certificates().send().await.unwrap();
    let ours =
        listed.certificate_summary_list().iter().find(|each| each.domain_name() == Some("shop.example.com"));
    let call = aws.acm().describe_certificate().certificate_arn(ours.unwrap().certificate_arn().unwrap());
    let detail = call.send().await.unwrap().certificate.unwrap();
    let asked = detail.domain_validation_options()[0].resource_record().unwrap();
    let value = ResourceRecord::builder().value(asked.value()).build().unwrap();
    let theirs = ResourceRecordSet::builder().name(asked.name()).r#type(RrType::Cname).ttl(300);
    put_record(&aws, theirs.resource_records(value).build().unwrap()).await;
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert!(record(&aws, asked.name().trim_end_matches('.'), RrType::Cname).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_rollback_deletes_what_a_failed_update_created_for_another_domain() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let before = inventory(&account);
    let records = async || {
        let found = aws.route53().list_resource_record_sets().hosted_zone_id(ZONE).send().await.unwrap();
        found.resource_record_sets().iter().map(|record| record.name().to_owned()).collect::<Vec<_>>()
    };
    let records_before = records().await;
    let mut attempt = next(&deployment, &DOMAIN.replace("shop.example.com", "store.example.com"));
    apply(&aws, &[NAME], &mut attempt).await;
    assert_ne!(inventory(&account), before);
    let mut back = next(&deployment, DOMAIN);
    back["rollingBack"] = json!(true);
    back["attempted"] = attempt["spec"].clone();
    back["outputs"] = attempt["outputs"].clone();
    apply(&aws, &[NAME], &mut back).await;
    until_done(&aws, NAME, "prune", &back).await.unwrap();
    assert_eq!(records().await, records_before);
    assert_eq!(inventory(&account), before);
}

#[tokio::test(start_paused = true)]
async fn delete_finds_what_a_kept_failed_update_created_for_another_domain() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let mut attempt = next(&deployment, &DOMAIN.replace("shop.example.com", "store.example.com"));
    apply(&aws, &[NAME], &mut attempt).await;
    let mut removed = next(&deployment, DOMAIN);
    removed["id"] = json!("third");
    until_done(&aws, NAME, "await-deletion", &removed).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_zone_is_unchanged(&aws).await;
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_zone_is_a_problem_in_a_plan_and_an_error_in_a_deletion() {
    let (account, aws, deployment) = prepared(DOMAIN).await;
    account.arm(Fault::at("route53", "ListResourceRecordSets", When::From(1), FaultKind::AccessDenied));
    let problems = problems(&aws, &deployment).await;
    assert!(problems.contains(&format!("Route 53 zone {ZONE} cannot be read")), "{problems}");
    assert!(problems.contains("set loadBalancer.hostedZoneId to a zone of this account"), "{problems}");
    let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
    assert!(matches!(refused, StepError::InvalidSpec(_)), "{refused:?}");
    let stays = act(&aws, NAME, "delete", &deployment).await.unwrap_err();
    assert_eq!(stays.name(), "Denied", "the zone may contain an alias record");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_deployment_could_not_prune_is_pruned_with_its_records() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let with_domain = deployment["spec"].clone();
    let mut deployment = next(&deployment, "stack: shop\nservices: { web: { image: web } }");
    deployment["baseline"]["spec"] = deployment["spec"].clone();
    deployment["baseline"]["unpruned"] = json!(true);
    deployment["baseline"]["unprunedSpec"] = with_domain;
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_zone_is_unchanged(&aws).await;
}

/// The domain, and a host of a route.
const HOSTS: &str = "
stack: shop
loadBalancer: { domain: shop.example.com, hostedZoneId: Z0123456789ABCDEFGHIJ }
services:
  web: { image: web, port: 8080, routes: [{ path: /* }, { host: api.example.com }] }
";

#[tokio::test(start_paused = true)]
async fn each_host_of_a_route_gets_a_certificate_and_a_record() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let before =
        listeners(&aws, &deployment).await[&443].certificates()[0].certificate_arn().map(str::to_owned);
    let mut deployment = stable(next(&deployment, HOSTS));
    assert_eq!(
        changes(&aws, &deployment).await,
        [
            "create alias-record/api.example.com",
            "create certificate",
            "create certificate/validation-record",
            "create certificate/validation-record/api.example.com",
            "create rule/api.example.com",
            "delete certificate (shop.example.com)",
            "update listener/https certificate",
            "update rule/any-host/_ priority",
        ]
    );
    apply(&aws, &[NAME], &mut deployment).await;
    assert!(record(&aws, "api.example.com", RrType::A).await.is_some());
    let certificate =
        listeners(&aws, &deployment).await[&443].certificates()[0].certificate_arn().map(str::to_owned);
    assert_ne!(certificate, before, "the names of a certificate cannot be changed");
    let call = aws.acm().describe_certificate().certificate_arn(certificate.unwrap());
    let names = call.send().await.unwrap().certificate.unwrap().subject_alternative_names.unwrap();
    assert_eq!(names, ["shop.example.com", "api.example.com"]);
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_zone_is_unchanged(&aws).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_finds_records_of_others_at_the_names_of_the_stack() {
    let (_, aws, deployment) = prepared(HOSTS).await;
    let others =
        [(RrType::Cname, "old.example.net"), (RrType::Aaaa, "2001:db8::1"), (RrType::Ns, "ns.example.net")];
    for (kind, value) in others {
        let value = ResourceRecord::builder().value(value).build().unwrap();
        let record = ResourceRecordSet::builder().name("api.example.com").r#type(kind.clone()).ttl(60);
        let record = record.resource_records(value).build().unwrap();
        put_record(&aws, record.clone()).await;
        let found = problems(&aws, &deployment).await;
        assert!(found.contains(&format!("DNS record api.example.com ({})", kind.as_str())), "{found}");
        assert!(found.contains("delete the record; or set loadBalancer.certificateArn"), "{found}");
        let refused = act(&aws, NAME, "apply", &deployment).await.unwrap_err();
        assert!(matches!(refused, StepError::NotOwned { .. }), "{refused:?}");
        let change = aws_sdk_route53::types::Change::builder();
        let change = change.action(aws_sdk_route53::types::ChangeAction::Delete).resource_record_set(record);
        let batch = aws_sdk_route53::types::ChangeBatch::builder().changes(change.build().unwrap()).build();
        let call = aws.route53().change_resource_record_sets().hosted_zone_id(ZONE);
        call.change_batch(batch.unwrap()).send().await.unwrap();
    }
    assert_eq!(problems(&aws, &deployment).await, "[]");
}

#[tokio::test(start_paused = true)]
async fn a_domain_can_be_the_name_of_its_zone() {
    // The zone's own NS records stand beside the alias record.
    let spec = DOMAIN.replace("domain: shop.example.com", "domain: example.com");
    let (account, aws, deployment) = deployed(&spec).await;
    assert_eq!(deployment["outputs"]["loadBalancer"]["url"], "https://example.com");
    assert!(record(&aws, "example.com", RrType::A).await.is_some());
    assert_nothing_to_do(&account, &aws, &deployment).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert!(record(&aws, "example.com", RrType::A).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn records_of_others_with_a_wildcard_are_left_alone() {
    let (account, aws, deployment) = prepared(HOSTS).await;
    let value = ResourceRecord::builder().value("192.0.2.1").build().unwrap();
    let theirs = ResourceRecordSet::builder().name("*.shop.example.com").r#type(RrType::A).ttl(60);
    put_record(&aws, theirs.resource_records(value).build().unwrap()).await;
    let mut deployment = deployment;
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    // Route 53 shows `*` as its code.
    assert!(record(&aws, "\\052.shop.example.com", RrType::A).await.is_some());
}

/// Adds this many records of others to the zone.
async fn add_records(aws: &Aws, count: usize) {
    let create = |number: usize| {
        let value = ResourceRecord::builder().value("192.0.2.1").build().unwrap();
        let record = ResourceRecordSet::builder().name(format!("a{number}.example.com")).r#type(RrType::A);
        let record = record.ttl(300).resource_records(value).build().unwrap();
        let change = aws_sdk_route53::types::Change::builder().resource_record_set(record);
        change.action(aws_sdk_route53::types::ChangeAction::Create).build().unwrap()
    };
    let changes = (0..count).map(create).collect();
    let batch = aws_sdk_route53::types::ChangeBatch::builder().set_changes(Some(changes)).build().unwrap();
    let call = aws.route53().change_resource_record_sets().hosted_zone_id(ZONE).change_batch(batch);
    call.send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_zone_with_many_records_is_served_like_a_small_one() {
    let (account, aws, mut deployment) = prepared(HOSTS).await;
    add_records(&aws, 120).await;
    let value = ResourceRecord::builder().value("2001:db8::1").build().unwrap();
    let theirs = ResourceRecordSet::builder().name("api.example.com").r#type(RrType::Aaaa).ttl(60);
    let theirs = theirs.resource_records(value).build().unwrap();
    put_record(&aws, theirs.clone()).await;
    let found = problems(&aws, &deployment).await;
    assert!(found.contains("DNS record api.example.com (AAAA)"), "{found}");
    let change = aws_sdk_route53::types::Change::builder().resource_record_set(theirs);
    let change = change.action(aws_sdk_route53::types::ChangeAction::Delete).build().unwrap();
    let batch = aws_sdk_route53::types::ChangeBatch::builder().changes(change).build().unwrap();
    let call = aws.route53().change_resource_record_sets().hosted_zone_id(ZONE).change_batch(batch);
    call.send().await.unwrap();
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    for host in ["shop.example.com", "api.example.com"] {
        assert!(record(&aws, host, RrType::A).await.is_some(), "{host}");
    }
    assert_nothing_to_do(&account, &aws, &deployment).await;
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    let records = aws.route53().list_resource_record_sets().hosted_zone_id(ZONE).send().await.unwrap();
    assert_eq!(records.resource_record_sets().len(), 122, "those of others, and the zone's own");
}

#[tokio::test(start_paused = true)]
async fn a_validation_record_that_another_certificate_needs_stays() {
    // ACM validates a wildcard with the record of its parent.
    let cases: [&[&str]; 2] = [&["shop.example.com"], &["other.example.com", "*.shop.example.com"]];
    for names in cases {
        let (account, aws, deployment) = deployed(DOMAIN).await;
        let call = aws.acm().request_certificate().domain_name(names[0]);
        let others: Vec<String> = names[1..].iter().map(|name| (*name).to_owned()).collect();
        let call = call.set_subject_alternative_names((!others.is_empty()).then_some(others));
        let call = call.validation_method(aws_sdk_acm::types::ValidationMethod::Dns);
        let theirs = call.send().await.unwrap().certificate_arn.unwrap();
        tokio::time::advance(Duration::from_mins(1)).await;
        let detail = aws.acm().describe_certificate().certificate_arn(theirs).send().await.unwrap();
        let mut options = detail.certificate().unwrap().domain_validation_options().iter();
        let option = options.find(|option| option.domain_name().ends_with("shop.example.com")).unwrap();
        let shared = option.resource_record().unwrap().name().trim_end_matches('.').to_owned();
        assert!(record(&aws, &shared, RrType::Cname).await.is_some(), "{names:?}");
        // The other certificate does not disturb the stack.
        assert_nothing_to_do(&account, &aws, &deployment).await;
        until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
        assert!(record(&aws, &shared, RrType::Cname).await.is_some(), "{names:?}");
        assert!(record(&aws, "shop.example.com", RrType::A).await.is_none(), "{names:?}");
        let certificates = inventory(&account).into_iter().filter(|item| item.contains("Certificate"));
        assert_eq!(certificates.count(), 0, "{names:?}: the stack's own is deleted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_user_can_be_replaced_by_a_requested_one() {
    const THEIRS: &str =
        "arn:aws:acm:eu-central-1:123456789012:certificate/77777777-2222-3333-4444-555555555555";
    let given = DOMAIN.replace("{ domain:", &format!("{{ certificateArn: '{THEIRS}', domain:"));
    let (account, aws, mut deployment) = prepared(&given).await;
    account.seed(&Seed::Certificate { arn: THEIRS.into(), domain: "shop.example.com".into() });
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    let mut deployment = next(&deployment, DOMAIN);
    // The listener uses a certificate for the domain without the stack's tag: the spec named it before.
    assert_eq!(
        changes(&aws, &deployment).await,
        ["create certificate", "create certificate/validation-record", "update listener/https certificate"]
    );
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "prune", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    assert!(aws.acm().describe_certificate().certificate_arn(THEIRS).send().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_host_outside_the_zone_is_left_to_its_owner() {
    const THEIRS: &str =
        "arn:aws:acm:eu-central-1:123456789012:certificate/77777777-2222-3333-4444-555555555555";
    let spec = HOSTS.replace("{ domain:", &format!("{{ certificateArn: '{THEIRS}', domain:"));
    let spec = spec.replace("api.example.com", "api.example.org");
    let (account, aws, mut deployment) = prepared(&spec).await;
    let names = ["shop.example.com", "api.example.org"].map(str::to_owned).to_vec();
    account.seed(&Seed::CertificateOf { arn: THEIRS.into(), names, is_issued: true });
    let planned = changes(&aws, &deployment).await;
    let aliases: Vec<&String> = planned.iter().filter(|line| line.contains("alias-record")).collect();
    assert_eq!(aliases, ["create alias-record"]);
    apply(&aws, &[NAME], &mut deployment).await;
    until_done(&aws, NAME, "wait-until-stable", &deployment).await.unwrap();
    assert_nothing_to_do(&account, &aws, &deployment).await;
    let plan = act(&aws, NAME, "plan", &deployment).await.unwrap();
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("Stackdrop creates no DNS record for the host api.example.org"), "{warnings}");
    assert!(!warnings.contains("for the host shop.example.com"), "{warnings}");
}

#[tokio::test(start_paused = true)]
async fn an_alias_record_that_changes_during_a_deletion_keeps_the_load_balancer() {
    let (account, aws, deployment) = deployed(DOMAIN).await;
    let changed = FaultKind::Refused {
        code: "InvalidChangeBatch".into(),
        message: "the values provided do not match the current values".into(),
    };
    account.arm(Fault::at("route53", "ChangeResourceRecordSets", When::Only(1), changed));
    let before = writes(&account).len();
    let deletion = act(&aws, NAME, "delete", &deployment).await.unwrap();
    assert_eq!(deletion["remaining"][0]["resource"], "alias-record");
    assert_eq!(deletion["remaining"][0]["why"], "it was changed during the deletion");
    // Without the load balancer, nothing would tell that the record is the stack's.
    assert_eq!(writes(&account)[before..], ["route53:ChangeResourceRecordSets"]);
    until_done(&aws, NAME, "await-deletion", &deployment).await.unwrap();
    assert_eq!(inventory(&account), Vec::<String>::new());
    assert_zone_is_unchanged(&aws).await;
}
