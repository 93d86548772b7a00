//! Random specs as JSON: most are valid, and each value is often at one of its limits.

use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "ap-southeast-2"];

/// A spec.
pub(super) fn any() -> impl Strategy<Value = Value> {
    (select(&REGIONS[..]), select(vec!["single", "per-zone", "none"])).prop_flat_map(|(region, nat)| {
        let stack =
            prop_oneof!["[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,3}){0,2}", Just("a-20-character-stack".to_owned())];
        let network = network(nat);
        let parts = (
            weighted(0.7, load_balancer(region)),
            weighted(0.4, instance()),
            weighted(0.5, database()),
            weighted(0.3, redeploy()),
            btree_map(service_name(), service(region, nat), 0..4),
        );
        let rest = (tags(), select(vec!["rollback", "keep"]), select(vec!["retain", "destroy"]));
        (stack, network, parts, rest).prop_map(
            move |(stack, network, parts, (tags, on_failure, on_delete))| {
                let mut spec = json!({
                    "stack": stack, "region": region, "tags": tags, "network": network,
                    "onFailure": on_failure, "onDelete": on_delete,
                });
                let (load_balancer, instance, database, redeploy, services) = parts;
                spec["services"] = json!(services);
                for (key, value) in [
                    ("loadBalancer", load_balancer),
                    ("instance", instance),
                    ("database", database),
                    ("redeploy", redeploy),
                ] {
                    if let Some(value) = value {
                        spec[key] = value;
                    }
                }
                agreeing(spec)
            },
        )
    })
}

/// Leaves out what contradicts the rest of the spec.
fn agreeing(mut spec: Value) -> Value {
    let has = |spec: &Value, key: &str| spec.get(key).is_some();
    let (balanced, stored) = (has(&spec, "loadBalancer"), has(&spec, "database"));
    let instance = has(&spec, "instance");
    let mut routed = false;
    for service in spec["services"].as_object_mut().unwrap().values_mut() {
        let service = service.as_object_mut().unwrap();
        if !balanced || !service.contains_key("port") {
            service.remove("routes");
        }
        routed |= service.contains_key("routes");
        if !stored {
            service.remove("database");
        }
    }
    if !routed {
        spec.as_object_mut().unwrap().remove("loadBalancer");
    }
    if stored {
        let clients = if instance { json!(["services", "instance"]) } else { json!(["services"]) };
        spec["database"]["allow"] = clients;
    }
    spec
}

/// One of these values, as JSON.
fn one_of<T: Into<Value> + Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> BoxedStrategy<Value> {
    select(values).prop_map(Into::into).boxed()
}

/// Some of these keys, each with a random value.
fn some_of(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Map<String, Value>> {
    let count = keys.len();
    subsequence(keys, 0..=count).prop_flat_map(|chosen| {
        let (names, values): (Vec<&str>, Vec<BoxedStrategy<Value>>) = chosen.into_iter().unzip();
        values.prop_map(move |values| names.iter().map(|name| (*name).to_owned()).zip(values).collect())
    })
}

fn flag() -> BoxedStrategy<Value> {
    proptest::bool::ANY.prop_map(Value::from).boxed()
}

/// IAM ignores the case of keys, so no two keys may differ only in it.
fn tags() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof!["[a-z0-9_.:/=+@-]{1,12}", "[a-z][a-z é]{0,8}[a-zß]", "[a-z]{128}"];
    let value =
        prop_oneof!["[A-Za-z0-9 _.:/=+@-]{0,20}", "[A-Za-zäöüçñ]{1,10}", "[a-z]{256}", Just(String::new())];
    let few = btree_map(key, value, 0..4);
    let most = btree_map("[a-z]{8}", "[a-z]{3}", 40);
    prop_oneof![9 => few, 1 => most]
        .prop_map(|tags| tags.into_iter().map(|(key, value)| (key, Value::from(value))).collect())
}

