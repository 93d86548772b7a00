//! To be written.

use super::unknown;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// What stands of this service.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn act(_: &mut World, operation: &str, _: &Params) -> Result<Reply, Refusal> {
    Err(unknown("secrets", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// Makes the secret that a service manages for a resource, and returns its ARN.
pub(crate) fn create_managed(_: &mut World, _owner: &str, _name: &str) -> String {
    String::new()
}

/// Deletes a secret that a service manages, at once.
pub(crate) fn delete_managed(_: &mut World, _arn: &str) {}

/// Whether a secret exists (its ARN, with or without `:key:stage:version` behind it).
pub(crate) fn exists(_: &World, _arn: &str) -> bool {
    false
}

/// Puts a secret of somebody else into the account.
pub(crate) fn seed(_: &mut World, _arn: &str) {}
