//! What a refused spec contains is written nowhere: not to records, announcements or logs. Somebody may have written a password to
//! the wrong place.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_specs::Spec;

use crate::{PRIVATE, SHOP, object, rehearsal, run};

/// What every password of these tests starts with; the number of the case follows.
const PASSWORD: &str = "hunter2x";

/// A place in a document: how to reach it.
type Place = Vec<Step>;

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// All places of a document, the inner ones too.
fn places(of: &Value, at: &Place, all: &mut Vec<Place>) {
    all.push(at.clone());
    let below = |step: Step| at.iter().cloned().chain([step]).collect::<Place>();
    match of {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places(value, &below(Step::Key(key.clone())), all));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, &below(Step::Index(index)), all));
        }
        _ => {}
    }
}

/// The value at a place.
fn value_at<'v>(document: &'v mut Value, place: &[Step]) -> &'v mut Value {
    place.iter().fold(document, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

/// A document with a password at a place, in each way in which somebody could write it there.
fn with_password_at(document: &Value, place: &Place, password: &str) -> Vec<String> {
    let replaced = |by: Value| {
        let mut document = document.clone();
        *value_at(&mut document, place) = by;
        document.to_string()
    };
    let mut texts = vec![
        replaced(json!(password)),
        replaced(json!([password])),
        replaced(json!({ password: "x" })),
        replaced(json!({ "x": { "y": password } })),
    ];
    let mut document = document.clone();
    if let Value::Object(map) = value_at(&mut document, place) {
        let keys: Vec<String> = map.keys().cloned().collect();
        map.insert(password.to_owned(), json!(1));
        texts.push(document.to_string());
        for key in keys {
            let mut misspelt = document.clone();
            if let Value::Object(map) = value_at(&mut misspelt, place) {
                map.remove(password);
                let value = map.remove(&key).unwrap();
                map.insert(format!("{key}{password}"), value);
            }
            texts.push(misspelt.to_string());
        }
    }
    texts
}

/// A text with a password in one of its lines, as broken YAML.
fn with_password_on_line(text: &str, line: usize, password: &str) -> Vec<String> {
    let inserts = [
        format!("password: {password}"),
        format!("  password: [{password}"),
        format!("\t{password}: 1"),
        format!("x: \"{password}"),
        format!("x: *{password}"),
        format!("x: &{password} !{password} 1"),
        format!("# {password}\n: :"),
        format!("%{password}"),
        format!("x: @{password}"),
        format!("- {password}"),
        format!("x: '\\{password}\u{7}'"),
    ];
    let insert = |insert: &String| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(line, insert);
        lines.join("\n")
    };
    inserts.iter().map(insert).collect()
}

/// Every text, with a password of its own, that is refused as the spec of the stack.
fn refused_texts(spec: &str, stack: &str) -> Vec<String> {
    let document: Value = serde_saphyr::from_str(spec).unwrap();
    let mut all = Vec::new();
    places(&document, &Vec::new(), &mut all);
    let mut number = 0;
    let mut password = || {
        number += 1;
        format!("{PASSWORD}{number:05}")
    };
    let mut texts: Vec<String> = Vec::new();
    for place in &all {
        texts.extend(with_password_at(&document, place, &password()));
    }
    for line in 0..=spec.lines().count() {
        texts.extend(with_password_on_line(spec, line, &password()));
    }
    let is_refused = |text: &String| match Spec::read(text.as_bytes()) {
        Ok(spec) => spec.stack.as_str() != stack || spec.region.as_deref() != Some("eu-central-1"),
        Err(_) => true,
    };
    texts.retain(is_refused);
    texts
}

/// What the functions log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that was written and sent, except the specs themselves: what it is, and its text.
async fn written(rehearsal: &Rehearsal, log: &Log) -> Vec<(String, String)> {
    let (aws, account) = (rehearsal.aws(), rehearsal.account());
    let mut written =
        vec![("the functions' log".to_owned(), String::from_utf8(log.0.lock().unwrap().clone()).unwrap())];
    let mut pages =
        aws.s3().list_objects_v2().bucket(&aws.settings.bucket).prefix("stacks/").into_paginator().send();
    while let Some(page) = pages.next().await {
        for key in page.unwrap().contents().iter().filter_map(|object| object.key()) {
            written.push((key.to_owned(), object(rehearsal, key).await.unwrap().to_string()));
        }
    }
    written.extend(account.messages().iter().map(|message| ("a message".to_owned(), format!("{message:?}"))));
    written.extend(account.events().iter().map(|event| ("an event".to_owned(), format!("{event:?}"))));
    for execution in account.executions() {
        let end = account.execution_end(&execution.arn);
        written.push((format!("the end of {}", execution.name), format!("{end:?}")));
    }
    written
}

#[tokio::test(start_paused = true)]
async fn passwords_in_every_wrong_place_are_written_nowhere() {
    let log = Log::default();
    let writer = {
        let log = log.clone();
        move || log.clone()
    };
    let subscriber =
        tracing_subscriber::fmt().with_writer(writer).with_max_level(tracing::Level::INFO).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let (mut searched, mut uploads) = (0, 0);
    for (spec, stack) in [(SHOP, "shop"), (PRIVATE, "private")] {
        let rehearsal = rehearsal(spec);
        // Another test may reach a line of the log for the first time just now, and it has no log.
        tracing::callsite::rebuild_interest_cache();
        for text in refused_texts(spec, stack) {
            for folder in ["specs", "plans"] {
                let event =
                    rehearsal.upload(&format!("{folder}/{stack}.yaml"), text.as_bytes()).await.unwrap();
                let refused = run(&rehearsal, event).await;
                assert_eq!(refused.result(), Outcome::InvalidSpec, "{text}");
                let history = format!("{:?}", refused.outcome);
                assert!(!history.contains(PASSWORD), "the execution's history has it: {text}\n{history}");
                uploads += 1;
            }
        }
        let written = written(&rehearsal, &log).await;
        let hits = written.iter().filter(|(_, text)| text.contains(PASSWORD));
        assert_eq!(hits.map(|(what, text)| format!("{what}: {text}")).collect::<Vec<_>>(), [""; 0]);
        searched += written.len();
    }
    println!("{uploads} refused specs with a password: {searched} places written and searched, 0 hits");
    assert!(uploads > 500, "{uploads}");
    assert!(
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap().contains("not valid at"),
        "the log is empty"
    );
}

#[tokio::test(start_paused = true)]
async fn passwords_in_requests_are_written_nowhere() {
    let rehearsal = rehearsal(SHOP);
    let requests = [
        json!({ "stack": PASSWORD.to_uppercase() }),
        json!({ "stack": "shop", PASSWORD: 1 }),
        json!({ "stack": "shop", "action": PASSWORD }),
        json!({ "stack": "shop", "drift": PASSWORD }),
        json!({ "stack": "shop", "refreshImage": PASSWORD }),
        json!({ "stack": { PASSWORD: PASSWORD } }),
        json!([PASSWORD]),
        json!(PASSWORD),
    ];
    for request in requests {
        let refused = run(&rehearsal, request.clone()).await;
        assert_eq!(refused.result(), Outcome::InvalidSpec, "{request}");
        let error = refused.error().unwrap().to_lowercase();
        assert!(!error.contains(PASSWORD), "{request}: {error}");
        assert!(error.contains("neither an s3 event nor a request"), "{error}");
    }
}
