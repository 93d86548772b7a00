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
    Err(unknown("scheduler", operation))
}

pub(crate) fn route(_: &Request) -> Result<(String, Params), Refusal> {
    Err(unknown("scheduler", ""))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// Puts a schedule group into the account.
pub(crate) fn seed_group(_: &mut World, _name: &str) {}
