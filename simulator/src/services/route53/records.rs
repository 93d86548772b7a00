//! Names and record sets.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde_json::{Map, Value, json};

/// A domain name. The order is Route 53's: by labels from last to first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// Labels in lower case, from the last to the first.
    labels: Vec<String>,
}

impl Name {
    /// Reads a name with or without a trailing dot, in any case, with `*` or its escape `\052`.
    pub(super) fn read(text: &str) -> Self {
        let text = text.trim_end_matches('.').replace("\\052", "*").to_ascii_lowercase();
        Self { labels: text.split('.').rev().map(str::to_owned).collect() }
    }

    /// The name in Route 53's responses: with a trailing dot, and `*` escaped.
    pub(super) fn shown(&self) -> String {
        let labels: Vec<String> = self.labels.iter().rev().map(|label| label.replace('*', "\\052")).collect();
        format!("{}.", labels.join("."))
    }

    /// The name in messages: with a trailing dot, nothing escaped.
    pub(super) fn plain(&self) -> String {
        self.shown().replace("\\052", "*")
    }

    /// Whether it is the zone's own name or below it.
    pub(super) fn is_within(&self, zone: &Self) -> bool {
        self.labels.starts_with(&zone.labels)
    }

    pub(super) fn label_count(&self) -> usize {
        self.labels.len()
    }

    /// Whether a name is valid: labels of 1-63 characters, at most 255 in total.
    pub(super) fn is_legal(&self) -> bool {
        let legal = |label: &String| {
            (1..=63).contains(&label.len())
                && (label == "*"
                    || label.bytes().all(|each| each.is_ascii_alphanumeric() || b"-_".contains(&each)))
        };
        self.labels.iter().all(legal) && self.shown().len() <= 255
    }
}

/// A name and a type, which identify a record set of a zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordKey {
    pub(super) name: Name,
    pub(super) kind: String,
}

/// A record set.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) content: Content,
    pub(super) in_sync_at: Duration,
    /// Whether it existed from the start.
    pub(super) seeded: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Values { ttl: i64, values: Vec<String> },
    Alias { zone: String, target: Name, evaluate: bool },
}

impl Record {
    /// A record set that is created with its zone.
    pub(super) fn of_zone(ttl: i64, values: Vec<String>) -> Self {
        Self { content: Content::Values { ttl, values }, in_sync_at: Duration::ZERO, seeded: true }
    }

    /// Whether one of its values equals `value`; names are compared in any form.
    pub(super) fn has_value(&self, kind: &str, value: &str) -> bool {
        let Content::Values { values, .. } = &self.content else { return false };
        values.iter().any(
            |own| {
                if kind == "CNAME" { Name::read(own) == Name::read(value) } else { own == value }
            },
        )
    }

    pub(super) fn document(&self, key: &RecordKey) -> Value {
        let mut document = Map::new();
        document.insert("Name".into(), json!(key.name.shown()));
        document.insert("Type".into(), json!(key.kind));
        match &self.content {
            Content::Values { ttl, values } => {
                let values: Vec<Value> = values.iter().map(|value| json!({ "Value": value })).collect();
                document.insert("TTL".into(), json!(ttl));
                document.insert("ResourceRecords/ResourceRecord".into(), values.into());
            }
            Content::Alias { zone, target, evaluate } => {
                let alias = json!({
                    "HostedZoneId": zone,
                    "DNSName": target.shown(),
                    "EvaluateTargetHealth": evaluate,
                });
                document.insert("AliasTarget".into(), alias);
            }
        }
        Value::Object(document)
    }
}

/// The supported types of records.
pub(super) const KINDS: [&str; 9] = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SOA", "SRV", "TXT"];

/// The problem with a value of a record of this type, as Route 53 words it.
pub(super) fn fault_of(kind: &str, value: &str) -> Option<&'static str> {
    match kind {
        "A" if value.parse::<Ipv4Addr>().is_err() => {
            Some("ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address)")
        }
        "AAAA" if value.parse::<Ipv6Addr>().is_err() => {
            Some("AAAARRDATAIllegalIPv6Address (Value is not a valid IPv6 address)")
        }
        "CNAME" | "NS" if !Name::read(value).is_legal() => {
            Some("DomainLabelMissing (Domain name label is missing)")
        }
        "TXT" if !(value.len() >= 2 && value.starts_with('"') && value.ends_with('"')) => {
            Some("InvalidCharacterString (Value should be enclosed in quotation marks)")
        }
        _ => None,
    }
}
