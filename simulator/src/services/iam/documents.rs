//! Policy documents: what they must look like, whom they trust, what they allow.

use serde_json::Value;

use crate::params::Refusal;

/// A policy document that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// As it was sent.
    pub(crate) text: String,
    statements: Vec<Value>,
}

/// What a condition is judged by: the facts of a request that AWS would put into its context.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) account: String,
    pub(crate) region: String,
}

/// The service principals that trust policies here may name; AWS refuses a name that no service has.
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
        let document = Self::read(text)?;
        for statement in &document.statements {
            if statement.get("Resource").is_some() || statement.get("NotResource").is_some() {
                return Err(malformed("Has prohibited field Resource"));
            }
            let principal = statement
                .get("Principal")
                .ok_or_else(|| malformed("Missing required field Principal cannot be empty!"))?;
            check_principal(principal)?;
        }
        Ok(document)
    }

    /// Reads an inline policy.
    ///
    /// # Errors
    /// `MalformedPolicyDocument`, with AWS's reason.
    pub(crate) fn permissions(text: &str) -> Result<Self, Refusal> {
        let document = Self::read(text)?;
        for statement in &document.statements {
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
        Ok(document)
    }

    fn read(text: &str) -> Result<Self, Refusal> {
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
        Ok(Self { text: text.into(), statements })
    }

    /// Whether this trust policy lets a service assume the role.
    pub(crate) fn trusts(&self, principal: &str, context: &Context) -> bool {
        self.statements.iter().any(|statement| {
            let services = statement.get("Principal").and_then(|principal| principal.get("Service"));
            statement["Effect"] == "Allow"
                && texts(statement.get("Action")).iter().any(|action| matches(action, "sts:AssumeRole"))
                && texts(services).contains(&principal)
                && conditions_hold(statement.get("Condition"), context)
        })
    }

    /// What this policy says of an action on a resource: allowed, denied, or nothing.
    pub(crate) fn verdict(&self, action: &str, resource: &str, context: &Context) -> Option<bool> {
        let mut verdict = None;
        for statement in &self.statements {
            if !(applies(statement, "Action", action, true)
                && applies(statement, "Resource", resource, false))
            {
                continue;
            }
            if statement["Effect"] == "Deny" {
                return Some(false);
            }
            if conditions_hold(statement.get("Condition"), context) {
                verdict = Some(true);
            }
        }
        verdict
    }
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

/// The texts of a field that AWS allows to be one text or a list.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a statement speaks of `what`, by its field `name` or the field's negation.
fn applies(statement: &Value, name: &str, what: &str, ignore_case: bool) -> bool {
    let hit = |pattern: &&str| {
        if ignore_case {
            matches(&pattern.to_ascii_lowercase(), &what.to_ascii_lowercase())
        } else {
            matches(pattern, what)
        }
    };
    match statement.get(name) {
        Some(patterns) => texts(Some(patterns)).iter().any(hit),
        None => !texts(statement.get(format!("Not{name}").as_str())).iter().any(hit),
    }
}

/// Whether all conditions hold. One that is not known here does not: a policy never counts for more than on AWS.
fn conditions_hold(conditions: Option<&Value>, context: &Context) -> bool {
    let Some(conditions) = conditions else { return true };
    let Some(operators) = conditions.as_object() else { return false };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().is_some_and(|keys| {
            keys.iter().all(|(key, patterns)| {
                let source = format!("arn:aws:ecs:{}:{}:", context.region, context.account);
                texts(Some(patterns)).iter().any(|pattern| match (operator.as_str(), key.as_str()) {
                    ("StringEquals", "aws:SourceAccount") => *pattern == context.account,
                    ("StringLike", "aws:SourceAccount") => matches(pattern, &context.account),
                    ("StringEquals", "aws:RequestedRegion") => *pattern == context.region,
                    // The source is some resource of ECS here; the pattern has to leave its name open.
                    ("ArnLike" | "StringLike", "aws:SourceArn") => {
                        pattern.strip_suffix('*').is_some_and(|start| matches(start, &source))
                    }
                    _ => false,
                })
            })
        })
    })
}

/// Whether a text matches a pattern with `*` and `?`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if at < pattern.len() && pattern[at] == '*' {
            star = Some((at, read));
            at += 1;
        } else if at < pattern.len() && (pattern[at] == '?' || pattern[at] == text[read]) {
            at += 1;
            read += 1;
        } else if let Some((star_at, star_read)) = star {
            // The star swallows one character more.
            star = Some((star_at, star_read + 1));
            at = star_at + 1;
            read = star_read + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context { account: "123456789012".into(), region: "eu-central-1".into() }
    }

    #[test]
    fn stars_and_question_marks_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("logs:*", "logs:PutLogEvents", true),
            ("logs:Put*", "logs:CreateLogStream", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("arn:*:secret:shop/*", "arn:aws:secretsmanager:eu:1:secret:shop/key", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_deny_beats_an_allow_and_an_unknown_condition_allows_nothing() {
        let policy = |effect: &str, condition: &str| {
            format!(
                r#"{{"Effect":"{effect}","Action":"s3:Get*","Resource":"arn:aws:s3:::shop/*"{condition}}}"#
            )
        };
        let verdict = |statements: &[String]| {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
            Document::permissions(&text).unwrap().verdict("s3:GetObject", "arn:aws:s3:::shop/a", &context())
        };
        let conditioned = policy("Allow", r#","Condition":{"Bool":{"aws:SecureTransport":"true"}}"#);
        assert_eq!(verdict(&[policy("Allow", "")]), Some(true));
        assert_eq!(verdict(&[policy("Allow", ""), policy("Deny", "")]), Some(false));
        assert_eq!(verdict(&[conditioned]), None);
    }

    #[test]
    fn a_trust_policy_may_ask_for_the_source_account() {
        let trust = |account: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole",
                "Principal":{{"Service":"ecs-tasks.amazonaws.com"}},
                "Condition":{{"StringEquals":{{"aws:SourceAccount":"{account}"}},
                "ArnLike":{{"aws:SourceArn":"arn:aws:ecs:eu-central-1:123456789012:*"}}}}}}}}"#
            )
        };
        let trusts = |account: &str| {
            Document::trust(&trust(account)).unwrap().trusts("ecs-tasks.amazonaws.com", &context())
        };
        assert!(trusts("123456789012"));
        assert!(!trusts("999999999999"));
    }
}
