//! The commands that need no account: what they print, and their exit codes.

use std::process::{Command, Output};

use serde_json::Value;

fn stackdrop(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackdrop"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A text without the IDs that AWS assigns: long hexadecimal numbers, and lines whose names contain part of one.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  loadBalancer.")) {
        let mut word = String::new();
        for letter in line.chars().chain(['\n']) {
            if letter.is_ascii_alphanumeric() {
                word.push(letter);
                continue;
            }
            out.push_str(if is_id(&word) { "…" } else { &word });
            word.clear();
            out.push(letter);
        }
    }
    out
}

#[test]
fn a_rehearsal_prints_its_steps_outputs_and_costs() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    insta::assert_snapshot!(without_ids(&text(&output.stdout)));
}

#[test]
fn a_failing_rehearsal_prints_the_failure_the_rollback_and_an_empty_account() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--fail", "service"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(without_ids(&text(&output.stdout)));
}

#[test]
fn the_json_report_has_results_steps_calls_outputs_and_inventory() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--then", "specs/shop.yaml", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let deployments = report["deployments"].as_array().unwrap();
    assert_eq!(deployments.len(), 2);
    for deployment in deployments {
        assert_eq!(deployment["result"], "Succeeded");
        assert_eq!(deployment["error"], Value::Null);
        assert!(deployment["seconds"].as_f64().unwrap() > 0.0);
        assert!(deployment["boundSeconds"].as_f64().unwrap() > 0.0);
        assert!(deployment["steps"][0]["name"].is_string() && deployment["steps"][0]["end"].is_number());
        assert!(deployment["calls"]["ec2:DescribeVpcs"].as_u64().unwrap() > 0);
        assert!(deployment["outputs"]["network"]["vpc"].is_string());
    }
    let inventory = report["inventory"].as_array().unwrap();
    let vpc = inventory.iter().find(|item| item["type"] == "AWS::EC2::VPC").unwrap();
    assert_eq!((vpc["name"].as_str(), vpc["component"].as_str()), (Some("shop-vpc"), Some("network")));
}

#[test]
fn a_seed_changes_the_durations() {
    let seconds = |arguments: &[&str]| {
        let report: Value = serde_json::from_slice(&stackdrop(arguments).stdout).unwrap();
        report["deployments"][0]["seconds"].as_f64().unwrap()
    };
    let medians = seconds(&["rehearse", "specs/minimal.yaml", "--json"]);
    let drawn = seconds(&["rehearse", "specs/minimal.yaml", "--json", "--seed", "3"]);
    assert!((medians - drawn).abs() > 0.1);
}

#[test]
fn a_fault_that_never_strikes_is_an_error() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--fail", "ec2:CreateTrafficMirrorFilter"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("makes no such call"));
}

#[test]
fn spec_errors_are_shown_with_their_line() {
    let file = std::env::temp_dir().join("stackdrop-mistakes.yaml");
    std::fs::write(&file, "stack: shop\nnetwork:\n  zones: 9\nservcies: {}\n").unwrap();
    let output = stackdrop(&["validate", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(":3:") && said.contains(":4:") && said.contains("services"), "{said}");
}

#[test]
fn an_unknown_component_to_fail_is_refused() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--fail", "lunch"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("load-balancer"));
}
