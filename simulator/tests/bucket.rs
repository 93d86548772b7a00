//! S3 against an unmodified SDK: versions, conditions, listings, odd keys.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, ObjectVersion,
    VersioningConfiguration,
};
use common::{account, sdk};
use stackdrop_simulator::{Account, Seed};

const BUCKET: &str = "drops";

/// An account with the bucket in it, and a client.
fn open() -> (Account, Client) {
    let account = account();
    account.seed(&Seed::Bucket { name: BUCKET.into() });
    let client = Client::new(&sdk(&account));
    (account, client)
}

async fn put(s3: &Client, key: &str, text: &str) -> (String, String) {
    let body = ByteStream::from(text.as_bytes().to_vec());
    let answer = s3.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    (answer.e_tag.unwrap(), answer.version_id.unwrap())
}

async fn read(s3: &Client, key: &str) -> String {
    let answer = s3.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    String::from_utf8(answer.body.collect().await.unwrap().to_vec()).unwrap()
}

/// A refusal's code and HTTP status.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, u16) {
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    (error.code().unwrap_or_default().to_owned(), status)
}

#[tokio::test(start_paused = true)]
async fn an_object_is_read_at_once_with_its_type_and_metadata() {
    let (_, s3) = open();
    let put = s3.put_object().bucket(BUCKET).key("specs/shop.yaml").content_type("text/yaml");
    let put =
        put.metadata("owner", "shop").cache_control("no-cache").body(ByteStream::from_static(b"stack: shop"));
    let put = put.send().await.unwrap();
    assert!(put.checksum_crc32().is_some(), "the SDK's own checksum is given back");
    let got = s3.get_object().bucket(BUCKET).key("specs/shop.yaml").send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/yaml"));
    assert_eq!(got.cache_control(), Some("no-cache"));
    assert_eq!(got.metadata().unwrap()["owner"], "shop");
    assert_eq!(got.content_length(), Some(11));
    assert_eq!(got.version_id(), put.version_id());
    assert_eq!(got.last_modified().unwrap().secs(), 1_767_225_600);
    // The SDK compares the body with the checksum.
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"stack: shop");
    let head = s3.head_object().bucket(BUCKET).key("specs/shop.yaml").send().await.unwrap();
    assert_eq!((head.content_length(), head.e_tag()), (Some(11), put.e_tag()));
    assert_eq!(head.metadata().unwrap()["owner"], "shop");
}

#[tokio::test(start_paused = true)]
async fn keys_with_odd_characters_come_back_as_they_are() {
    let (_, s3) = open();
    let odd = ["a b", "a+b", "a%20b", "ü/ß", "a&b=c?d#e", "tab\there", "a//b", "(1)'\"<>", "日本"];
    for key in odd {
        put(&s3, key, key).await;
    }
    for key in odd {
        assert_eq!(read(&s3, key).await, key);
    }
    let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    let mut keys: Vec<&str> = listed.contents().iter().filter_map(|object| object.key()).collect();
    let mut wanted = odd.to_vec();
    keys.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
}

#[tokio::test(start_paused = true)]
async fn both_styles_of_url_address_the_same_object() {
    let (account, s3) = open();
    put(&s3, "specs/a b.yaml", "same").await;
    let config = aws_sdk_s3::config::Builder::from(&sdk(&account)).force_path_style(true).build();
    assert_eq!(read(&Client::from_conf(config), "specs/a b.yaml").await, "same");
}

#[tokio::test(start_paused = true)]
async fn only_the_first_writer_of_an_absent_key_succeeds() {
    let (_, s3) = open();
    let claim =
        || s3.put_object().bucket(BUCKET).key("lock").if_none_match("*").body(ByteStream::from_static(b"1"));
    claim().send().await.unwrap();
    assert_eq!(refusal(claim().send().await), ("PreconditionFailed".into(), 412));
    s3.delete_object().bucket(BUCKET).key("lock").send().await.unwrap();
    claim().send().await.unwrap();
    let odd = s3.put_object().bucket(BUCKET).key("lock").if_none_match("\"other\"").send().await;
    assert_eq!(refusal(odd), ("NotImplemented".into(), 501));
}

