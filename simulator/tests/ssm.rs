//! Systems Manager: the images of the public parameters, the account's own parameters, and the registration of instances.

#![expect(clippy::unwrap_used, reason = "what a test's helper does not expect fails the test")]

mod common;
mod ssm_network;

use std::collections::BTreeMap;

use aws_sdk_ssm::types::{
    InstanceInformationFilter, InstanceInformationFilterKey, InstanceInformationStringFilter,
    ParameterStringFilter, PingStatus, ResourceTypeForTagging, Tag,
};
use common::{account, sdk};
use ssm_network::{Network, assert_refused, wait};
use stackdrop_simulator::Seed;

#[tokio::test(start_paused = true)]
async fn the_public_parameters_name_the_newest_images() {
    let account = account();
    let ssm = aws_sdk_ssm::Client::new(&sdk(&account));
    let base = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default";
    let mut images = Vec::new();
    for architecture in ["x86_64", "arm64"] {
        let got = ssm.get_parameter().name(format!("{base}-{architecture}")).send().await.unwrap();
        images.push(got.parameter.unwrap().value.unwrap());
    }
    assert!(images.iter().all(|image| image.starts_with("ami-")));
    assert_ne!(images[0], images[1]);
    let nothing = ssm.get_parameter().name("/nothing").send().await;
    assert_refused(nothing, "ParameterNotFound", "/nothing");
}

#[tokio::test(start_paused = true)]
async fn parameters_are_described_by_name_with_their_keys_and_never_with_a_value() {
    let account = account();
    let arn = |path: &str| format!("arn:aws:ssm:eu-central-1:123456789012:parameter/{path}");
    let key = Some("alias/aws/ssm".to_owned());
    account.seed(&Seed::Parameter { arn: arn("shop/key"), tags: BTreeMap::new(), kms_key: key });
    account.seed(&Seed::Parameter { arn: arn("plain"), tags: BTreeMap::new(), kms_key: None });
    let ssm = aws_sdk_ssm::Client::new(&sdk(&account));
    let named = |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect();
        let filter = ParameterStringFilter::builder().key("Name").option("Equals").set_values(Some(names));
        ssm.describe_parameters().parameter_filters(filter.build().unwrap())
    };
    let found = named(&["/shop/key", "plain", "/plain", "/none"]).send().await.unwrap();
    let found: Vec<_> = found
        .parameters()
        .iter()
        .map(|found| (found.name().unwrap(), found.arn().unwrap().to_owned(), found.key_id()))
        .collect();
    let expected = [("/shop/key", arn("shop/key"), Some("alias/aws/ssm")), ("plain", arn("plain"), None)];
    assert_eq!(found, expected);
    let read = ssm.get_parameter().name("/shop/key").send().await;
    assert_refused(read, "ParameterNotFound", "/shop/key");
}

