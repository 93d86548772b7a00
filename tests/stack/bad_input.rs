//! Invalid uploads, events and manual requests: each ends with an error that names the cause, and creates nothing.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use stackdrop::rehearsal::announces;
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::aws::error::names;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_functions::handle;
use stackdrop_simulator::{Call, Fault, FaultKind, When};

use crate::{MINIMAL, changes, rehearsal, resources, run};

/// Whether a call reads a spec, reads or writes a record, or announces something.
fn is_record_or_notification(call: &Call) -> bool {
    ["s3", "states"].contains(&call.service.as_str()) || announces(call)
}

/// Fails unless the input was refused for this reason, nothing but records was written, and the lock is released.
async fn assert_refused(rehearsal: &Rehearsal, refused: &Deployed, expected: &str) {
    let error = refused.error().unwrap_or_default();
    assert!(
        [Outcome::InvalidSpec, Outcome::Failed].contains(&refused.result()),
        "{expected}: {}",
        refused.result()
    );
    assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    assert!(!error.contains(names::DEFECT), "{error}");
    assert_eq!(changes(refused), Vec::<String>::new(), "{expected}");
    let others = refused.calls.iter().filter(|call| !is_record_or_notification(call));
    assert_eq!(others.count(), 0, "{expected}: other calls were made");
    assert!(crate::object(rehearsal, "stacks/hello/lock.json").await.is_none(), "{expected}");
    assert_eq!(resources(rehearsal), Vec::<String>::new(), "{expected}");
}

fn alias_bomb() -> Vec<u8> {
    let mut bomb = "stack: hello\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += format!("a{level}: &a{level} [{aliases}]\n").as_str();
    }
    bomb.into_bytes()
}

