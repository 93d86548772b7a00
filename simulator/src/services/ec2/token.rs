//! Client tokens, which make repeated creations idempotent.

use std::fmt::Debug;
use std::time::Duration;

use crate::params::Refusal;
use crate::world::World;

/// How long a token outlives its resource (`RunInstances`: "at least 24 hours after the termination").
pub(super) const OUTLIVES: Duration = Duration::from_hours(24);

/// The first request with a token.
#[derive(Debug, Clone)]
pub(super) struct Used {
    /// The request's parameters: the same token with other parameters is refused.
    request: String,
    /// The IDs of the created resources.
    pub(super) ids: Vec<String>,
}

/// The resources of an earlier request with the same token, if there was one.
///
/// # Errors
/// `IdempotentParameterMismatch` if the request differs, `InvalidParameterValue` for an invalid token.
pub(super) fn used(
    world: &World,
    operation: &str,
    token: Option<&str>,
    request: &impl Debug,
) -> Result<Option<Vec<String>>, Refusal> {
    let Some(token) = token else { return Ok(None) };
    if token.len() > 64 || !token.is_ascii() {
        return Err(Refusal::new(
            "InvalidParameterValue",
            format!("Invalid value '{token}' for clientToken: at most 64 ASCII characters"),
        ));
    }
    match world.states.ec2.tokens.get(&key(operation, token)) {
        None => Ok(None),
        Some(used) if used.request == format!("{request:?}") => Ok(Some(used.ids.clone())),
        Some(_) => Err(Refusal::new(
            "IdempotentParameterMismatch",
            format!(
                "The client token '{token}' was already used with different parameters; a token may only be used again with the same request"
            ),
        )),
    }
}

/// Stores the resources of a request with a token.
pub(super) fn remember(
    world: &mut World,
    operation: &str,
    token: Option<&str>,
    request: &impl Debug,
    ids: Vec<String>,
) {
    if let Some(token) = token {
        world.states.ec2.tokens.insert(key(operation, token), Used { request: format!("{request:?}"), ids });
    }
}

fn key(operation: &str, token: &str) -> (String, String) {
    (operation.to_owned(), token.to_owned())
}
