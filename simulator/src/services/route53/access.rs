//! What a call asks IAM for.

use crate::authorization::Asks;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(_world: &World, _operation: &str, _params: &Params, asks: &mut Asks<'_>) {
    asks.whole();
}
