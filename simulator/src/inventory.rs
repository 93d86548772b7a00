//! The resources that exist in the account, with their prices.

use std::collections::BTreeMap;

use serde::Serialize;
use stackdrop_figures::prices::HOURS_A_MONTH;

/// One existing resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The type, as CloudFormation names it: `AWS::EC2::VPC`.
    #[serde(rename = "type")]
    pub kind: String,
    /// AWS's ID, ARN or unique name.
    pub id: String,
    /// The name for people: the `Name` tag, or the resource's own name.
    pub name: String,
    /// The tag `stackdrop:component`; empty for resources that are not ours.
    pub component: String,
    /// All its tags.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
    /// Its price for a month of 730 hours, in US dollars (list prices of the account's region, without usage such as traffic); 0 if
    /// it has no fixed price.
    #[serde(rename = "monthlyUsd", skip_serializing_if = "is_free")]
    pub monthly_usd: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_free(usd: &f64) -> bool {
    *usd == 0.0
}

impl Item {
    /// An item without a price; its name is the `Name` tag, or else the ID.
    pub(crate) fn new(kind: &str, id: &str, tags: &BTreeMap<String, String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
            name: tags.get("Name").cloned().unwrap_or_else(|| id.into()),
            component: tags.get("stackdrop:component").cloned().unwrap_or_default(),
            tags: tags.clone(),
            monthly_usd: 0.0,
        }
    }

    /// The same item under the resource's own name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The same item with its hourly price in US dollars.
    pub(crate) fn hourly(mut self, usd: f64) -> Self {
        self.monthly_usd += usd * HOURS_A_MONTH;
        self
    }

    /// The same item with its monthly price in US dollars.
    pub(crate) fn monthly(mut self, usd: f64) -> Self {
        self.monthly_usd += usd;
        self
    }
}
