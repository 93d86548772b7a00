//! The commands that work with an account: the real command against a simulated account, served on a port, in which
//! Stackdrop is installed and runs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::SHOP;

/// A served account. It is stopped at the end of the test.
struct Served {
    process: Child,
    url: String,
    /// The folder of the test's specs.
    folder: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Served {
    fn open(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackdrop"));
        command.args(["simulate", "--listen", "127.0.0.1:0", "--speed", "2000"]).args(arguments);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let urls = lines.map_while(Result::ok).filter_map(|line| {
            let (_, rest) = line.split_once("served on ")?;
            Some(rest.split(',').next()?.to_owned())
        });
        let url = urls.into_iter().next().unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self { process, url, folder }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stackdrop"));
        command
            .args(arguments)
            .args(["--endpoint-url", &self.url, "--region", "eu-central-1"])
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env_remove("STACKDROP_BUCKET")
            .stdin(Stdio::null())
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command.output().unwrap()
    }

    /// Runs the command, expects an exit code, and returns its output and errors.
    fn output(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        printed
    }

    /// Runs the command with `--json`, expects an exit code, and returns the document.
    fn document(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        serde_json::from_str(&printed).unwrap()
    }

    /// Uploads an object, as somebody without the command does.
    fn upload(&self, key: &str, text: &str) {
        use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
        let config = Builder::new().behavior_version(BehaviorVersion::latest()).endpoint_url(&self.url);
        let config = config.region(Region::new("eu-central-1")).force_path_style(true);
        let config = config.credentials_provider(Credentials::new("x", "x", None, None, "test")).build();
        let bucket = "stackdrop-123456789012-eu-central-1";
        let put = aws_sdk_s3::Client::from_conf(config).put_object().bucket(bucket).key(key);
        let put = put.body(text.as_bytes().to_vec().into()).send();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(put).unwrap();
    }

    /// A file with the example spec, with some changes.
    fn spec(&self, name: &str, changes: &[(&str, &str)]) -> String {
        let mut text = SHOP.replacen("deletionProtection: true", "deletionProtection: false", 1);
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let file = self.folder.join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

fn contains_all(printed: &str, parts: &[&str]) {
    for part in parts {
        assert!(printed.contains(part), "{part:?} is missing: {printed}");
    }
}

/// The number of the line that contains a text.
fn position(lines: &[&str], text: &str) -> usize {
    let found = lines.iter().position(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("{text:?} is missing: {lines:#?}"))
}

#[test]
fn commands_manage_a_stack_through_its_life_cycle() {
    let served = Served::open("life-cycle", &["--with", "specs/shop.yaml"]);
    let spec = served.spec("shop.yaml", &[]);

    assert!(served.output(10, &["plan", &spec, "--exit-code"]).contains("network: create vpc"));
    let planned = served.output(0, &["plan", &spec]);
    contains_all(&planned, &["Planned: nothing was changed (", "network: create vpc", "PlanNetwork"]);
    assert_eq!(
        served.output(1, &["status", "shop"]),
        "error: stack shop has no deployments\nhelp: deploy it with `stackdrop deploy SPEC`; `stackdrop history shop` lists its plans\n",
        "a plan is not a deployment"
    );

    let deployed = served.output(0, &["deploy", &spec]);
    contains_all(
        &deployed,
        &[
            "Uploaded s3://stackdrop-",
            "AwaitDatabase",
            "WaitUntilStable",
            "Succeeded: the stack matches its spec (",
        ],
    );
    contains_all(&deployed, &["the stack matches its spec", "https://shop-"]);

    let again = served.document(0, &["plan", &spec, "--exit-code"]);
    assert_eq!(
        (again["result"].as_str(), again["changes"].as_array().map(Vec::len)),
        (Some("Planned"), Some(0))
    );

    let other = served.spec("other.yaml", &[("nginx:1.29", "nginx:1.30")]);
    let changed = served.document(0, &["deploy", &other]);
    assert_eq!(changed["result"], "Succeeded");
    assert!(changed["seconds"].as_f64().unwrap() > 100.0, "simulated time, not real time");
    assert!(changed["outputs"]["network"]["vpc"].is_string());

    let status = served.output(0, &["status", "shop"]);
    contains_all(&status, &["shop: Succeeded", "specs/shop.yaml (version ", "network.vpc"]);
    let logs = served.output(0, &["logs", "shop", "web", "--minutes", "9000000"]);
    assert!(!logs.contains("has no logs"), "{logs}");
    assert!(served.output(1, &["logs", "shop", "lunch"]).contains("service lunch of stack shop has no logs"));

    let history = served.document(0, &["history", "shop"]);
    // On a slow machine the nightly schedule comes due during the test.
    let uploads: Vec<&Value> =
        history.as_array().unwrap().iter().filter(|record| record["trigger"] == "upload").collect();
    let results: Vec<&str> = uploads.iter().map(|record| record["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["Succeeded", "Planned", "Succeeded", "Planned", "Planned"], "the newest first");
    let table = served.output(0, &["history", "shop", "--limit", "2"]);
    assert_eq!(table.lines().count(), 3);
    assert!(table.starts_with("STARTED"), "{table}");

    let first = uploads[2]["source"]["version"].as_str().unwrap();
    let back = served.output(0, &["deploy", "shop", "--version", first]);
    contains_all(&back, &["Service", "Succeeded: the stack matches its spec ("]);

    let disk = "!! deletes data: instance: deletes EC2 instance shop-instance with its disk";
    let without = served.spec(
        "without.yaml",
        &[("instance:\n  type: t3.micro\n  disk: 20 # GiB\n", ""), ("[services, instance]", "[services]")],
    );
    let planned = served.document(1, &["plan", &without]);
    assert_eq!(planned["effects"][0]["kind"], "deletes-data");
    assert_eq!(planned["effects"][0]["word"], "shop-instance");
    assert!(served.output(1, &["deploy", &without]).contains("deploy with `--delete-data shop-instance`"));
    let agreed = served.output(0, &["plan", &without, "--delete-data", "shop-instance"]);
    let lines: Vec<&str> = agreed.lines().collect();
    let (mark, change) = (position(&lines, disk), position(&lines, "instance: delete instance"));
    assert!(mark < change, "effects come before the changes: {agreed}");

    assert!(served.output(2, &["destroy", "shop"]).contains("pass --yes"), "the test has no terminal");
    let refused = served.output(1, &["destroy", "shop", "--yes"]);
    assert!(refused.contains("`stackdrop destroy shop --delete-data shop-instance`"), "{refused}");
    contains_all(
        &served.output(0, &["destroy", "shop", "--yes", "--delete-data", "shop-instance"]),
        &["Destroyed (", "DeleteNetwork"],
    );
    assert!(served.output(0, &["status", "shop"]).contains("shop: Destroyed."));
}

#[test]
fn failures_have_exit_codes_and_messages() {
    let served = Served::open("failures", &["--with", "specs/shop.yaml"]);
    let mistaken = served.spec("mistaken.yaml", &[("zones: 2", "zones: 9")]);
    assert!(served.output(4, &["deploy", &mistaken]).contains("zones"), "an invalid spec is not uploaded");
    assert!(served.output(2, &["deploy", "no-such-file.yaml"]).contains("no-such-file.yaml"));

    let elsewhere = served.spec(
        "elsewhere.yaml",
        &[
            ("region: eu-central-1\n", "region: eu-west-1\n"),
            ("arn:aws:acm:eu-central-1", "arn:aws:acm:eu-west-1"),
            ("secretsmanager:eu-central-1", "secretsmanager:eu-west-1"),
        ],
    );
    let refused = served.document(4, &["deploy", &elsewhere]);
    assert_eq!(
        (refused["result"].as_str(), refused["error"].as_str()),
        (Some("InvalidSpec"), Some("InvalidSpec"))
    );

    let unknown = served.output(4, &["destroy", "nobody", "--yes"]);
    contains_all(&unknown, &["Invalid: nothing was changed (", "stack nobody is unknown"]);

    let another = served.run(&["status", "shop", "--bucket", "another-bucket"]);
    assert_eq!(another.status.code(), Some(2));
    assert!(String::from_utf8(another.stderr).unwrap().contains("help: install Stackdrop"));
}

#[test]
fn status_shows_the_lines_of_a_refused_spec_that_its_record_does_not_have() {
    let served = Served::open("refused", &["--with", "specs/shop.yaml"]);
    served.upload("specs/shop.yaml", "stack: shop\nnetwork: { zones: 9 }\n");
    let status = loop {
        let status = served.run(&["status", "shop"]);
        if status.status.success() {
            break String::from_utf8(status.stdout).unwrap();
        }
    };
    contains_all(
        &status,
        &[
            "shop: Invalid: nothing was changed.",
            "the spec is not valid at\nspecs/shop.yaml:2:19: network.zones\n",
            "error: network.zones: 9 is out of range\n",
            "2 | network: { zones: 9 }\n",
        ],
    );
    let record = served.document(0, &["status", "shop"]);
    assert!(!record.to_string().contains("out of range"), "{record}");
}

#[test]
fn a_plan_awaits_approval() {
    let served = Served::open("approval", &["--with", "specs/shop.yaml"]);
    assert!(served.output(5, &["approve", "shop"]).contains("no plan of stack shop awaits approval"));
    let spec = served.spec("shop.yaml", &[("approval: none", "approval: required")]);

    let waiting = served.output(5, &["deploy", &spec]);
    contains_all(
        &waiting,
        &[
            "Awaiting approval",
            "network: create vpc",
            "stackdrop approve shop --plan ",
            "open to the whole internet",
        ],
    );
    assert!(served.output(0, &["reject", "shop", "--reason", "too dear"]).contains("Rejected plan "));
    let history = loop {
        let history = served.document(0, &["history", "shop"]);
        if history[0]["result"] != "AwaitingApproval" && history.as_array().is_some_and(|all| !all.is_empty())
        {
            break history;
        }
    };
    assert_eq!(history[0]["result"], "ApprovalRejected");
    assert!(history[0]["message"].as_str().unwrap().contains("too dear"));
    let caller = history[0]["decision"]["claimedBy"].as_str().unwrap();
    assert!(caller.starts_with("arn:aws:"), "the command names the caller: {caller}");

    let waiting = served.document(5, &["deploy", &spec]);
    assert_eq!(waiting["result"], "AwaitingApproval");
    let plan = waiting["planId"].as_str().unwrap();
    let unnamed = served.output(2, &["approve", "shop"]);
    contains_all(&unnamed, &["name the whole ID of the plan that you have reviewed with --plan", plan]);
    let another = served.output(4, &["approve", "shop", "--plan", "aaaaaaaaaaaa"]);
    contains_all(&another, &["plan aaaaaaaaaaaa of stack shop does not await approval", plan]);
    served.output(2, &["approve", "shop", "--plan", &plan[..4]]);
    let agreed = served.output(0, &["approve", "shop", "--plan", plan]);
    contains_all(
        &agreed,
        &[
            &format!("Plan {plan} of stack shop has awaited approval since "),
            "because     the spec has `approval: required`",
            "network: create vpc",
            "image ",
            "Succeeded: the stack matches its spec (",
        ],
    );
    contains_all(
        &served.output(0, &["status", "shop"]),
        &[&format!("approval    plan {plan} was approved by arn:aws:")],
    );
}
