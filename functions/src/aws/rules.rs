//! What the installation's administrator allows stacks: parameters of the template, which every function has in its
//! environment.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stackdrop_specs::StackName;

use crate::aws::error::StepError;

/// What the installation's administrator allows stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The ARN of the permissions boundary of every role that Stackdrop creates.
    pub boundary: String,
    /// The IDs of the Route 53 zones that specs may use.
    pub zones: BTreeSet<String>,
    /// The names that stacks may use in these zones; empty: every name.
    pub domains: Vec<DomainRule>,
    /// The stacks whose deployments always need approval.
    pub approval_for: Vec<StackPattern>,
    /// The cost of a stack, in USD a month at its upper end, above which a deployment needs approval.
    pub max_monthly_usd: u32,
    /// The most tasks of one service.
    pub max_tasks: u32,
    /// The largest disk, and the largest storage of a database, in GiB.
    pub max_storage_gib: u32,
    /// The most vCPUs of one stack at its upper end: of its tasks, its instance and its database.
    pub max_vcpus: u32,
    /// What a schedule does with differences between a stack and what another version of Stackdrop made of its spec.
    pub changes_after_update: AfterUpdate,
}

impl Default for Rules {
    /// The defaults of the template's parameters; there, the boundary is that of the template itself.
    fn default() -> Self {
        Self {
            boundary: String::new(),
            zones: BTreeSet::new(),
            domains: Vec::new(),
            approval_for: Vec::new(),
            max_monthly_usd: 1000,
            max_tasks: 50,
            max_storage_gib: 1000,
            max_vcpus: 64,
            changes_after_update: AfterUpdate::Report,
        }
    }
}

impl Rules {
    /// Reads the rules from the functions' environment.
    ///
    /// # Errors
    /// `Defect` with the name of a variable that is missing or wrong.
    pub(super) fn read(value: impl Fn(&str) -> Result<String, StepError>) -> Result<Self, StepError> {
        Ok(Self {
            boundary: value("STACKDROP_STACK_BOUNDARY")?,
            zones: list(&value, "STACKDROP_HOSTED_ZONES")?.into_iter().collect(),
            domains: list(&value, "STACKDROP_DOMAIN_SUFFIXES")?,
            approval_for: list(&value, "STACKDROP_APPROVAL_FOR")?,
            max_monthly_usd: one(&value, "STACKDROP_MAX_MONTHLY_USD")?,
            max_tasks: one(&value, "STACKDROP_MAX_TASKS")?,
            max_storage_gib: one(&value, "STACKDROP_MAX_STORAGE_GIB")?,
            max_vcpus: one(&value, "STACKDROP_MAX_VCPUS")?,
            changes_after_update: one(&value, "STACKDROP_CHANGES_AFTER_UPDATE")?,
        })
    }
}

fn one<T: FromStr>(
    value: impl Fn(&str) -> Result<String, StepError>,
    variable: &str,
) -> Result<T, StepError> {
    parse(&value(variable)?, variable)
}

/// The entries of a list that commas separate. An empty parameter of the template is a list with an empty entry.
fn list<T: FromStr>(
    value: impl Fn(&str) -> Result<String, StepError>,
    variable: &str,
) -> Result<Vec<T>, StepError> {
    let value = value(variable)?;
    let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(|entry| parse(entry, variable)).collect()
}

fn parse<T: FromStr>(text: &str, variable: &str) -> Result<T, StepError> {
    text.parse().map_err(|_| {
        let what = format!("the environment variable {variable} has the invalid value {text}");
        StepError::Defect(what)
    })
}

/// The names that some stacks may use in the installation's zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRule {
    /// The stacks.
    pub stacks: StackPattern,
    /// A name that they may use, and every name below it.
    pub suffix: String,
}

impl FromStr for DomainRule {
    type Err = InvalidRule;

    /// Reads `PATTERN=SUFFIX`, such as `team-a-*=a.example.com`.
    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let (stacks, suffix) = text.split_once('=').ok_or(InvalidRule)?;
        if suffix.is_empty() {
            return Err(InvalidRule);
        }
        Ok(Self { stacks: stacks.parse()?, suffix: suffix.trim_end_matches('.').to_lowercase() })
    }
}

/// A pattern of stack names, in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StackPattern(String);

impl StackPattern {
    /// Whether a stack has such a name.
    #[must_use]
    pub fn matches(&self, stack: &StackName) -> bool {
        fits(&self.0, stack.as_str())
    }
}

