//! Every kind of problem in a spec, and its message.
//!
//! `INSTA_UPDATE=always cargo test --test problems` updates the snapshots beside this file. Read the difference as a user
//! would.

use stackdrop_specs::{Spec, SpecErrors};

/// A snapshot without the expression that made it.
macro_rules! snapshot {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

/// The problems of an invalid spec.
fn problems(text: &str) -> SpecErrors {
    match Spec::read(text.as_bytes()) {
        Ok(spec) => panic!("the spec is valid: {text}\n{spec:?}"),
        Err(errors) => errors,
    }
}

/// Each spec with its problems.
fn reported(specs: &[&str]) -> String {
    let blocks = specs.iter().map(|spec| {
        let spec = spec.trim_start_matches('\n');
        let shown: Vec<String> =
            spec.trim_end().lines().map(|line| line.chars().take(200).collect()).collect();
        format!("{}\n{}\n{}\n{}", "=".repeat(40), shown.join("\n"), "-".repeat(40), problems(spec))
    });
    blocks.collect::<Vec<_>>().join("\n")
}

const CERTIFICATE: &str =
    "arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23";

const WEB_ACL: &str =
    "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop/3f2504e0-4f89-41d3-9a0c-0305e82c3301";

/// A stack with one service; `rest` are its other fields.
fn service(rest: &str) -> String {
    format!("stack: shop\nregion: eu-central-1\nservices:\n  web:\n    image: nginx\n{rest}")
}

/// A stack with a load balancer and a service that has routes.
fn routes(routes: &str) -> String {
    format!(
        "stack: shop\nloadBalancer: {{ certificateArn: '{CERTIFICATE}' }}\nservices:\n  web: {{ image: nginx, port: 80, routes: [{routes}] }}\n"
    )
}

fn load_balancer(rest: &str) -> String {
    format!(
        "stack: shop\nregion: eu-central-1\nservices: {{ web: {{ image: nginx, port: 80, routes: [{{ path: /* }}] }} }}\nloadBalancer:\n{rest}"
    )
}

fn each(texts: &[String]) -> String {
    reported(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn syntax_errors() {
    snapshot!(reported(&[
        "stack: shop\n region: eu-central-1\n",
        "stack: shop\nregion: \"eu-central-1\n",
        "stack: shop\n\ttags: {}\n",
        "{ \"stack\": \"shop\", \"tags\": { ",
        "stack: shop\ndatabase: @home\n",
        "stack: *name\n",
        "stack: !name shop\n",
        "stack: &a [*a]\n",
        "stack: shop\n---\nstack: stop\n",
        "? [stack]\n: shop\n",
        "stack: shop\nservices:\n  web:\n    secrets:\n      KEY: arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-123456:key::\n",
        "- stack: shop\n",
        "shop",
    ]));
}

#[test]
fn unknown_missing_and_duplicate_keys() {
    snapshot!(reported(&[
        "region: eu-central-1\n",
        "stack: shop\nload_balancer: {}\nNetwork: { zone: 2 }\ninstnace: {}\n",
        "stack: shop\nroutes: []\nversion: 1\n",
        "stack: shop\nservices:\n  web:\n    port: 80\n",
        "stack: shop\nstack: shop\ntags: { a: b, a: c }\n",
        "stack: shop\nservices:\n  web: { image: a }\n  web: { image: b }\nredeploy: {}\n",
        "stack: shop\nredeploy: { shedule: rate(1 day) }\n",
    ]));
}

#[test]
fn values_of_the_wrong_type() {
    snapshot!(reported(&[
        "stack: 12\nregion: [eu-central-1]\ntags: []\nnetwork: 10.0.0.0/16\n",
        "stack: shop\nnetwork:\n  zones: '2'\n  nat: singel\n  cidr: 10.0.0.0\n",
        "stack: shop\ninstance:\ndatabase: ~\n",
        "stack: shop\nonFailure: retain\nonDelete: true\n",
        "stack: shop\nservices:\n  web:\n    image: nginx\n    port: 65536\n    cpu: 300\n    memory: 1.5\n    count: -1\n    exec: yes\n    command: sleep 5\n    environment: { A: null, B: [], C: 5, D: true }\n    database: { HOST: hots }\n    logDays: many\n",
    ]));
}

#[test]
fn names_regions_and_tags() {
    let long = "x".repeat(129);
    let many = (0..41).map(|n| format!("k{n}: v")).collect::<Vec<_>>().join(", ");
    snapshot!(each(&[
        "stack: Shop\nregion: Frankfurt\n".into(),
        "stack: a-very-long-stack-name\n".into(),
        "stack: shop-\n".into(),
        "stack: internal-shop\n".into(),
        format!("stack: shop\ntags:\n  aws:x: a\n  stackdrop:y: b\n  Name: c\n  {long}: d\n  'semi;colon': e\n  Team: f\n  team: g\n  ok: 'not;ok'\n"),
        format!("stack: shop\ntags: {{ {many} }}\n"),
        "stack: a-twenty-letter-name\nservices:\n  website: { image: nginx }\n  Web: { image: nginx }\n  a--b: { image: nginx }\n  9lives: { image: nginx }\n".into(),
    ]));
}

#[test]
fn networks() {
    snapshot!(reported(&[
        "stack: shop\nnetwork: { cidr: 10.0.0.1/16, zones: 4 }\n",
        "stack: shop\nnetwork: { cidr: 10.0.0.0/8, zones: 1 }\n",
        "stack: shop\nnetwork: { cidr: 10.0.0.0/25 }\n",
        "stack: shop\nnetwork: { cidr: 8.8.0.0/16 }\n",
        "stack: shop\nnetwork: { cidr: 172.32.0.0/16 }\n",
        "stack: shop\nnetwork: { cidr: 10.0.0/16 }\n",
        "stack: shop\nnetwork: { cidr: 10.0.0.0/24 }\nservices: { web: { image: nginx, count: 40 } }\n",
        "stack: shop\nregion: eu-central-1\nnetwork: { nat: none }\nservices:\n  web: { image: nginx }\n  far: { image: 123456789012.dkr.ecr.us-east-1.amazonaws.com/far }\n  near: { image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/near }\n",
    ]));
}

#[test]
fn load_balancers() {
    let more = (0..31).map(|n| format!("10.{n}.0.0/16")).collect::<Vec<_>>().join(", ");
    snapshot!(each(&[
        load_balancer("  idleTimeout: 60\n"),
        load_balancer("  domain: shop.example.com\n"),
        load_balancer("  hostedZoneId: Z0123456789ABCDEFGHIJ\n"),
        load_balancer(&format!(
            "  certificateArn: {CERTIFICATE}\n  hostedZoneId: /hostedzone/Z0123456789ABCDEFGHIJ\n"
        )),
        load_balancer("  domain: Shop\n  hostedZoneId: zone\n"),
        load_balancer("  certificateArn: shop.example.com\n"),
        load_balancer(&format!("  certificateArn: {}\n", CERTIFICATE.replace("eu-central-1", "us-east-1"))),
        load_balancer(&format!("  certificateArn: {}\n", CERTIFICATE.replace("arn:aws:", "arn:aws-cn:"))),
        load_balancer(&format!(
            "  certificateArn: {CERTIFICATE}\n  allowedCidrs: []\n  idleTimeout: 0\n  accessLogs: {{ bucket: My_Bucket, prefix: /AWSLogs }}\n"
        )),
        load_balancer(&format!(
            "  certificateArn: {CERTIFICATE}\n  allowedCidrs: [10.0.0.0/8, 10.1.0.0/16, 10.0.0.0/8, 192.168.1.1/24, ::/0, 1.2.3.4]\n"
        )),
        load_balancer(&format!("  certificateArn: {CERTIFICATE}\n  allowedCidrs: [{more}]\n")),
        load_balancer(&format!("  certificateArn: {CERTIFICATE}\n  webAclArn: shop\n")),
        load_balancer(&format!(
            "  certificateArn: {CERTIFICATE}\n  webAclArn: {}\n",
            WEB_ACL.replace(":regional/", ":global/")
        )),
        load_balancer(&format!(
            "  certificateArn: {CERTIFICATE}\n  webAclArn: {}\n",
            WEB_ACL.replace("eu-central-1", "us-east-1")
        )),
        format!(
            "stack: shop\nloadBalancer: {{ certificateArn: '{CERTIFICATE}' }}\nservices: {{ worker: {{ image: nginx }} }}\n"
        ),
        format!("stack: shop\nloadBalancer:\n  certificateArn: {CERTIFICATE}\n  accessLogs: {{}}\n"),
    ]));
}

#[test]
fn route_patterns() {
    let many = (0..51).map(|n| format!("{{ path: /{n} }}")).collect::<Vec<_>>().join(", ");
    snapshot!(each(&[
        routes(
            "{ path: 'api' }, { path: '/a b' }, { path: '/**' }, { host: Example.com }, { host: localhost }, { host: example.c0m }"
        ),
        routes("{}, { priority: 5 }"),
        routes(
            "{ path: '/*', priority: 7 }, { path: /a, priority: 7 }, { path: /b, priority: 0 }, { path: /c, priority: 50001 }"
        ),
        routes("{ path: /a }, { path: /b }, { path: /a }, { host: a.example.com, path: /a }"),
        routes("{ path: '/*/*/*/*', host: '*.*.example.com' }"),
        routes(&many),
        service("    routes: [{ path: '/*' }]\n"),
    ]));
}

#[test]
fn services() {
    let many = (0..11).map(|n| format!("s{n}: {{ image: nginx }}")).collect::<Vec<_>>().join(", ");
    snapshot!(each(&[
        format!("stack: shop\nservices: {{ {many} }}\n"),
        "stack: shop\nservices:\n  web: { image: 'https://nginx' }\n  api: { image: 'Nginx:latest' }\n"
            .into(),
        service("    cpu: 256\n    memory: 4096\n"),
        service("    cpu: 1024\n    memory: 2000\n"),
        service("    cpu: 16384\n    memory: 32000\n"),
        service("    memory: 8192\n"),
        service("    count: 1\n    scaling: { min: 2, max: 4 }\n"),
        service("    scaling: { min: 4, max: 2 }\n"),
        service("    scaling: { max: 2, cpuPercent: 101 }\n"),
        service(
            "    healthCheck: { interval: 5, timeout: 5, healthy: 1, unhealthy: 11, grace: 7201, path: health, codes: 200-600 }\n"
        ),
        service("    logDays: 31\n"),
        service(
            "    environment: { A-B: x, 1A: x, AWS_EXECUTION_ENV: x, A: x, B: x }\n    secrets: { A: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:a-123456' }\n    database: { B: host }\n"
        ),
        service(
            "    secrets: { A: my-secret, B: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:short', C: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:a-123456:key' }\n"
        ),
        service("    exec: true\n    readOnlyRootFilesystem: true\n"),
        service("    writablePaths: [/tmp]\n"),
        service(
            "    readOnlyRootFilesystem: true\n    writablePaths: [/, tmp, /tmp/, /a/../b, /sys/fs, '/a b', /tmp, /tmp, /tmp/x, /tmpx]\n"
        ),
        service("    database: { HOST: host }\n"),
        service("    database: { HOST: host }\ndatabase: { allow: [instance] }\ninstance: {}\n"),
        service(&format!("    command: ['{}']\n", "x".repeat(34_000))),
        routes("{ path: /* }], count: 501, command: [x"),
        routes("{ path: /* }], healthCheck: { interval: 300, healthy: 10 }, command: [x"),
        format!(
            "stack: shop\nloadBalancer: {{ certificateArn: '{CERTIFICATE}' }}\nservices:\n  a: {{ image: nginx, port: 80, count: 300, routes: [{{ path: /* }}] }}\n  b: {{ image: nginx, port: 80, routes: [{{ path: /b }}], scaling: {{ min: 1, max: 300 }} }}\n"
        ),
    ]));
}

#[test]
fn instances_databases_and_schedules() {
    snapshot!(reported(&[
        "stack: shop\ninstance: { type: micro, disk: 4 }\n",
        "stack: shop\ninstance: { type: db.t4g.micro }\n",
        "stack: shop\ndatabase: { version: 12, class: t4g.micro, storage: 10, maxStorage: 21, backupDays: 36, name: Shop }\n",
        "stack: shop\ndatabase: { version: 17.x, class: db.serverless, storage: 100, maxStorage: 109, name: user }\n",
        "stack: shop\ndatabase: { allow: [] }\n",
        "stack: shop\ndatabase: { restoreFrom: 'arn:aws:rds:eu-central-1:123456789012:snapshot:last' }\n",
        "stack: shop\ndatabase: { restoreFrom: shop--last }\n",
        "stack: shop\ndatabase: { allow: [services, services, instance, everyone] }\n",
        "stack: shop\nredeploy: { schedule: hourly, timezone: Berlin }\n",
        "stack: shop\nredeploy: { schedule: rate(5 minutes) }\n",
        "stack: shop\nredeploy: { schedule: rate(1 day), refreshImage: true, drift: report }\n",
        "stack: shop\nredeploy: { schedule: cron(0 3 * * *) }\n",
        "stack: shop\nredeploy: { schedule: cron(0 3 * * * *) }\n",
        "stack: shop\nredeploy: { schedule: cron(0 25 * * ? *) }\n",
    ]));
}

/// Unknown keys, wrong types and violated rules are reported together; rules that depend on unreadable values are skipped.
#[test]
fn zones_and_routes_of_the_network() {
    let network =
        |rest: &str| format!("stack: shop\nregion: us-east-1\nnetwork:\n  cidr: 10.20.0.0/16\n{rest}");
    snapshot!(each(&[
        network("  excludeZones: [e, us-east-1]\n"),
        network("  excludeZones: [us-west-2a]\n"),
        network("  keepRoutes: [0.0.0.0/0, 10.99.0.1/16]\n"),
        network("  keepRoutes: [10.20.128.0/24]\n"),
    ]));
}

#[test]
fn all_kinds_of_problems_together() {
    snapshot!(reported(&["
stack: The Shop
regoin: eu-central-1
loadBalancer:
  certificateArn: 12
  idleTimeout: 5000
services:
  web:
    image: nginx
    cpu: lots
    memory: 12345
    port: http
    routs:
      - path: /*
  api:
    count: 1
    scaling: { min: 2, max: 4 }
    environment: { PORT: 80, DEBUG: }
database:
  storage: 5
  nam: shop
"]));
}

#[test]
fn json_contains_the_same_as_text() {
    let errors = problems("stack: shop\nnetwork:\n  zones: 9\n  nat: nine\n");
    snapshot!(serde_json::to_string_pretty(&errors).unwrap());
    snapshot!(errors.render("specs/shop.yaml"));
}
