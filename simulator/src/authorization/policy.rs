//! Policy documents: identity policies, permissions boundaries, resource policies, trust policies.

use serde_json::Value;

use super::condition::Condition;
use super::pattern::{arn_like, like_ignoring_case};
use super::request::{Keys, Principal, Request};
use super::variables::Text;

/// A policy document, parsed once.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// An invalid policy document, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a policy: {0}")]
pub struct InvalidPolicy(String);

impl InvalidPolicy {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The effect of a policy on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opinion {
    Allow,
    Deny,
    Silent,
}

#[derive(Debug, Clone)]
struct Statement {
    denies: bool,
    /// Absent in identity policies, which apply to the principal they are attached to.
    principals: Option<Principals>,
    actions: Names,
    /// Absent in trust policies, which apply to the role they belong to.
    resources: Option<Names>,
    conditions: Vec<Condition>,
    has_variables: bool,
}

#[derive(Debug, Clone)]
enum Principals {
    Everyone,
    These { aws: Vec<String>, services: Vec<String> },
}

/// An element or its negation: `Action` or `NotAction`.
#[derive(Debug, Clone)]
struct Names {
    negated: bool,
    patterns: Vec<Text>,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not a policy, or has an element or operator that the simulator does not support. An unsupported
    /// element is never ignored.
    pub fn read(document: &Value) -> Result<Self, InvalidPolicy> {
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(InvalidPolicy::new("it has no statement")),
        };
        let statements = statements.into_iter().map(Statement::read).collect::<Result<Vec<_>, _>>()?;
        // An older version takes variables literally ("Version" in the IAM user guide).
        let has_variables = statements.iter().any(|statement| statement.has_variables);
        if has_variables && document.get("Version").is_none_or(|version| version != "2012-10-17") {
            return Err(InvalidPolicy::new("it has variables, but not the version 2012-10-17"));
        }
        Ok(Self { statements })
    }

    /// The policy's effect on a request by `principal`.
    pub(super) fn opinion(&self, principal: &Principal, request: &Request) -> Opinion {
        let mut opinion = Opinion::Silent;
        for statement in self.statements.iter().filter(|statement| statement.speaks_of(principal, request)) {
            if statement.denies {
                return Opinion::Deny;
            }
            opinion = Opinion::Allow;
        }
        opinion
    }

    /// Whether an allowing statement names the principal itself, not only the account.
    pub(super) fn names(&self, principal: &Principal, request: &Request) -> bool {
        self.statements.iter().any(|statement| {
            let by_name = statement.principals.as_ref().is_some_and(|named| named.holds_itself(principal));
            by_name && !statement.denies && statement.speaks_of(principal, request)
        })
    }

    /// Whether an allowing statement names the session of a role that the principal is.
    pub(super) fn names_session(&self, principal: &Principal, request: &Request) -> bool {
        self.statements.iter().any(|statement| {
            let by_session =
                statement.principals.as_ref().is_some_and(|named| named.holds_session(principal));
            by_session && !statement.denies && statement.speaks_of(principal, request)
        })
    }

    /// The conditions of its statements about an action.
    pub(super) fn conditions<'p>(&'p self, action: &'p str) -> impl Iterator<Item = &'p Condition> {
        let about = self.statements.iter().filter(move |statement| statement.actions.hold_action(action));
        about.flat_map(|statement| &statement.conditions)
    }
}

impl Statement {
    fn read(statement: &Value) -> Result<Self, InvalidPolicy> {
        const ELEMENTS: [&str; 8] =
            ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
        let elements = statement.as_object().ok_or_else(|| InvalidPolicy::new("a statement is no object"))?;
        if let Some(unknown) = elements.keys().find(|element| !ELEMENTS.contains(&element.as_str())) {
            return Err(InvalidPolicy::new(format!("the element {unknown} is not supported")));
        }
        let denies = match elements.get("Effect").and_then(Value::as_str) {
            Some("Allow") => false,
            Some("Deny") => true,
            _ => return Err(InvalidPolicy::new("a statement has no effect")),
        };
        let actions = Names::read(statement, "Action")?
            .ok_or_else(|| InvalidPolicy::new("a statement has no action"))?;
        let conditions = elements.get("Condition").map_or_else(|| Ok(Vec::new()), Condition::read)?;
        let resources = Names::read(statement, "Resource")?;
        for pattern in resources.iter().flat_map(|resources| &resources.patterns) {
            check_resource(pattern.as_written())?;
        }
        if let Some(action) = actions.patterns.iter().find(|action| action.has_variables()) {
            let action = action.as_written();
            return Err(InvalidPolicy::new(format!("an Action does not take the variable in {action}")));
        }
        let mut texts = resources.iter().flat_map(|resources| &resources.patterns);
        let has_variables = texts.any(Text::has_variables)
            || conditions.iter().flat_map(Condition::values).any(Text::has_variables);
        Ok(Self {
            denies,
            principals: elements.get("Principal").map(Principals::read).transpose()?,
            actions,
            resources,
            conditions,
            has_variables,
        })
    }

