//! Every call that the code can make is made by some rehearsal, or is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::evidence::EVIDENCE;

/// Calls that no rehearsal makes, and why.
const UNREHEARSED: [(&str, &str); 1] =
    [("ecs:ListServices", "only where a cluster has more services than the deployments know of")];

/// The clients' names in `functions/src/aws.rs`, with the services that they speak to.
const CLIENTS: [(&str, &str); 18] = [
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
];

#[test]
fn every_call_in_the_code_is_rehearsed() {
    let rehearsed: BTreeSet<&String> = EVIDENCE.called.values().flatten().collect();
    let mut unseen = Vec::new();
    for (place, calls) in in_the_code() {
        for call in calls {
            let listed = UNREHEARSED.iter().any(|(listed, _)| *listed == call);
            if !rehearsed.contains(&call) && !listed {
                unseen.push(format!("{place} calls {call}"));
            }
        }
    }
    assert!(unseen.is_empty(), "rehearse these, or list them with a reason:\n{}", unseen.join("\n"));
    for (listed, why) in UNREHEARSED {
        let known = in_the_code().values().any(|calls| calls.contains(listed));
        assert!(known && !rehearsed.contains(&listed.to_owned()), "{listed} is listed for nothing ({why})");
    }
}

/// The operations that the functions' files call, by file: methods of the SDK with an operation's name.
fn in_the_code() -> BTreeMap<String, BTreeSet<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/src");
    let operations = operations();
    let mut found = BTreeMap::new();
    for file in files(&source) {
        let code = std::fs::read_to_string(&file).unwrap();
        let clients: Vec<&str> = CLIENTS
            .iter()
            .filter(|(client, _)| code.contains(&format!(".{client}()")))
            .map(|(_, service)| *service)
            .collect();
        let calls = operations.iter().filter(|(service, method, _)| {
            clients.contains(&service.as_str()) && code.contains(&format!(".{method}()"))
        });
        let calls: BTreeSet<String> = calls.map(|(service, _, name)| format!("{service}:{name}")).collect();
        if !calls.is_empty() {
            found.insert(file.strip_prefix(&source).unwrap().display().to_string(), calls);
        }
    }
    found
}

/// Every operation of the reference: its service, the SDK's method and its name.
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

/// An operation as the SDK names its method: `DescribeDBInstances` is `describe_db_instances`.
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