#[tokio::test(start_paused = true)]
async fn a_write_with_an_etag_needs_the_same_object() {
    let (_, s3) = open();
    let over = |etag: &str| {
        s3.put_object().bucket(BUCKET).key("lock").if_match(etag).body(ByteStream::from_static(b"2")).send()
    };
    assert_eq!(refusal(over("\"none\"").await), ("NoSuchKey".into(), 404));
    let (etag, _) = put(&s3, "lock", "1").await;
    let second = over(&etag).await.unwrap();
    assert_eq!(refusal(over(&etag).await), ("PreconditionFailed".into(), 412));
    let free = |etag: &str| s3.delete_object().bucket(BUCKET).key("lock").if_match(etag).send();
    assert_eq!(refusal(free(&etag).await), ("PreconditionFailed".into(), 412));
    free(second.e_tag().unwrap()).await.unwrap();
    assert_eq!(refusal(free(&etag).await), ("NoSuchKey".into(), 404));
    assert_eq!(refusal(over(&etag).await), ("NoSuchKey".into(), 404));
}

#[tokio::test(start_paused = true)]
async fn reads_support_conditions() {
    let (_, s3) = open();
    let (etag, _) = put(&s3, "k", "1").await;
    let get = || s3.get_object().bucket(BUCKET).key("k");
    get().if_match(&etag).send().await.unwrap();
    assert_eq!(refusal(get().if_match("\"x\"").send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(refusal(get().if_none_match(&etag).send().await).1, 304);
    get().if_none_match("\"x\"").send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deletion_leaves_a_marker_and_the_versions_behind_it() {
    let (_, s3) = open();
    let (_, first) = put(&s3, "k", "1").await;
    let (_, second) = put(&s3, "k", "2").await;
    assert_ne!(first, second);
    let deleted = s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(deleted.delete_marker(), Some(true));
    let marker = deleted.version_id().unwrap();

    let gone = s3.get_object().bucket(BUCKET).key("k").send().await.unwrap_err();
    assert_eq!(gone.raw_response().unwrap().headers().get("x-amz-delete-marker"), Some("true"));
    assert!(gone.into_service_error().is_no_such_key());
    let by_marker = s3.get_object().bucket(BUCKET).key("k").version_id(marker).send().await;
    assert_eq!(refusal(by_marker), ("MethodNotAllowed".into(), 405));
    let head = s3.head_object().bucket(BUCKET).key("k").send().await.unwrap_err();
    assert!(head.into_service_error().is_not_found());
    let old = s3.get_object().bucket(BUCKET).key("k").version_id(&first).send().await.unwrap();
    assert_eq!(old.body.collect().await.unwrap().to_vec(), b"1");

    // Without its marker the object is there again.
    let undone = s3.delete_object().bucket(BUCKET).key("k").version_id(marker).send().await.unwrap();
    assert_eq!(undone.delete_marker(), Some(true));
    assert_eq!(read(&s3, "k").await, "2");
    s3.delete_object().bucket(BUCKET).key("k").version_id(&second).send().await.unwrap();
    assert_eq!(read(&s3, "k").await, "1");
    let removed = s3.get_object().bucket(BUCKET).key("k").version_id(&second).send().await;
    assert_eq!(refusal(removed), ("NoSuchVersion".into(), 404));
    let malformed = s3.get_object().bucket(BUCKET).key("k").version_id("seven").send().await;
    assert_eq!(refusal(malformed), ("InvalidArgument".into(), 400));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_without_versioning_keeps_one_null_version() {
    let account = account();
    let s3 = Client::new(&sdk(&account));
    let place =
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1);
    s3.create_bucket().bucket(BUCKET).create_bucket_configuration(place.build()).send().await.unwrap();
    let write = || s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"1")).send();
    assert_eq!(write().await.unwrap().version_id(), None);
    let switch = |status: BucketVersioningStatus| {
        let configuration = VersioningConfiguration::builder().status(status).build();
        s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(configuration).send()
    };
    let status = async || s3.get_bucket_versioning().bucket(BUCKET).send().await.unwrap().status;
    assert_eq!(status().await, None);
    switch(BucketVersioningStatus::Enabled).await.unwrap();
    assert_eq!(status().await, Some(BucketVersioningStatus::Enabled));
    assert_ne!(write().await.unwrap().version_id(), Some("null"));
    switch(BucketVersioningStatus::Suspended).await.unwrap();
    assert_eq!(write().await.unwrap().version_id(), Some("null"));
    let versions = s3.list_object_versions().bucket(BUCKET).send().await.unwrap();
    let nulls = versions.versions().iter().filter(|version| version.version_id() == Some("null")).count();
    assert_eq!((versions.versions().len(), nulls), (2, 1), "the older null version is replaced");
}

#[tokio::test(start_paused = true)]
async fn listings_filter_by_prefix_and_paginate() {
    let (_, s3) = open();
    for number in 0..5 {
        put(&s3, &format!("stacks/{number}/lock.json"), "{}").await;
    }
    put(&s3, "specs/shop.yaml", "").await;
    s3.delete_object().bucket(BUCKET).key("stacks/4/lock.json").send().await.unwrap();
    let pages = s3.list_objects_v2().bucket(BUCKET).prefix("stacks/").max_keys(3).into_paginator().send();
    let pages: Vec<_> = pages.try_collect().await.unwrap();
    let counts: Vec<_> = pages.iter().map(|page| (page.key_count(), page.is_truncated())).collect();
    assert_eq!(counts, [(Some(3), Some(true)), (Some(1), Some(false))]);
    let folders = s3.list_objects_v2().bucket(BUCKET).delimiter("/").send().await.unwrap();
    let folders: Vec<_> = folders.common_prefixes().iter().filter_map(|prefix| prefix.prefix()).collect();
    assert_eq!(folders, ["specs/", "stacks/"]);
    let negative = s3.list_objects_v2().bucket(BUCKET).max_keys(-1).send().await;
    assert_eq!(refusal(negative), ("InvalidArgument".into(), 400));
    let wrong = s3.list_objects_v2().bucket(BUCKET).continuation_token("x").send().await;
    assert_eq!(refusal(wrong), ("InvalidArgument".into(), 400));
}

#[tokio::test(start_paused = true)]
async fn versions_are_listed_newest_first_and_page_by_page() {
    let (_, s3) = open();
    let mut ids = Vec::new();
    for text in ["1", "2", "3"] {
        ids.push(put(&s3, "k", text).await.1);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    put(&s3, "l", "1").await;
    s3.delete_object().bucket(BUCKET).key("l").send().await.unwrap();
    let ids_of = |versions: &[ObjectVersion]| -> Vec<String> {
        versions.iter().filter_map(|version| version.version_id.clone()).collect()
    };
    let all = s3.list_object_versions().bucket(BUCKET).prefix("k").send().await.unwrap();
    ids.reverse();
    assert_eq!(ids_of(all.versions()), ids);
    let latest: Vec<_> = all.versions().iter().filter_map(ObjectVersion::is_latest).collect();
    assert_eq!(latest, [true, false, false]);

    let mut seen = Vec::new();
    let (mut key, mut id) = (None, None);
    loop {
        let page = s3.list_object_versions().bucket(BUCKET).max_keys(2);
        let page = page.set_key_marker(key).set_version_id_marker(id).send().await.unwrap();
        seen.extend(ids_of(page.versions()));
        seen.extend(
            page.delete_markers().iter().map(|marker| format!("marker of {}", marker.key().unwrap())),
        );
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, id) = (page.next_key_marker, page.next_version_id_marker);
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[..3], ids);
    assert!(seen.contains(&"marker of l".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn unknown_resources_are_reported() {
    let (_, s3) = open();
    let missing = s3.get_object().bucket(BUCKET).key("nothing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_no_such_key());
    let missing = s3.head_object().bucket(BUCKET).key("nothing").send().await.unwrap_err();
    assert!(missing.into_service_error().is_not_found());
    let elsewhere = s3.get_object().bucket("nowhere").key("k").send().await;
    assert_eq!(refusal(elsewhere), ("NoSuchBucket".into(), 404));
    let elsewhere = s3.list_objects_v2().bucket("nowhere").send().await.unwrap_err();
    assert!(elsewhere.into_service_error().is_no_such_bucket());
    let elsewhere = s3.head_bucket().bucket("nowhere").send().await.unwrap_err();
    assert!(elsewhere.into_service_error().is_not_found());
    s3.delete_object().bucket(BUCKET).key("nothing").send().await.unwrap();
    let foreign = s3.get_object().bucket(BUCKET).key("k").expected_bucket_owner("999999999999").send().await;
    assert_eq!(refusal(foreign), ("AccessDenied".into(), 403));
}

#[tokio::test(start_paused = true)]
async fn buckets_have_rules_of_their_own() {
    let (_, s3) = open();
    let place = |place: BucketLocationConstraint| {
        CreateBucketConfiguration::builder().location_constraint(place).build()
    };
    let here = || place(BucketLocationConstraint::EuCentral1);
    let create =
        |name: &str, place| s3.create_bucket().bucket(name).create_bucket_configuration(place).send();
    let again = create(BUCKET, here()).await.unwrap_err();
    assert!(again.into_service_error().is_bucket_already_owned_by_you());
    let long = "a".repeat(64);
    for name in ["Not_A_Name", "ab", &long, "a..b", "shop-", "192.0.2.1", "xn--shop", "sthree-shop"] {
        assert_eq!(refusal(create(name, here()).await), ("InvalidBucketName".into(), 400), "{name}");
    }
    let code = "IllegalLocationConstraintException".to_owned();
    assert_eq!(refusal(create("other", place(BucketLocationConstraint::EuWest1)).await), (code.clone(), 400));
    assert_eq!(refusal(s3.create_bucket().bucket("other").send().await), (code, 400));
    let location = s3.get_bucket_location().bucket(BUCKET).send().await.unwrap();
    assert_eq!(location.location_constraint(), Some(&BucketLocationConstraint::EuCentral1));
    put(&s3, "k", "1").await;
    assert_eq!(refusal(s3.delete_bucket().bucket(BUCKET).send().await), ("BucketNotEmpty".into(), 409));
    create("another", here()).await.unwrap();
    s3.delete_bucket().bucket("another").send().await.unwrap();
    let names = s3.list_buckets().send().await.unwrap();
    assert_eq!(names.buckets().iter().filter_map(|bucket| bucket.name()).collect::<Vec<_>>(), [BUCKET]);
}

#[tokio::test(start_paused = true)]
async fn unsupported_operations_and_parameters_are_errors() {
    let (_, s3) = open();
    let copied = s3.copy_object().bucket(BUCKET).key("k").copy_source("drops/l").send().await;
    assert_eq!(refusal(copied).0, "InvalidAction");
    let tagged = s3.put_object().bucket(BUCKET).key("k").tagging("a=b").send().await;
    assert_eq!(refusal(tagged).0, "UnknownParameter");
    let cold = s3.put_object().bucket(BUCKET).key("k").storage_class("GLACIER".into()).send().await;
    assert_eq!(refusal(cold).0, "InvalidStorageClass");
    let long = s3.put_object().bucket(BUCKET).key("k".repeat(1025)).send().await;
    assert_eq!(refusal(long).0, "KeyTooLongError");
    let damaged = s3.put_object().bucket(BUCKET).key("k").checksum_sha256("AAAA").send().await;
    assert_eq!(refusal(damaged).0, "BadDigest");
    for (md5, code) in
        [("no base64", "InvalidDigest"), ("AAAA", "InvalidDigest"), ("AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest")]
    {
        let put = s3.put_object().bucket(BUCKET).key("k").content_md5(md5).send().await;
        assert_eq!(refusal(put), (code.into(), 400), "{md5}");
    }
    assert_eq!(s3.list_objects_v2().bucket(BUCKET).send().await.unwrap().key_count(), Some(0));
    put(&s3, "k", "1").await;
    let unknown = s3.delete_object().bucket(BUCKET).key("k").version_id("seven").send().await;
    assert_eq!(refusal(unknown), ("InvalidArgument".into(), 400));
    s3.delete_object().bucket(BUCKET).key("k").version_id("0".repeat(32)).send().await.unwrap();
    assert_eq!(read(&s3, "k").await, "1");
    let marker = s3.list_object_versions().bucket(BUCKET).version_id_marker("0".repeat(32)).send().await;
    assert_eq!(refusal(marker), ("InvalidArgument".into(), 400));
    let neither = VersioningConfiguration::builder().build();
    let neither = s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(neither).send().await;
    assert_eq!(refusal(neither), ("IllegalVersioningConfigurationException".into(), 400));
}