    fn speaks_of(&self, principal: &Principal, request: &Request) -> bool {
        let Request { action, resource, keys, .. } = request;
        self.actions.hold_action(action)
            && (!self.has_variables || self.is_resolved(keys))
            && self.resources.as_ref().is_none_or(|resources| resources.hold_resource(resource, keys))
            && self.principals.as_ref().is_none_or(|principals| principals.hold(principal))
            && self.conditions.iter().all(|condition| condition.holds(keys))
    }

    /// Whether every variable has a value. A statement with another variable does not apply, whatever its effect: "If the
    /// variable is not present …, this might render the entire statement invalid" ("Variables and tags" in the IAM user
    /// guide).
    fn is_resolved(&self, keys: &Keys) -> bool {
        let resources = self.resources.iter().flat_map(|resources| &resources.patterns);
        let mut texts = resources.chain(self.conditions.iter().flat_map(Condition::values));
        texts.all(|text| text.value(keys).is_some())
    }
}

/// Checks the form of a statement's resource. Only the last part of its ARN can have variables ("Variables and tags" in
/// the IAM user guide).
fn check_resource(pattern: &str) -> Result<(), InvalidPolicy> {
    let mut parts = pattern.splitn(6, ':');
    let has_variable = parts.by_ref().take(5).any(|part| part.contains("${"));
    if pattern == "*" || (parts.next().is_some() && !has_variable) {
        return Ok(());
    }
    Err(InvalidPolicy::new(format!(
        "the resource {pattern} is no ARN, or has a variable before its last part"
    )))
}

impl Principals {
    fn read(element: &Value) -> Result<Self, InvalidPolicy> {
        if element == "*" {
            return Ok(Self::Everyone);
        }
        let kinds = element.as_object().ok_or_else(|| InvalidPolicy::new("a Principal is no object"))?;
        let (mut aws, mut services) = (Vec::new(), Vec::new());
        for (kind, names) in kinds {
            match kind.as_str() {
                "AWS" => aws.extend(texts(names)),
                "Service" => services.extend(texts(names)),
                _ => {
                    return Err(InvalidPolicy::new(format!(
                        "principals of the kind {kind} are not known here"
                    )));
                }
            }
        }
        Ok(if aws.iter().any(|name| name == "*") { Self::Everyone } else { Self::These { aws, services } })
    }

    fn hold(&self, principal: &Principal) -> bool {
        self.holds_itself(principal)
            || matches!((self, principal.account()), (Self::These { aws, .. }, Some(account))
                if aws.iter().any(|name| is_account(name, account)))
    }

    fn holds_itself(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Everyone, _) => true,
            (Self::These { services, .. }, Principal::Service { name }) => services.contains(name),
            (Self::These { aws, .. }, Principal::Role { arn, .. }) => {
                aws.contains(arn) || self.holds_session(principal)
            }
            (Self::These { .. }, Principal::Owner) => false,
        }
    }

    fn holds_session(&self, principal: &Principal) -> bool {
        matches!((self, principal), (Self::These { aws, .. }, Principal::Role { .. })
            if aws.contains(&principal.shown()))
    }
}

/// Whether a principal's name means the whole account: the account ID, or the root's ARN.
fn is_account(name: &str, account: &str) -> bool {
    name == account || (name.ends_with(":root") && name.split(':').nth(4) == Some(account))
}

impl Names {
    fn read(statement: &Value, element: &str) -> Result<Option<Self>, InvalidPolicy> {
        let (negated, names) = match (statement.get(element), statement.get(format!("Not{element}"))) {
            (Some(names), None) => (false, names),
            (None, Some(names)) => (true, names),
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(InvalidPolicy::new(format!("a statement has {element} and Not{element}")));
            }
        };
        let patterns = texts(names).iter().map(|text| Text::read(text)).collect::<Result<Vec<_>, _>>()?;
        if patterns.is_empty() {
            return Err(InvalidPolicy::new(format!("a statement's {element} is empty")));
        }
        Ok(Some(Self { negated, patterns }))
    }

    fn hold_action(&self, action: &str) -> bool {
        let mut patterns = self.patterns.iter().map(Text::as_written);
        patterns.any(|pattern| like_ignoring_case(pattern, action)) != self.negated
    }

    fn hold_resource(&self, resource: &str, keys: &Keys) -> bool {
        let mut patterns = self.patterns.iter().filter_map(|pattern| pattern.value(keys));
        patterns.any(|pattern| arn_like(&pattern, resource)) != self.negated
    }
}

/// One text, or a list of texts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(texts) => texts.iter().filter_map(|text| Some(text.as_str()?.to_owned())).collect(),
        _ => Vec::new(),
    }
}