fn network(nat: &'static str) -> impl Strategy<Value = Value> {
    let range = (select(vec![[10, 0], [10, 200], [172, 16], [172, 31], [192, 168]]), 16..=24_u8);
    let logs =
        ("[a-z0-9][a-z0-9-]{1,30}[a-z0-9]", select(vec!["", "a", "b/c"]), select(vec!["all", "reject"]));
    (range, 2..=3_u8, weighted(0.3, logs)).prop_map(move |(([first, second], length), zones, logs)| {
        let cidr = format!("{first}.{second}.0.0/{length}");
        let mut network = json!({ "cidr": cidr, "zones": zones, "nat": nat });
        if let Some((bucket, prefix, traffic)) = logs {
            network["flowLogs"] = json!({ "bucket": bucket, "traffic": traffic });
            if !prefix.is_empty() {
                network["flowLogs"]["prefix"] = prefix.into();
            }
        }
        network
    })
}

fn load_balancer(region: &'static str) -> impl Strategy<Value = Value> {
    let arn = format!("arn:aws:acm:{region}:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23");
    let domain = prop_oneof![
        "[a-z][a-z0-9-]{0,8}[a-z0-9]\\.example\\.com",
        Just(format!("{}.example.com", "a".repeat(52)))
    ];
    let certificate = prop_oneof![
        Just(json!({ "certificateArn": arn.clone() })),
        domain
            .clone()
            .prop_map(|domain| json!({ "domain": domain, "hostedZoneId": "Z0123456789ABCDEFGHIJ" })),
        domain.prop_map(move |domain| json!({ "certificateArn": arn, "domain": domain })),
    ];
    let ranges = prop_oneof![
        Just(json!(["0.0.0.0/0"])),
        vec(0..=255_u8, 1..=30).prop_map(|numbers| {
            let mut numbers = numbers;
            numbers.sort_unstable();
            numbers.dedup();
            numbers.iter().map(|number| format!("203.0.{number}.0/24")).collect()
        }),
    ];
    let prefix = "[A-Za-z0-9!_.*'()-]{1,8}(/[a-z0-9]{1,4}){0,2}";
    let logs =
        ("[a-z0-9][a-z0-9-]{1,30}[a-z0-9]", weighted(0.7, prefix)).prop_map(
            |(bucket, prefix)| match prefix {
                Some(prefix) => json!({ "bucket": bucket, "prefix": prefix }),
                None => json!({ "bucket": bucket }),
            },
        );
    let others = some_of(vec![
        ("allowedCidrs", ranges.boxed()),
        ("redirectHttp", flag()),
        ("idleTimeout", one_of(vec![1, 60, 4000])),
        ("deletionProtection", flag()),
        ("accessLogs", logs.boxed()),
    ]);
    (certificate, others).prop_map(|(mut load_balancer, others)| {
        load_balancer.as_object_mut().unwrap().extend(others);
        load_balancer
    })
}

fn instance() -> impl Strategy<Value = Value> {
    let types = vec!["t3.micro", "t3.small", "t4g.nano", "m7g.large", "m5.xlarge", "c7i.2xlarge"];
    some_of(vec![("type", one_of(types)), ("disk", one_of(vec![8, 20, 30, 1024, 16_384]))])
        .prop_map(Value::from)
}

fn database() -> impl Strategy<Value = Value> {
    let sizes = select(vec![
        (20, 22),
        (20, 65_536),
        (22, 25),
        (399, 439),
        (400, 440),
        (1000, 2000),
        (16_384, 65_536),
        (65_536, 0),
    ]);
    let storage = (sizes, proptest::bool::ANY);
    let version = prop_oneof![3 => "1[3-8]", 1 => "1[3-8]\\.[1-9]"];
    let class =
        vec!["db.t4g.micro", "db.t3.micro", "db.t4g.medium", "db.m7g.large", "db.r6g.xlarge", "db.m5.large"];
    let name = prop_oneof!["[a-z_][a-z0-9_]{0,10}", "[a-z][a-z0-9_]{62}"];
    let others = some_of(vec![
        ("version", version.prop_map(Value::from).boxed()),
        ("class", one_of(class)),
        ("multiAz", flag()),
        ("backupDays", one_of(vec![0, 1, 7, 35])),
        ("deletionProtection", flag()),
        ("finalSnapshot", flag()),
        ("name", name.prop_map(Value::from).boxed()),
    ]);
    (storage, others).prop_map(|(((storage, most), grows), mut others)| {
        others.insert("storage".into(), storage.into());
        if grows && most > storage {
            others.insert("maxStorage".into(), most.into());
        }
        Value::from(others)
    })
}

