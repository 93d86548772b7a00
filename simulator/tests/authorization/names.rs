//! ACM and Route 53.

use aws_sdk_acm::types::{Tag, ValidationMethod};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use serde_json::json;
use stackdrop_simulator::{Account, Seed};

use crate::common::{account, sdk};
use crate::stage::{ROLE, acting, asked, assert_denied, everything, give_role, key};

const ZONE: &str = "Z0123456789ABCDEFGHIJ";

fn batch(name: &str, kind: RrType) -> ChangeBatch {
    let value = ResourceRecord::builder().value("target.example.com").build().unwrap();
    let record = ResourceRecordSet::builder().name(name).r#type(kind).ttl(60).resource_records(value);
    let change = Change::builder().action(ChangeAction::Upsert).resource_record_set(record.build().unwrap());
    ChangeBatch::builder().changes(change.build().unwrap()).build().unwrap()
}

fn with_zone() -> (Account, aws_sdk_route53::Client) {
    let account = account();
    account.seed(&Seed::HostedZone { id: ZONE.into(), name: "example.com".into() });
    let route53 = aws_sdk_route53::Client::new(&sdk(&account));
    (account, route53)
}

#[tokio::test(start_paused = true)]
async fn a_change_of_records_sets_the_keys_for_actions_types_and_normalised_names() {
    let (account, route53) = with_zone();
    give_role(&account, ROLE, &everything());
    let change = route53.change_resource_record_sets().hosted_zone_id(ZONE);
    let change = change.change_batch(batch("*.Shop.example.com.", RrType::Cname));
    let id = acting(change.send()).await.unwrap().change_info.unwrap().id;
    acting(route53.get_change().id(&id).send()).await.unwrap();
    let id = id.trim_start_matches("/change/");
    assert_eq!(
        asked(&account),
        [
            format!("route53:ChangeResourceRecordSets hostedzone/{ZONE}"),
            format!("route53:GetChange change/{id}")
        ]
    );
    for (name, value) in
        [("NormalizedRecordNames", "\\052.shop.example.com"), ("RecordTypes", "CNAME"), ("Actions", "UPSERT")]
    {
        let key_name = format!("route53:ChangeResourceRecordSets{name}");
        assert_eq!(key(&account, "route53:ChangeResourceRecordSets", &key_name), json!([value]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_can_limit_a_caller_to_some_record_types() {
    let (account, route53) = with_zone();
    let statement = json!({
        "Effect": "Allow",
        "Action": "route53:ChangeResourceRecordSets",
        "Resource": "arn:aws:route53:::hostedzone/*",
        "Condition": {
            "ForAllValues:StringEquals": { "route53:ChangeResourceRecordSetsRecordTypes": ["A", "CNAME"] },
        },
    });
    give_role(&account, ROLE, &statement);
    let change = |kind| {
        let change = route53.change_resource_record_sets().hosted_zone_id(ZONE);
        acting(change.change_batch(batch("shop.example.com", kind)).send())
    };
    assert_denied(change(RrType::Mx).await, "AccessDenied", "route53:ChangeResourceRecordSets");
    change(RrType::Cname).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_needs_permission_for_its_tags() {
    let account = account();
    give_role(&account, ROLE, &everything());
    let acm = aws_sdk_acm::Client::new(&sdk(&account));
    let tag = Tag::builder().key("stackdrop:stack").value("shop").build().unwrap();
    let request = acm.request_certificate().domain_name("shop.example.com").tags(tag);
    let made = acting(request.validation_method(ValidationMethod::Dns).send()).await.unwrap();
    let arn = made.certificate_arn().unwrap();
    acting(acm.delete_certificate().certificate_arn(arn).send()).await.unwrap_err();
    assert_eq!(
        asked(&account),
        [
            "acm:RequestCertificate *".to_owned(),
            "acm:AddTagsToCertificate certificate/*".into(),
            format!("acm:DeleteCertificate {}", arn.rsplit(':').next().unwrap()),
        ]
    );
    let tag = key(&account, "acm:DeleteCertificate", "aws:ResourceTag/stackdrop:stack");
    assert_eq!(tag, json!(["shop"]));
}
