//! The names of two stacks in one account never collide.

use std::collections::BTreeSet;

use stackdrop::{Rehearsal, Setting};
use stackdrop_specs::Spec;

use crate::{SHOP, changes, deployed, with};

/// The example with another name of its stack and of its service.
fn named(stack: &str, service: &str) -> String {
    with(&with(SHOP, "stack: shop", &format!("stack: {stack}")), "\n  web:", &format!("\n  {service}:"))
}

/// Kinds whose names need not be unique in an account: those of EC2, and policies of one scalable target.
const NOT_UNIQUE: [&str; 2] = ["AWS::EC2", "AWS::ApplicationAutoScaling::ScalingPolicy"];

/// The names of everything else.
fn names(rehearsal: &Rehearsal) -> Vec<String> {
    let all = rehearsal
        .account()
        .inventory()
        .into_iter()
        .filter(|item| !NOT_UNIQUE.iter().any(|kind| item.kind.starts_with(kind)));
    all.map(|item| format!("{} {}", item.kind, item.name)).collect()
}

#[tokio::test(start_paused = true)]
async fn stacks_whose_names_joined_with_those_of_their_services_are_equal_can_both_be_deployed() {
    let specs = [named("store", "web-api"), named("store-web", "api"), named("store-web-api", "x")];
    let read = specs.each_ref().map(|spec| Spec::read(spec.as_bytes()).unwrap());
    let rehearsal = Rehearsal::open(&Setting::default(), &read.each_ref()).unwrap();
    for spec in &specs {
        deployed(&rehearsal, spec).await;
    }
    let all = names(&rehearsal);
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len(), "{all:#?}");
    for spec in &specs {
        assert_eq!(changes(&deployed(&rehearsal, spec).await), [""; 0], "no stack touches another's");
    }
}
