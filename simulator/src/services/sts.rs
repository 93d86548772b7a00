//! STS: who is calling.

use serde_json::json;

use super::unknown;
use crate::authorization::Asks;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

/// What a call asks IAM for.
pub(crate) fn access(_world: &World, _operation: &str, _params: &Params, asks: &mut Asks<'_>) {
    asks.whole();
}

pub(crate) fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "GetCallerIdentity" => {
            params.done()?;
            Ok(json!({
                "Arn": format!("arn:aws:sts::{}:assumed-role/stackdrop/simulated", world.account),
                "UserId": "AROASIMULATED:simulated",
                "Account": world.account,
            })
            .into())
        }
        _ => Err(unknown("sts", operation)),
    }
}
