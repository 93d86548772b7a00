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
    Err(unknown("ssm", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}
