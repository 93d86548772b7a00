//! The output of the command.

use std::process::{Command, Output};

use serde_json::Value;

fn stackdrop(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackdrop"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A text without AWS's IDs: long runs of hexadecimal digits, and names that contain one.
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
fn a_rehearsal_prints_its_steps_outputs_and_cost() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    insta::assert_snapshot!(without_ids(&text(&output.stdout)));
}

#[test]
fn a_failed_rehearsal_prints_the_failure_the_rollback_and_an_empty_account() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--fail", "service"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(without_ids(&text(&output.stdout)));
}

#[test]
fn the_json_document_has_results_steps_calls_outputs_and_inventory() {
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
fn a_fault_that_no_call_meets_is_an_error() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--fail", "ec2:CreateTrafficMirrorFilter"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("makes no such call"));
}

#[test]
fn problems_in_a_spec_are_shown_with_their_lines_by_every_command() {
    let file = std::env::temp_dir().join("stackdrop-mistakes.yaml");
    std::fs::write(&file, "stack: shop\nnetwork:\n  zones: 9\nservcies: {}\n").unwrap();
    let file = file.to_str().unwrap();
    for arguments in [
        ["validate", file].as_slice(),
        &["rehearse", file],
        &["simulate", "--after", file],
        &["deploy", file],
    ] {
        let output = stackdrop(arguments);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(":3:") && stderr.contains(":4:") && stderr.contains("services"), "{stderr}");
    }
}

#[test]
fn an_unknown_component_is_a_usage_error() {
    let output = stackdrop(&["rehearse", "specs/shop.yaml", "--fail", "lunch"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("load-balancer"));
}

#[test]
fn a_missing_file_is_an_error_with_its_cause() {
    let output = stackdrop(&["validate", "no-such-file.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert_eq!(stderr, "error: cannot read no-such-file.yaml: No such file or directory (os error 2)\n");
}
