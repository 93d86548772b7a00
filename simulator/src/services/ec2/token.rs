//! Client tokens: what makes a repeated create the same create.

use std::fmt::Debug;
use std::time::Duration;

use crate::params::Refusal;
use crate::world::World;

/// How long a token outlives what was made with it (`RunInstances`: "at least 24 hours after the termination").
pub(super) const OUTLIVES: Duration = Duration::from_hours(24);

/// What a token was used for.
#[derive(Debug, Clone)]
pub(super) struct Used {
    /// The request's parameters: the same token with others is refused.
    request: String,
    /// What was made.
    pub(super) ids: Vec<String>,
}

/// What a token has made before with the same request, if it was used.
///
/// # Errors
/// `IdempotentParameterMismatch` when the request differs, `InvalidParameterValue` for a token that AWS refuses.
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

/// Remembers what was made with a token.
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
