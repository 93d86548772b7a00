//! What exists in the account now, and what it costs.

use std::collections::BTreeMap;

use serde::Serialize;

/// One thing that exists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// The type, as CloudFormation names it: `AWS::EC2::VPC`.
    #[serde(rename = "type")]
    pub kind: String,
    /// AWS's id, ARN or unique name.
    pub id: String,
    /// The name that people see: the `Name` tag, or the resource's own name.
    pub name: String,
    /// The tag `stackdrop:component`; empty for what is not ours.
    pub component: String,
    /// All its tags.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
    /// What it costs in a month of 730 hours, in US dollars (us-east-1 list prices, usage such as traffic left
    /// out); 0 for what costs nothing by standing there.
    #[serde(rename = "monthlyUsd", skip_serializing_if = "is_free")]
    pub monthly_usd: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_free(usd: &f64) -> bool {
    *usd == 0.0
}

impl Item {
    /// An item without cost; `name` comes from the `Name` tag when there is one, else it is the id.
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
        self.monthly_usd += usd * 730.0;
        self
    }

    /// The same item with its monthly price in US dollars.
    pub(crate) fn monthly(mut self, usd: f64) -> Self {
        self.monthly_usd += usd;
        self
    }
}