fn redeploy() -> impl Strategy<Value = Value> {
    let minute = "([0-9]|[1-5][0-9]|\\*/[1-9]|0,30|10-20)";
    let cron = format!(
        "cron\\({minute} ([0-9]|1[0-9]|2[0-3]|0/6|\\*) (\\? \\* (\\*|MON|MON-FRI|[1-7]|2#1|6L)|(1|15|L|LW|1W|\\*) (\\*|JAN|1-6|JAN-MAR) \\?) (\\*|2030|2026-2199)\\)"
    );
    let rate = "rate\\((30|45|[1-9][0-9]{2}) minutes\\)|rate\\((1 hour|[2-9] hours|1 day|[2-9][0-9] days)\\)";
    let schedule = prop_oneof![
        proptest::string::string_regex(&cron).unwrap(),
        proptest::string::string_regex(rate).unwrap()
    ];
    let zones =
        vec!["UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia", "Asia/Kolkata", "Etc/GMT+12"];
    let others = some_of(vec![
        ("timezone", one_of(zones)),
        ("refreshImage", flag()),
        ("drift", one_of(vec!["repair", "report"])),
    ]);
    (schedule, others).prop_map(|(schedule, mut others)| {
        others.insert("schedule".into(), schedule.into());
        Value::from(others)
    })
}

fn service_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9]{0,4}(-[a-z0-9]{1,2}){0,1}", "[a-z]{6}"]
}

fn service(region: &'static str, nat: &'static str) -> impl Strategy<Value = Value> {
    let own = format!(
        "123456789012\\.dkr\\.ecr\\.{region}\\.amazonaws\\.com/[a-z]{{2,6}}(/[a-z0-9]{{1,5}})?:[a-z0-9_.-]{{0,5}}[a-z]"
    );
    let own = proptest::string::string_regex(&own).unwrap();
    let others = prop_oneof![
        Just("public.ecr.aws/docker/library/nginx:1.29".to_owned()),
        Just("nginx".to_owned()),
        Just("ghcr.io/owner/some_app__x.y---z:v1".to_owned()),
        Just(format!("nginx@sha256:{}", "0123456789abcdef".repeat(4))),
    ];
    let image = if nat == "none" { own.boxed() } else { prop_oneof![own, others].boxed() };
    let sizes = select(vec![
        (256, 512),
        (256, 2048),
        (512, 4096),
        (1024, 2048),
        (2048, 16_384),
        (4096, 30_720),
        (8192, 61_440),
        (16_384, 122_880),
    ]);
    (image, sizes, work(), health_check(), contents(region)).prop_map(
        |(image, (cpu, memory), mut work, health, contents)| {
            work.extend(contents);
            work.insert("image".into(), image.into());
            work.insert("cpu".into(), cpu.into());
            work.insert("memory".into(), memory.into());
            work.insert("healthCheck".into(), Value::from(health));
            Value::from(work)
        },
    )
}

