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
    Err(unknown("s3", operation))
}

pub(crate) fn route(_: &Request) -> Result<(String, Params), Refusal> {
    Err(unknown("s3", ""))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// Puts an empty, versioned bucket into the account.
pub(crate) fn seed_bucket(_: &mut World, _name: &str) {}