#[tokio::test(start_paused = true)]
async fn a_parameter_has_the_tags_that_its_owner_sets() {
    let account = account();
    let arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/shop/key".to_owned();
    let tags = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    account.seed(&Seed::Parameter { arn, tags, kms_key: None });
    let ssm = aws_sdk_ssm::Client::new(&sdk(&account));
    let kind = ResourceTypeForTagging::Parameter;
    let tag = Tag::builder().key("stackdrop-access").value("*").build().unwrap();
    let add = ssm.add_tags_to_resource().resource_type(kind.clone()).resource_id("/shop/key");
    add.tags(tag).send().await.unwrap();
    let remove = ssm.remove_tags_from_resource().resource_type(kind.clone()).resource_id("/shop/key");
    remove.tag_keys("team").send().await.unwrap();
    let list = |name: &str| ssm.list_tags_for_resource().resource_type(kind.clone()).resource_id(name);
    let found = list("/shop/key").send().await.unwrap();
    let found: Vec<_> = found.tag_list().iter().map(|tag| (tag.key(), tag.value())).collect();
    assert_eq!(found, [("stackdrop-access", "*")]);
    assert_refused(list("/none").send().await, "InvalidResourceId", "isn't valid");
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_role_and_a_route_registers_and_is_lost_when_it_ends() {
    let network = Network::open(true).await;
    let id = network.launch(true).await;
    assert_eq!(network.ping(&id).await, None);
    wait(30).await;
    assert_eq!(network.ping(&id).await, None, "not before the agent has registered");
    wait(120).await;
    assert_eq!(network.ping(&id).await, Some(PingStatus::Online));
    let filter = |key: &str, value: &str| {
        InstanceInformationStringFilter::builder().key(key).values(value).build().unwrap()
    };
    let by_tag = network.ssm.describe_instance_information().filters(filter("tag:Name", "shop"));
    assert_eq!(by_tag.send().await.unwrap().instance_information_list()[0].instance_id(), Some(id.as_str()));
    for (key, value, code) in [
        ("Colour", "red", "InvalidFilterKey"),
        ("InstanceIds", "shop", "InvalidInstanceInformationFilterValue"),
    ] {
        let asked = network.ssm.describe_instance_information().filters(filter(key, value)).send().await;
        assert_refused(asked, code, "valid");
    }
    network.terminate(&id).await;
    wait(90).await;
    assert_eq!(network.ping(&id).await, Some(PingStatus::ConnectionLost));
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_role_never_registers() {
    let network = Network::open(true).await;
    let id = network.launch(false).await;
    wait(3600).await;
    assert_eq!(network.ping(&id).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reached_no_service_at_boot_tries_again_after_half_an_hour() {
    let network = Network::open(false).await;
    let id = network.launch(true).await;
    wait(60).await;
    assert_eq!(network.ping(&id).await, None);
    network.open_way_out().await;
    wait(1200).await;
    assert_eq!(network.ping(&id).await, None, "there is a way out, and it has not looked again");
    wait(900).await;
    assert_eq!(network.ping(&id).await, Some(PingStatus::Online));
}

#[tokio::test(start_paused = true)]
async fn impossible_questions_about_instances_are_refused() {
    let ssm = aws_sdk_ssm::Client::new(&sdk(&account()));
    let ask = || ssm.describe_instance_information();
    let by_tag = |values: Vec<String>| {
        let filter = InstanceInformationStringFilter::builder().key("tag:Name").set_values(Some(values));
        filter.build().unwrap()
    };
    let old = InstanceInformationFilter::builder().key(InstanceInformationFilterKey::InstanceIds);
    let old = old.value_set("i-00000000000000000").build().unwrap();
    for (call, code) in [
        (ask().max_results(4), "ValidationException"),
        (ask().max_results(51), "ValidationException"),
        (ask().next_token("x"), "InvalidNextToken"),
        (ask().filters(by_tag(vec![])), "InvalidInstanceInformationFilterValue"),
        (ask().filters(by_tag(vec!["shop".into(); 101])), "InvalidInstanceInformationFilterValue"),
        (
            ask().filters(by_tag(vec!["shop".into()])).instance_information_filter_list(old),
            "ValidationException",
        ),
    ] {
        assert_refused(call.send().await, code, "");
    }
    ask().max_results(5).filters(by_tag(vec!["shop".into(); 100])).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn impossible_questions_about_parameters_are_refused() {
    let ssm = aws_sdk_ssm::Client::new(&sdk(&account()));
    let ask = || ssm.describe_parameters();
    let by = |key: &str, option: &str, values: usize| {
        let values = vec!["/shop/key".to_owned(); values];
        let filter = ParameterStringFilter::builder().key(key).option(option).set_values(Some(values));
        filter.build().unwrap()
    };
    for (call, code) in [
        (ask().max_results(0), "ValidationException"),
        (ask().max_results(51), "ValidationException"),
        (ask().next_token("x"), "InvalidNextToken"),
        (ask().parameter_filters(by("Colour", "Equals", 1)), "InvalidFilterKey"),
        (ask().parameter_filters(by("Name", "Near", 1)), "InvalidFilterOption"),
        (ask().parameter_filters(by("Name", "Equals", 51)), "InvalidFilterValue"),
    ] {
        assert_refused(call.send().await, code, "");
    }
    ask().max_results(50).parameter_filters(by("Name", "BeginsWith", 50)).send().await.unwrap();
    let document = ssm.list_tags_for_resource().resource_type(ResourceTypeForTagging::Document);
    assert_refused(document.resource_id("shop").send().await, "InvalidResourceType", "");
}
