//! Policy documents: which ones IAM accepts.

use std::sync::Arc;

use serde_json::Value;

use crate::authorization::{InvalidPolicy, Policy};
use crate::params::Refusal;

/// A policy document that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// The document as it was sent.
    pub(crate) text: String,
    /// The parsed document.
    pub(crate) policy: Arc<Policy>,
}

/// The service principals that trust policies can name here; AWS refuses names that no service has.
const PRINCIPALS: [&str; 19] = [
    "application-autoscaling.amazonaws.com",
    "delivery.logs.amazonaws.com",
    "ec2.amazonaws.com",
    "ecs-tasks.amazonaws.com",
    "ecs.amazonaws.com",
    "ecs.application-autoscaling.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "events.amazonaws.com",
    "export.rds.amazonaws.com",
    "lambda.amazonaws.com",
    "logs.amazonaws.com",
    "monitoring.rds.amazonaws.com",
    "rds.amazonaws.com",
    "s3.amazonaws.com",
    "scheduler.amazonaws.com",
    "sns.amazonaws.com",
    "ssm.amazonaws.com",
    "states.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
];

impl Document {
    /// Reads a trust policy.
    ///
    /// # Errors
    /// `MalformedPolicyDocument`, with AWS's reason.
    pub(crate) fn trust(text: &str) -> Result<Self, Refusal> {
        let statements = statements(text)?;
        for statement in &statements {
            if statement.get("Resource").is_some() || statement.get("NotResource").is_some() {
                return Err(malformed("Has prohibited field Resource"));
            }
            let principal = statement
                .get("Principal")
                .ok_or_else(|| malformed("Missing required field Principal cannot be empty!"))?;
            check_principal(principal)?;
        }
        Self::of(text)
    }

    /// Reads an inline policy.
    ///
    /// # Errors
    /// `MalformedPolicyDocument`, with AWS's reason.
    pub(crate) fn permissions(text: &str) -> Result<Self, Refusal> {
        for statement in &statements(text)? {
            if statement.get("Principal").is_some() {
                return Err(malformed("Policy document should not specify a principal."));
            }
            let resources = statement.get("Resource").or_else(|| statement.get("NotResource"));
            if texts(resources).is_empty() {
                return Err(malformed("Policy statement must contain resources."));
            }
            for resource in texts(resources) {
                if resource != "*" && resource.split(':').count() < 6 {
                    return Err(malformed(&format!("Resource {resource} must be in ARN format or \"*\".")));
                }
            }
        }
        Self::of(text)
    }

    /// An inline policy that exists from the start.
    pub(crate) fn seeded(document: &Value) -> Result<Self, InvalidPolicy> {
        Self::permissions(&document.to_string()).map_err(|refusal| InvalidPolicy::new(refusal.message))
    }

    /// A trust policy that exists from the start.
    pub(crate) fn seeded_trust(document: &Value) -> Result<Self, InvalidPolicy> {
        Self::trust(&document.to_string()).map_err(|refusal| InvalidPolicy::new(refusal.message))
    }

    fn of(text: &str) -> Result<Self, Refusal> {
        let value: Value =
            serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
        let policy = Policy::read(&value).map_err(|error| malformed(&error.to_string()))?;
        Ok(Self { text: text.into(), policy: Arc::new(policy) })
    }
}

/// The statements of a document.
fn statements(text: &str) -> Result<Vec<Value>, Refusal> {
    let value: Value =
        serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
    let fields = value.as_object().ok_or_else(|| malformed("Syntax errors in policy."))?;
    if fields.keys().any(|field| !["Version", "Id", "Statement"].contains(&field.as_str())) {
        return Err(malformed("Syntax errors in policy."));
    }
    if fields.get("Version").is_some_and(|version| version != "2012-10-17" && version != "2008-10-17") {
        return Err(malformed("Syntax errors in policy."));
    }
    let statements = match fields.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.clone(),
        Some(statement @ Value::Object(_)) => vec![statement.clone()],
        _ => return Err(malformed("Syntax errors in policy.")),
    };
    statements.iter().try_for_each(check_statement)?;
    Ok(statements)
}

fn check_statement(statement: &Value) -> Result<(), Refusal> {
    const FIELDS: [&str; 8] =
        ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    let fields = statement.as_object().ok_or_else(|| malformed("Syntax errors in policy."))?;
    if fields.keys().any(|field| !FIELDS.contains(&field.as_str())) {
        return Err(malformed("Syntax errors in policy."));
    }
    if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
        return Err(malformed("Missing required field Effect"));
    }
    let actions = texts(statement.get("Action").or_else(|| statement.get("NotAction")));
    if actions.is_empty() {
        return Err(malformed("Policy statement must contain actions."));
    }
    match actions.iter().find(|action| **action != "*" && !action.contains(':')) {
        Some(_) => {
            Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."))
        }
        None => Ok(()),
    }
}

fn check_principal(principal: &Value) -> Result<(), Refusal> {
    let fields = principal.as_object().ok_or_else(|| malformed("Invalid principal in policy."))?;
    for (kind, names) in fields {
        for name in texts(Some(names)) {
            let known = match kind.as_str() {
                "Service" => PRINCIPALS.contains(&name),
                "AWS" => name.starts_with("arn:aws:iam::") || name.bytes().all(|byte| byte.is_ascii_digit()),
                "Federated" => name.starts_with("arn:aws:iam::"),
                _ => false,
            };
            if !known {
                let kind = if kind == "Service" { "SERVICE" } else { kind };
                return Err(malformed(&format!("Invalid principal in policy: \"{kind}\":\"{name}\"")));
            }
        }
    }
    Ok(())
}

fn malformed(reason: &str) -> Refusal {
    Refusal::new("MalformedPolicyDocument", reason)
}

/// The texts of a field that can be one text or a list.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
