//! The state of an account, and helpers for the services' files.

use std::collections::BTreeMap;
use std::time::Duration;

use stackdrop_figures::prices::Prices;

use crate::authorization;
use crate::clock::Clock;
use crate::events::AccountEvent;
use crate::latency::Latency;
use crate::params::{Params, Refusal};
use crate::services::{self, States};

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// The account's state. Each service owns its part.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// The current time, since the account was opened.
    pub(crate) now: Duration,
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) latency: Latency,
    /// Whether the resource that the current call creates must end in its `failed` state (a fault).
    pub(crate) fail_creation: bool,
    /// What happened that the installation reacts to, in order.
    pub(crate) events: Vec<AccountEvent>,
    /// The policies of resources other than roles.
    pub(crate) authorization: authorization::State,
    ids: u64,
    pub(crate) states: States,
}

impl World {
    pub(crate) fn new(account: &str, region: &str, latency: Latency) -> Self {
        Self {
            now: Duration::ZERO,
            account: account.into(),
            region: region.into(),
            latency,
            fail_creation: false,
            events: Vec::new(),
            authorization: authorization::State::default(),
            ids: 0,
            states: States::default(),
        }
    }

    /// A new number for IDs.
    pub(crate) fn number(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// A new ID in EC2's form, such as `vpc-0000000000000002a`.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}-{:017x}", self.number())
    }

    /// An ARN in this account and region.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// The prices of the account's region.
    pub(crate) fn prices(&self) -> Prices {
        Prices::of(&self.region)
    }

    /// The current time in seconds since 1970 (the form of the JSON protocols).
    pub(crate) fn epoch(&self) -> f64 {
        Clock::epoch_seconds(self.now)
    }

    /// When a creation that starts now will be complete. `resource` is a key of the latency model.
    pub(crate) fn ready(&mut self, resource: &str) -> Duration {
        self.now + self.latency.create(resource)
    }

    /// When a deletion that starts now will be complete. `resource` is a key of the latency model.
    pub(crate) fn gone(&mut self, resource: &str) -> Duration {
        self.now + self.latency.delete(resource)
    }

    /// Brings every service's state up to `now`. Called before each call takes effect.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.now = now;
        services::advance(self);
    }
}

/// Reads a list of `{ key_name, value_name }` structures as tags. The refusals have EC2's code; services with a code
/// of their own replace it.
///
/// # Errors
/// If a key is missing, duplicate or starts with `aws:` (reserved by AWS), or if a key has more than 128 characters
/// or a value more than 256.
pub(crate) fn tags(params: &Params, list: &str, key: &str, value: &str) -> Result<Tags, Refusal> {
    let refused = |message: String| Refusal::new("InvalidParameterValue", message);
    let mut tags = Tags::new();
    for tag in params.structs(list) {
        let name = tag.required(key)?;
        let text = tag.text(value).unwrap_or_default();
        if name.to_ascii_lowercase().starts_with("aws:") {
            return Err(refused(format!(
                "Tag keys starting with 'aws:' are reserved for internal use: {name}"
            )));
        }
        if name.chars().count() > 128 || text.chars().count() > 256 {
            return Err(refused(format!(
                "Tag key or value is too long: {name}. Keys take 128, values 256 characters."
            )));
        }
        if tags.contains_key(&name) {
            return Err(refused(format!("Duplicate tag key '{name}' specified.")));
        }
        tags.insert(name, text);
    }
    Ok(tags)
}
