//! Route 53: limits of changes, and pages of zones and records, with an unmodified SDK.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use std::time::Duration;

use aws_sdk_route53::Client;
use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_route53::types::{
    AliasTarget, Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use common::{account, sdk};
use stackdrop_simulator::Seed;

/// A client of an account with zones of these IDs and names.
fn open(zones: &[(&str, &str)]) -> Client {
    let account = account();
    for (id, name) in zones {
        account.seed(&Seed::HostedZone { id: (*id).into(), name: (*name).into() });
    }
    Client::new(&sdk(&account))
}

/// Five calls a second are allowed.
async fn pause() {
    tokio::time::advance(Duration::from_secs(1)).await;
}

/// A refusal's code and HTTP status.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, u16) {
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    (error.code().unwrap_or_default().to_owned(), status)
}

fn record(name: &str, kind: RrType, ttl: i64, values: &[String]) -> ResourceRecordSet {
    let values = values.iter().map(|value| ResourceRecord::builder().value(value).build().unwrap()).collect();
    let record = ResourceRecordSet::builder().name(name).r#type(kind).ttl(ttl);
    record.set_resource_records(Some(values)).build().unwrap()
}

fn address(name: &str) -> ResourceRecordSet {
    record(name, RrType::A, 60, &["192.0.2.1".into()])
}

/// Makes the same change of each record in one batch. Returns the code and the HTTP status of a refusal.
async fn change(
    dns: &Client,
    action: &ChangeAction,
    records: Vec<ResourceRecordSet>,
) -> Result<(), (String, u16)> {
    pause().await;
    let changes = records
        .into_iter()
        .map(|record| Change::builder().action(action.clone()).resource_record_set(record).build().unwrap());
    let batch = ChangeBatch::builder().set_changes(Some(changes.collect())).build().unwrap();
    let call = dns.change_resource_record_sets().hosted_zone_id("ZSHOP").change_batch(batch);
    call.send().await.map(|_| ()).map_err(|error| refusal::<(), _>(Err(error)))
}