/// How many tasks run, and what reaches them.
fn work() -> impl Strategy<Value = Map<String, Value>> {
    let scaling = (1..4_u32, 0..3_u32, select(vec![1, 70, 100]));
    let scaling = scaling
        .prop_map(|(min, more, percent)| json!({ "min": min, "max": min + more, "cpuPercent": percent }));
    let path = "/([a-z0-9_.$~\"'@:+&-]{0,6}[*?/]){0,3}".prop_map(|path| json!({ "path": path }));
    let host =
        "(\\*\\.|[a-z0-9-]{1,6}\\.)?[a-z]{1,8}\\.example\\.com".prop_map(|host| json!({ "host": host }));
    let both = ("/[a-z]{1,100}\\*", "[a-z?]{1,3}\\.[a-z]{2,3}")
        .prop_map(|(path, host)| json!({ "path": path, "host": host }));
    let first =
        (prop_oneof![path, host, both], weighted(0.3, prop_oneof![Just(1), Just(50_000), 2..49_999_u32]));
    let route = first.prop_map(|(mut route, priority)| {
        if let Some(priority) = priority {
            route["priority"] = priority.into();
        }
        route
    });
    some_of(vec![
        ("port", one_of(vec![1, 80, 443, 8080, 65_535])),
        ("count", one_of(vec![0, 1, 2, 4])),
        ("scaling", scaling.boxed()),
        ("routes", vec(route, 1..4).prop_map(Value::from).boxed()),
        ("exec", flag()),
        ("readOnlyRootFilesystem", flag()),
        (
            "writablePaths",
            one_of(vec![json!([]), json!(["/tmp"]), json!(["/var/run", "/_x.y-z/9", "/tmp", "/tmp2"])]),
        ),
        ("logDays", one_of(vec![1, 5, 30, 1096, 3653])),
        (
            "managedElsewhere",
            one_of(vec![json!([]), json!(["image"]), json!(["count"]), json!(["image", "count"])]),
        ),
    ])
    .prop_map(|mut work| {
        // `count` must be within the range of `scaling`.
        if let Some(least) = work.get("scaling").map(|scaling| scaling["min"].clone()) {
            work.insert("count".into(), least);
        }
        // Writable paths need a read-only file system, which excludes `exec`.
        if work.get("writablePaths").is_some_and(|paths| *paths != json!([])) {
            work.insert("readOnlyRootFilesystem".into(), true.into());
        }
        if work.get("readOnlyRootFilesystem") == Some(&true.into()) {
            work.remove("exec");
        }
        work
    })
}

fn health_check() -> impl Strategy<Value = Map<String, Value>> {
    let path = prop_oneof![3 => "/[!-~]{0,20}", 1 => "/[a-z]{1023}"];
    some_of(vec![
        ("path", path.prop_map(Value::from).boxed()),
        ("interval", one_of(vec![6, 10, 300])),
        ("timeout", one_of(vec![2, 5])),
        ("healthy", one_of(vec![2, 10])),
        ("unhealthy", one_of(vec![2, 10])),
        ("codes", one_of(vec!["200", "200-499", "200,302,404", "200-299,301-302", "499"])),
        ("grace", one_of(vec![0, 60, 7200])),
    ])
}

/// What is in the containers.
fn contents(region: &'static str) -> impl Strategy<Value = Map<String, Value>> {
    let secret = format!(
        "arn:aws:(secretsmanager:{region}:123456789012:secret:[A-Za-z0-9/_+=.@-]{{1,12}}-[A-Za-z0-9]{{6}}(:[a-z]{{1,5}}::)?|ssm:{region}:123456789012:parameter(/[A-Za-z0-9_.-]{{1,6}}){{1,3}})"
    );
    let secret = proptest::string::string_regex(&secret).unwrap();
    let value =
        prop_oneof!["\\PC{0,20}", Just("two\nlines\ttab".to_owned()), Just(String::new()), "[a-z]{3000}"];
    let given = vec!["host", "port", "name", "username", "password"];
    some_of(vec![
        ("command", vec("[!-~ ]{1,20}", 1..4).prop_map(Value::from).boxed()),
        ("environment", btree_map("E[A-Za-z0-9_]{0,10}", value, 1..4).prop_map(|all| json!(all)).boxed()),
        ("secrets", btree_map("S[A-Z0-9_]{0,10}", secret, 1..3).prop_map(|all| json!(all)).boxed()),
        ("database", btree_map("D[A-Z0-9_]{0,10}", select(given), 1..5).prop_map(|all| json!(all)).boxed()),
    ])
}
