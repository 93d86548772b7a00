//! STS: the identity of the caller.

use serde_json::json;

use super::{Service, unknown};
use crate::authorization::AccessRequests;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::World;

pub(crate) static SERVICE: Service =
    Service::query("sts", "https://sts.amazonaws.com/doc/2011-06-15/", act, access);

/// The permissions that a call needs.
fn access(_world: &World, _operation: &str, _params: &Params, requests: &mut AccessRequests<'_>) {
    requests.no_resource();
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
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