impl fmt::Display for StackPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for StackPattern {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        let allowed = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || "-*".contains(character)
        };
        if !text.is_empty() && text.chars().all(allowed) { Ok(Self(text.into())) } else { Err(InvalidRule) }
    }
}

/// A text that is not a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRule;

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| fits(rest, name)))
        }),
    }
}

/// What a schedule does with differences between a stack and what another version of Stackdrop made of its spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterUpdate {
    /// It reports them. They wait for an upload or a request.
    #[default]
    Report,
    /// It repairs them as drift.
    Repair,
}

impl FromStr for AfterUpdate {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, InvalidRule> {
        match text {
            "report" => Ok(Self::Report),
            "repair" => Ok(Self::Repair),
            _ => Err(InvalidRule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of an environment that has the defaults but for these variables.
    fn rules(changed: &[(&str, &str)]) -> Result<Rules, StepError> {
        let defaults = [
            ("STACKDROP_MAX_MONTHLY_USD", "1000"),
            ("STACKDROP_MAX_TASKS", "50"),
            ("STACKDROP_MAX_STORAGE_GIB", "1000"),
            ("STACKDROP_MAX_VCPUS", "64"),
            ("STACKDROP_CHANGES_AFTER_UPDATE", "report"),
        ];
        let value = |name: &str| changed.iter().chain(&defaults).find(|(known, _)| *known == name);
        Rules::read(|name| Ok(value(name).map_or("", |(_, value)| value).to_owned()))
    }

    fn stack(name: &str) -> StackName {
        name.to_owned().try_into().unwrap()
    }

    #[test]
    fn empty_lists_are_empty() {
        assert_eq!(rules(&[]).unwrap(), Rules::default());
    }

    #[test]
    fn every_rule_is_read_from_its_variable() {
        let rules = rules(&[
            ("STACKDROP_STACK_BOUNDARY", "arn:boundary"),
            ("STACKDROP_HOSTED_ZONES", "Z2, Z1"),
            ("STACKDROP_DOMAIN_SUFFIXES", "shop=Shop.example.com.,team-a-*=a.example.com"),
            ("STACKDROP_APPROVAL_FOR", "shop,prod-*"),
            ("STACKDROP_MAX_MONTHLY_USD", "1"),
            ("STACKDROP_MAX_TASKS", "2"),
            ("STACKDROP_MAX_STORAGE_GIB", "3"),
            ("STACKDROP_MAX_VCPUS", "4"),
            ("STACKDROP_CHANGES_AFTER_UPDATE", "repair"),
        ]);
        let domain = |stacks: &str, suffix: &str| DomainRule {
            stacks: stacks.parse().unwrap(),
            suffix: suffix.into(),
        };
        let expected = Rules {
            boundary: "arn:boundary".into(),
            zones: ["Z1".into(), "Z2".into()].into(),
            domains: vec![domain("shop", "shop.example.com"), domain("team-a-*", "a.example.com")],
            approval_for: vec!["shop".parse().unwrap(), "prod-*".parse().unwrap()],
            max_monthly_usd: 1,
            max_tasks: 2,
            max_storage_gib: 3,
            max_vcpus: 4,
            changes_after_update: AfterUpdate::Repair,
        };
        assert_eq!(rules.unwrap(), expected);
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_its_variable() {
        for (variable, value) in [
            ("STACKDROP_DOMAIN_SUFFIXES", "shop.example.com"),
            ("STACKDROP_DOMAIN_SUFFIXES", "shop="),
            ("STACKDROP_DOMAIN_SUFFIXES", "=example.com"),
            ("STACKDROP_APPROVAL_FOR", "Shop"),
            ("STACKDROP_MAX_MONTHLY_USD", "-1"),
            ("STACKDROP_CHANGES_AFTER_UPDATE", "ask"),
        ] {
            let error = rules(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(variable), "{error}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        let fits = |pattern: &str, name: &str| pattern.parse::<StackPattern>().unwrap().matches(&stack(name));
        assert!(
            fits("*", "shop") && fits("shop", "shop") && fits("shop*", "shop") && fits("*-a-*", "team-a-web")
        );
        assert!(fits("a*b*c", "abxbc") && fits("prod-*", "prod-shop"));
        assert!(!fits("shop", "shop-two") && !fits("*-a-*", "team-b") && !fits("a*b*c", "acb"));
    }
}
