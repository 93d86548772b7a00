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
    Err(unknown("ecs", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// What a container of an image does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageView {
    /// No registry has it.
    Missing,
    /// It ends at once with this exit code.
    Crashes(i32),
    /// It runs, and never passes a health check.
    Unhealthy,
}

/// Says what containers of an image do; any other image runs well.
pub(crate) fn seed_image(_: &mut World, _image: &str, _view: ImageView) {}
