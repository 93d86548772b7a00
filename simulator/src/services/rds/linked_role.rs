//! RDS's service-linked role, which a fresh account does not have.
//!
//! RDS creates the role with the first call that needs it, and refuses that call and others until it sees the role. On AWS
//! the first calls of an account are refused often, not always; here they always are.

use super::invalid;
use crate::params::Refusal;
use crate::services::iam;
use crate::world::World;

const SERVICE: &str = "rds.amazonaws.com";
/// How long after its creation RDS sees the role.
const UNSEEN_SECONDS: f64 = 2.0;

/// Creates the role if it does not exist.
///
/// # Errors
/// If RDS does not see the role yet.
pub(super) fn check(world: &mut World, message: &str) -> Result<(), Refusal> {
    iam::ensure_service_linked(world, SERVICE);
    let lag = world.latency.seconds(UNSEEN_SECONDS);
    match iam::linked_since(world, SERVICE) {
        Some(since) if world.now >= since + lag => Ok(()),
        _ => Err(invalid(message)),
    }
}
