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
    Err(unknown("acm", operation))
}

pub(crate) fn advance(_: &mut World) {}

pub(crate) fn inventory(_: &World, _: &mut Vec<Item>) {}

/// What a listener asks of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct CertificateFacts {
    pub(crate) issued: bool,
}

/// A certificate of this region, if it exists.
pub(crate) fn certificate(_: &World, _arn: &str) -> Option<CertificateFacts> {
    None
}

/// Marks a certificate as used, or no longer used, by a listener: one in use can't be deleted.
pub(crate) fn set_in_use(_: &mut World, _arn: &str, _by: &str, _in_use: bool) {}

/// Puts an issued certificate into the account.
pub(crate) fn seed_certificate(_: &mut World, _arn: &str, _domain: &str) {}
