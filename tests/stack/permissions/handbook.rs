//! `docs/permissions.md` lists what each role of the template is allowed to do. `UPDATE=1` rewrites it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use stackdrop::installation::{Installation, Place, Template};

use super::unavoidable::UNAVOIDABLE;
use crate::template::many;

const HANDBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permissions.md");

#[test]
fn the_handbook_lists_the_permissions_of_each_role() {
    let written = written();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(HANDBOOK, &written).unwrap();
    }
    let found = std::fs::read_to_string(HANDBOOK).unwrap_or_default();
    assert!(found == written, "docs/permissions.md differs from template.yaml: UPDATE=1 cargo test handbook");
}

fn written() -> String {
    let template = Template::read(include_str!("../../../template.yaml")).unwrap();
    let parameters = BTreeMap::from([("HostedZones".to_owned(), "ZONE".to_owned())]);
    let place = Place {
        stack: "stackdrop",
        account: "ACCOUNT",
        region: "REGION",
        partition: "aws",
        parameters: &parameters,
    };
    let installation = Installation::of(&template, place).unwrap();
    let mut text = String::from(
        "# Permissions of each role\n\n\
         Generated from `template.yaml` by `UPDATE=1 cargo test handbook`, for an installation with the zone `ZONE` in the parameter `HostedZones`; the \
         other parameters have their defaults. \
         Each row allows its actions on its resources, if all of its conditions are met. All other actions are denied.\n",
    );
    for (id, role) in &installation.roles {
        write!(text, "\n## {id}\n\n| actions | resources | conditions |\n| --- | --- | --- |\n").unwrap();
        for (_, document) in &role.policies {
            for statement in document["Statement"].as_array().unwrap() {
                writeln!(text, "{}", row(statement)).unwrap();
            }
        }
        for statement in role.trust["Statement"].as_array().unwrap() {
            write!(text, "\n{}\n", trust(statement)).unwrap();
        }
    }
    text + &boundary(&installation) + &unavoidable()
}

/// The most that the roles of stacks can do.
fn boundary(installation: &Installation) -> String {
    let mut text = String::from(
        "\n## Boundary of the roles of stacks\n\n\
         The permissions boundary of every role that a stack gets, unless the parameter `StackBoundary` names another one. A \
         role can do what both the boundary and the role's own policies allow.\n\n\
         | effect | actions | resources | conditions |\n| --- | --- | --- | --- |\n",
    );
    let document = &installation.managed_policies[&installation.settings.rules.boundary];
    for statement in document["Statement"].as_array().unwrap() {
        writeln!(text, "| {} {}", statement["Effect"].as_str().unwrap(), row(statement)).unwrap();
    }
    text
}

/// What the functions' roles allow on resources of others.
fn unavoidable() -> String {
    let mut text = String::from(
        "\n## What the roles allow on resources of others\n\n\
         A test tries each action above on each type of resource, without a stack's tag and with the best of what a caller can \
         choose. Everything else is denied. IAM cannot tell these apart:\n\n\
         | role | actions | what limits them |\n| --- | --- | --- |\n",
    );
    for (role, requests, limit) in UNAVOIDABLE {
        let requests: Vec<String> = requests.iter().map(|request| format!("`{request}`")).collect();
        writeln!(text, "| {role} | {} | {limit} |", requests.join(" ")).unwrap();
    }
    text
}

fn row(statement: &Value) -> String {
    let code = |texts: Vec<&str>| texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" ");
    let resources = match many(&statement["Resource"])[..] {
        ["*"] => "all".into(),
        _ => code(many(&statement["Resource"])),
    };
    let conditions = conditions(statement).join("; ");
    let actions = match statement.get("NotAction") {
        Some(others) => format!("all but {}", code(many(others))),
        None => code(many(&statement["Action"])),
    };
    format!("| {actions} | {resources} | {conditions} |")
}

/// Who is allowed to assume a role. Principals of another kind, and denials, are not supported yet.
fn trust(statement: &Value) -> String {
    assert_eq!((&statement["Effect"], &statement["Action"]), (&json!("Allow"), &json!("sts:AssumeRole")));
    let principals = statement["Principal"].as_object().unwrap();
    assert!(principals.keys().eq(["Service"]), "{principals:?}");
    let services: Vec<String> =
        many(&principals["Service"]).iter().map(|service| format!("`{service}`")).collect();
    let conditions = conditions(statement);
    let limits =
        if conditions.is_empty() { String::new() } else { format!(", if {}", conditions.join(" and ")) };
    format!("Assumed by {}{limits}.", services.join(", "))
}

/// Each condition in words.
fn conditions(statement: &Value) -> Vec<String> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let keys = operators.flat_map(|(operator, keys)| {
        keys.as_object().unwrap().iter().map(move |(key, values)| (operator.as_str(), key.as_str(), values))
    });
    keys.map(|(operator, key, values)| in_words(operator, key, values)).collect()
}

fn in_words(operator: &str, key: &str, values: &Value) -> String {
    let values = many(values);
    match (operator, key, &values[..]) {
        ("StringLike", "aws:RequestTag/stackdrop:stack", ["?*"]) => {
            "the call sets the tag `stackdrop:stack`".into()
        }
        ("StringLike", "aws:ResourceTag/stackdrop:stack", ["?*"]) => {
            "the resource has the tag `stackdrop:stack`".into()
        }
        ("Null", key, ["true"]) => format!("`{key}` is not set"),
        ("Null", key, ["false"]) => format!("`{key}` is set"),
        _ => {
            let (subject, operator) = match operator.split_once(':') {
                Some(("ForAllValues", operator)) => (format!("every value of `{key}`"), operator),
                Some(("ForAnyValue", operator)) => (format!("a value of `{key}`"), operator),
                _ => (format!("`{key}`"), operator),
            };
            let relation = match (operator.contains("Not"), values.len()) {
                (false, 1) => "is",
                (false, _) => "is one of",
                (true, 1) => "is not",
                (true, _) => "is none of",
            };
            let values = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
            let or_absent = if operator.ends_with("IfExists") { " or is not set" } else { "" };
            format!("{subject} {relation} {values}{or_absent}")
        }
    }
}