#[tokio::test(start_paused = true)]
async fn invalid_spec_files_are_refused_with_the_cause() {
    let utf16: Vec<u8> = MINIMAL.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let huge = vec![b'#'; stackdrop_specs::LONGEST_SPEC + 1];
    let other_name = MINIMAL.replacen("stack: hello", "stack: other", 1).into_bytes();
    let elsewhere = b"stack: hello\nregion: us-east-1\nservices: { web: { image: nginx } }\n".to_vec();
    let twice = format!("{MINIMAL}\nstack: hello\n").into_bytes();
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("empty", Vec::new(), "not valid at\nspecs/hello.yaml:1:1\n"),
        ("blank", b" \n\n".to_vec(), "specs/hello.yaml:1:1\n"),
        ("binary", b"\x7FELF\x02\x01\x01\x00\x00".to_vec(), "InvalidSpec"),
        ("gzip", b"\x1F\x8B\x08\x00\x00\x00".to_vec(), "InvalidSpec"),
        ("latin-1", b"stack: hello\ntags: { caf\xE9: yes }\n".to_vec(), "specs/hello.yaml:2:12\n"),
        ("utf-16", utf16, "specs/hello.yaml:1:1\n"),
        ("huge", huge, "a spec can have at most"),
        ("alias bomb", alias_bomb(), "specs/hello.yaml:"),
        (
            "another's name",
            other_name,
            "is for another stack: upload it under the name of that stack, or set `stack: hello`",
        ),
        ("another region", elsewhere, "is installed in eu-central-1"),
        ("a key twice", twice, ": stack\nTo see what is wrong there: `stackdrop validate FILE`"),
    ];
    for (name, bytes, expected) in cases {
        let rehearsal = rehearsal(MINIMAL);
        let event = rehearsal.upload("specs/hello.yaml", &bytes).await.unwrap();
        let refused = run(&rehearsal, event).await;
        assert_refused(&rehearsal, &refused, expected).await;
        let status = crate::object(&rehearsal, "stacks/hello/status.json").await.unwrap();
        assert_eq!(status["result"], "InvalidSpec", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_object_keys_are_refused() {
    let long = format!("specs/{}.yaml", "x".repeat(1000));
    let keys = [
        "specs/my shop.yaml",
        "specs/my+shop.yaml",
        "specs/my%20shop.yaml",
        "specs%2Fhello.yaml",
        "specs/caf\u{e9}.yaml",
        "/specs/hello.yaml",
        "specs/.yaml",
        "specs/hello",
        "specs/hello.yaml.bak",
        "specs/hello.YAML",
        "specs/Hello.yaml",
        "specs/hello\n.yaml",
        "specs/",
        "",
        "stacks/hello/status.json",
        long.as_str(),
    ];
    let rehearsal = rehearsal(MINIMAL);
    let good = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
    for key in keys {
        for kind in ["Object Created", "Object Deleted"] {
            let mut event = good.clone();
            event["detail"]["object"]["key"] = json!(key);
            event["detail-type"] = json!(kind);
            let refused = run(&rehearsal, event).await;
            assert_refused(&rehearsal, &refused, "InvalidEvent").await;
            assert!(refused.calls.is_empty(), "{key:?}: {:?}", refused.counts());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_other_buckets_or_kinds_are_refused_with_the_cause() {
    let rehearsal = rehearsal(MINIMAL);
    let good = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut event = good.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let without = |parent: &str, field: &str| {
        let mut event = good.clone();
        event.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(field);
        event
    };
    let cases = [
        (changed("/detail/bucket/name", json!("elsewhere")), "specs are read from"),
        (changed("/detail-type", json!("Object Restore Completed")), "cannot start a deployment"),
        (changed("/source", json!("aws.ec2")), "cannot start a deployment"),
        (changed("/detail-type", json!(7)), "is not an S3 event"),
        (changed("/detail", json!([])), "is not an S3 event"),
        (changed("/detail", Value::Null), "is not an S3 event"),
        (changed("/detail/object/key", json!(1)), "is not an S3 event"),
        (changed("/detail/object/version-id", Value::Null), "turn on versioning"),
        (changed("/detail/object/version-id", json!("null")), "turn on versioning"),
        (without("/detail/object", "version-id"), "turn on versioning"),
        (without("/detail", "object"), "is not an S3 event"),
        (without("/detail", "bucket"), "is not an S3 event"),
        (without("", "detail-type"), "neither an S3 event nor"),
        (without("", "detail"), "is not an S3 event"),
        (json!(null), "neither an S3 event nor"),
        (json!("hello"), "neither an S3 event nor"),
        (json!({ "stack": "hello", "action": "explode" }), "neither an S3 event nor"),
        (json!({ "stack": "hello", "force": true }), "neither an S3 event nor"),
        (json!({ "Records": [{ "eventSource": "aws:s3" }] }), "neither an S3 event nor"),
    ];
    for (event, expected) in cases {
        let refused = run(&rehearsal, event).await;
        assert_refused(&rehearsal, &refused, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_with_the_field_that_is_wrong() {
    let rehearsal = rehearsal(MINIMAL);
    let with = |field: &str, value: Value| {
        let mut request = json!({ "stack": "hello" });
        request[field] = value;
        request
    };
    for (request, expected) in [
        (with("stack", json!("No Name")), "its `stack` is not the name of a stack"),
        (with("action", json!("explode")), "its `action` is not deploy, redeploy, rotate, plan or destroy"),
        (with("version", json!(7)), "its `version` is not text"),
        (with("refreshImage", json!("yes")), "its `refreshImage` is not true or false"),
        (with("drift", json!("ignore")), "its `drift` is not repair or report"),
        (with("scheduled", json!(1)), "its `scheduled` is not true or false"),
        (
            with("force", json!(true)),
            "it has a key other than stack, action, version, refreshImage, drift, scheduled",
        ),
        (json!({}), "it lacks the stack's name"),
        (json!({ "action": "plan", "refreshImage": true }), "it lacks the stack's name"),
        (json!(["hello"]), "it is not a JSON object"),
    ] {
        let refused = run(&rehearsal, request).await;
        assert_refused(&rehearsal, &refused, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_secrets_whose_password_has_not_changed_are_refused_with_the_cause() {
    let rehearsal = rehearsal(MINIMAL);
    let changed = rehearsal.secret_event("rds!db-0a1b2c3d-0000-4000-8000-000000000000").unwrap();
    for (pointer, value, expected) in [
        ("/source", json!("aws.rds"), "its source is not aws.secretsmanager"),
        ("/detail/labelUpdated", json!("AWSPENDING"), "the label AWSCURRENT has not moved"),
        ("/resources", json!([]), "it lacks the secret's ARN"),
        ("/time", json!("yesterday"), "it has no time"),
    ] {
        let mut event = changed.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        let refused = run(&rehearsal, event).await;
        assert_refused(&rehearsal, &refused, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_spec_is_named_with_the_error_from_aws() {
    let rehearsal = rehearsal(MINIMAL);
    let fault = Fault::at("s3", "GetObject", When::From(1), FaultKind::AccessDenied).during("/admit/run");
    rehearsal.account().arm(fault);
    let event = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
    let refused = run(&rehearsal, event).await;
    assert_refused(&rehearsal, &refused, "reading specs/hello.yaml: AccessDenied").await;
    assert!(refused.error().unwrap().starts_with("Denied"), "{:?}", refused.error());
}

/// Arbitrary JSON that often has the names and values of real events.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("aws.s3".to_owned()),
        Just("Object Created".to_owned()),
        Just("Object Deleted".to_owned()),
        Just("specs/hello.yaml".to_owned()),
        Just("hello".to_owned()),
        Just("destroy".to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name = prop_oneof![
        "stack|action|refreshImage|detail|detail-type|source|bucket|name|object|key|version-id",
        ".{0,6}"
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[tokio::test(start_paused = true)]
async fn arbitrary_input_is_refused_and_never_a_defect() {
    let rehearsal = rehearsal(MINIMAL);
    let good = rehearsal.upload("specs/hello.yaml", MINIMAL.as_bytes()).await.unwrap();
    // Either one field of a valid event is replaced, or the whole input is arbitrary.
    let places = [
        "/source",
        "/detail-type",
        "/detail",
        "/detail/bucket",
        "/detail/bucket/name",
        "/detail/object",
        "/detail/object/key",
        "/detail/object/version-id",
        "/id",
        "/time",
        "/resources",
    ];
    let replaced = (prop::sample::select(places.to_vec()), any_json()).prop_map(move |(place, value)| {
        let mut event = good.clone();
        *event.pointer_mut(place).unwrap() = value;
        event
    });
    let events = prop_oneof![replaced, any_json()];
    let config = Config { failure_persistence: None, ..Config::with_cases(600) };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    for case in 0..600 {
        let event = events.new_tree(&mut runner).unwrap().current();
        let execution = json!({ "Id": format!("arn:aws:states:eu-central-1:123456789012:execution:stackdrop-deploy:{case}"), "Name": format!("case-{case}") });
        let answer =
            handle("admit", json!({ "event": event, "execution": execution }), rehearsal.aws()).await;
        match answer {
            Ok(answer) => assert!(
                ["admitted", "superseded", "retained", "notPlanned"]
                    .contains(&answer["verdict"].as_str().unwrap()),
                "{event}"
            ),
            Err(error) => assert!(
                [names::INVALID_EVENT, names::INVALID_SPEC, names::PENDING, names::STALLED]
                    .contains(&error.name()),
                "{event}: {}",
                error.chain()
            ),
        }
    }
    assert!(rehearsal.account().call_log().iter().all(is_record_or_notification));
}
