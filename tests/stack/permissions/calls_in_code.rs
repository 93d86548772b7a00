//! A rehearsal makes every call that is in the code, or the call is listed as an exception.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::evidence::EVIDENCE;
use super::exceptions::UNREHEARSED;

/// The clients' names in `functions/src/aws/mod.rs`, with the services that they call.
const CLIENTS: [(&str, &str); 19] = [
    ("acm", "acm"),
    ("autoscaling", "application-autoscaling"),
    ("ec2", "ec2"),
    ("ecr", "ecr"),
    ("ecs", "ecs"),
    ("elb", "elasticloadbalancing"),
    ("events", "events"),
    ("iam", "iam"),
    ("logs", "logs"),
    ("quotas", "servicequotas"),
    ("rds", "rds"),
    ("route53", "route53"),
    ("s3", "s3"),
    ("scheduler", "scheduler"),
    ("secrets", "secretsmanager"),
    ("sfn", "states"),
    ("sns", "sns"),
    ("ssm", "ssm"),
    ("waf", "wafv2"),
];

#[test]
fn every_call_in_the_code_is_rehearsed() {
    let by_any: BTreeSet<&String> = EVIDENCE.called.values().flatten().collect();
    let mut unseen = Vec::new();
    let mut listed = BTreeSet::new();
    for (file, calls) in in_the_code() {
        let rehearsed: BTreeSet<&String> = match function_of(&file) {
            Some(function) => EVIDENCE.called[&function].iter().collect(),
            None => by_any.clone(),
        };
        if calls.iter().any(|call| rehearsed.contains(call)) {
            continue;
        }
        if let Some((_, action, _)) = UNREHEARSED.iter().find(|(_, action, _)| calls.contains(*action)) {
            listed.insert(*action);
        } else {
            let calls: Vec<String> = calls.into_iter().collect();
            unseen.push(format!("{file} calls {}", calls.join(" or ")));
        }
    }
    assert!(
        unseen.is_empty(),
        "make these calls in a rehearsal, or list them in exceptions.rs:\n{}",
        unseen.join("\n")
    );
    for (_, action, why) in UNREHEARSED {
        assert!(listed.contains(action), "{action} is listed but not needed ({why})");
    }
}

#[test]
fn every_client_is_known() {
    let code = include_str!("../../../functions/src/aws/mod.rs");
    let clients = code.split("clients! {").nth(1).unwrap().split('}').next().unwrap();
    let names: Vec<&str> = clients.lines().filter_map(|line| Some(line.trim().split_once(':')?.0)).collect();
    assert_eq!(names, CLIENTS.map(|(client, _)| client));
}

/// The function that a file belongs to, by its folder; `None` if several functions share the file.
fn function_of(file: &str) -> Option<String> {
    let file = file.strip_prefix("components/").or_else(|| file.strip_prefix("steps/"))?;
    let folder = file.split('/').next()?.trim_end_matches(".rs").replace('_', "-");
    EVIDENCE.called.contains_key(&folder).then_some(folder)
}

/// The calls in the files of the functions, recognized by the names of the SDK's methods. If a file uses several services
/// with an operation of the same name, the call has one entry for each of them.
fn in_the_code() -> Vec<(String, BTreeSet<String>)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/src");
    let operations = operations();
    let mut found = Vec::new();
    for file in files(&source) {
        let code = std::fs::read_to_string(&file).unwrap();
        let speaks_to = |service: &str| {
            CLIENTS.iter().any(|(client, of)| *of == service && code.contains(&format!(".{client}()")))
        };
        let mut by_method: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (service, method, name) in &operations {
            if speaks_to(service) && code.contains(&format!(".{method}()")) {
                by_method.entry(method).or_default().insert(format!("{service}:{name}"));
            }
        }
        let place = file.strip_prefix(&source).unwrap().display().to_string();
        found.extend(by_method.into_values().map(|calls| (place.clone(), calls)));
    }
    found
}

/// Every operation in the reference: its service, the method of the SDK and its name.
fn operations() -> Vec<(String, String, String)> {
    let reference: Value =
        serde_json::from_str(include_str!("../../../simulator/reference/actions.json")).unwrap();
    let services = reference["services"].as_object().unwrap();
    let mut operations = Vec::new();
    for (service, table) in services {
        for name in table["actions"].as_object().unwrap().keys() {
            operations.push((service.clone(), snake(name), name.clone()));
        }
    }
    for (method, name) in
        [("head_object", "HeadObject"), ("list_objects_v2", "ListObjectsV2"), ("head_bucket", "HeadBucket")]
    {
        operations.push(("s3".into(), method.into(), name.into()));
    }
    operations
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The name of an operation's method in the SDK: `describe_db_instances` for `DescribeDBInstances`.
fn snake(operation: &str) -> String {
    let letters: Vec<char> = operation.chars().collect();
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let after_small = at > 0 && !letters[at - 1].is_ascii_uppercase();
        let before_small = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && at > 0 && (after_small || before_small) {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
