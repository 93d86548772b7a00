//! To be written.

use super::unknown;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::{Reply, Request};
use crate::world::World;

/// What stands of this service.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn act(_: &mut World, operation: &str, _: &Params) -> Result<Reply, Refusal> {
    Err(unknown("route53", operation))
}

pub(crate) fn route(_: &Request) -> Result<(String, Params), Refusal> {
    Err(unknown("route53", ""))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// Whether a record with this name, type and value is in sync at Route 53's servers, and since when.
pub(crate) fn in_sync_since(
    _: &World,
    _name: &str,
    _kind: &str,
    _value: &str,
) -> Option<std::time::Duration> {
    None
}

/// Puts a delegated public zone into the account.
pub(crate) fn seed_zone(_: &mut World, _id: &str, _name: &str) {}