fn refused(code: &str) -> Result<(), (String, u16)> {
    Err((code.to_owned(), 400))
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_a_thousand_changes_and_an_upsert_counts_twice() {
    let dns = open(&[("ZSHOP", "example.com")]);
    let addresses =
        |count: u32| (0..count).map(|number| address(&format!("a{number}.example.com"))).collect();
    let invalid = refused("InvalidChangeBatch");
    assert_eq!(change(&dns, &ChangeAction::Upsert, addresses(501)).await, invalid);
    assert_eq!(change(&dns, &ChangeAction::Create, addresses(1001)).await, invalid);
    assert_eq!(change(&dns, &ChangeAction::Create, addresses(0)).await, refused("InvalidInput"));
    change(&dns, &ChangeAction::Upsert, addresses(500)).await.unwrap();
    change(&dns, &ChangeAction::Delete, addresses(500)).await.unwrap();
    change(&dns, &ChangeAction::Create, addresses(1000)).await.unwrap();
    pause().await;
    let pages = dns.list_resource_record_sets().hosted_zone_id("ZSHOP").max_items(1000).send().await.unwrap();
    assert_eq!((pages.resource_record_sets().len(), pages.is_truncated()), (300, true), "the most of a page");
}

#[tokio::test(start_paused = true)]
async fn records_that_route_53_does_not_take_are_refused() {
    let dns = open(&[("ZSHOP", "example.com")]);
    let addresses = |count: u16| {
        (0..count).map(|number| format!("10.0.{}.{}", number / 250, number % 250)).collect::<Vec<_>>()
    };
    let target = AliasTarget::builder().hosted_zone_id("ZSHOP").dns_name("b.example.com");
    let target = target.evaluate_target_health(false).build().unwrap();
    let both =
        ResourceRecordSet::builder().name("a.example.com").r#type(RrType::A).ttl(60).alias_target(target);
    let one = |name: &str, kind: RrType, value: &str| record(name, kind, 60, &[value.to_owned()]);
    for (record, code) in [
        (record("a.example.com", RrType::A, 60, &addresses(401)), "InvalidChangeBatch"),
        (record("a.example.com", RrType::A, -1, &addresses(1)), "InvalidInput"),
        (record("a.example.com", RrType::A, 2_147_483_648, &addresses(1)), "InvalidInput"),
        (both.build().unwrap(), "InvalidInput"),
        (one("a.example.com", RrType::Ptr, "b.example.com"), "InvalidInput"),
        (address(&format!("{}.example.com", "a".repeat(64))), "InvalidChangeBatch"),
        (address("a b.example.com"), "InvalidChangeBatch"),
        (one("a.example.com", RrType::Cname, "b..example.com"), "InvalidChangeBatch"),
        (one("a.example.com", RrType::Txt, "\""), "InvalidChangeBatch"),
    ] {
        let shown = format!("{record:?}");
        assert_eq!(change(&dns, &ChangeAction::Create, vec![record]).await, refused(code), "{shown}");
    }
    let most = addresses(400);
    change(&dns, &ChangeAction::Create, vec![record("a.example.com", RrType::A, 60, &most)]).await.unwrap();
    // The order of values does not matter to a deletion.
    let mut turned = most;
    turned.reverse();
    change(&dns, &ChangeAction::Delete, vec![record("a.example.com", RrType::A, 60, &turned)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_no_cname_takes_one_only_once_its_other_records_are_gone() {
    let dns = open(&[("ZSHOP", "example.com")]);
    let alias = || record("a.example.com", RrType::Cname, 60, &["b.example.com".into()]);
    change(&dns, &ChangeAction::Create, vec![alias()]).await.unwrap();
    let conflict = change(&dns, &ChangeAction::Create, vec![address("a.example.com")]).await;
    assert_eq!(conflict, refused("InvalidChangeBatch"), "a CNAME is alone");
    change(&dns, &ChangeAction::Delete, vec![alias()]).await.unwrap();
    change(&dns, &ChangeAction::Create, vec![address("a.example.com")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn zones_are_listed_in_pages_by_id_and_by_name() {
    let dns = open(&[("ZA", "shop.org"), ("ZB", "example.com"), ("ZC", "shop.org")]);
    let all = dns.list_hosted_zones().send().await.unwrap();
    let ids = |zones: &[aws_sdk_route53::types::HostedZone]| -> Vec<String> {
        zones.iter().map(|zone| zone.id().replace("/hostedzone/", "")).collect()
    };
    assert_eq!(
        (ids(all.hosted_zones()), all.next_marker()),
        (vec!["ZA".into(), "ZB".into(), "ZC".into()], None)
    );
    let from = dns.list_hosted_zones().marker("ZB").max_items(1).send().await.unwrap();
    assert_eq!((ids(from.hosted_zones()), from.next_marker()), (vec!["ZB".into()], Some("ZC")));
    pause().await;
    // By the labels from last to first: example.com, then shop.org twice.
    let first = dns.list_hosted_zones_by_name().max_items(2).send().await.unwrap();
    assert_eq!(ids(first.hosted_zones()), ["ZB", "ZA"]);
    assert_eq!((first.next_dns_name(), first.next_hosted_zone_id()), (Some("shop.org."), Some("ZC")));
    let rest =
        dns.list_hosted_zones_by_name().dns_name("shop.org.").hosted_zone_id("ZC").send().await.unwrap();
    assert_eq!((ids(rest.hosted_zones()), rest.is_truncated()), (vec!["ZC".into()], false));
    pause().await;
    let by_id = dns.list_hosted_zones_by_name().hosted_zone_id("ZC").send().await;
    assert_eq!(refusal(by_id), ("InvalidInput".into(), 400), "an ID needs its name");
    assert_eq!(refusal(dns.list_hosted_zones().max_items(0).send().await), ("InvalidInput".into(), 400));
    assert_eq!(refusal(dns.get_hosted_zone().id("ZD").send().await), ("NoSuchHostedZone".into(), 404));
    assert_eq!(refusal(dns.get_change().id("C1").send().await), ("NoSuchChange".into(), 404));
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_five_a_second_are_throttled() {
    let dns = open(&[("ZSHOP", "example.com")]);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..6 {
        calls.spawn(dns.get_hosted_zone().id("ZSHOP").send());
    }
    let refusals = calls.join_all().await.into_iter().filter(Result::is_err).map(refusal);
    assert_eq!(refusals.collect::<Vec<_>>(), [("Throttling".to_owned(), 400_u16)]);
    pause().await;
    dns.get_hosted_zone().id("ZSHOP").send().await.unwrap();
}
