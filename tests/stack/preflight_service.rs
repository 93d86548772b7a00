//! Problems of databases, load balancers and services, reported before any change.

use std::time::Duration;

use crate::{SHOP, changes, rehearsal};

/// The text that is replaced in the example, its replacement, and what the error must say.
const PROBLEMS: [(&str, &str, &str); 7] = [
    (
        "public.ecr.aws/docker/library/nginx:1.29",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/web:v9",
        "this account's registry has no repository shop/web; create the repository and push the image first",
    ),
    (
        "payment-Ab3dEf",
        "payments-Ab3dEf",
        "(services.web.secrets.PAYMENT_KEY) does not exist; create the secret, or correct",
    ),
    ("db.t4g.micro", "db.t4g.4xlarge", "RDS does not offer database.class db.t4g.4xlarge"),
    ("version: \"17\"", "version: \"18.9\"", "set database.version to one that it has: 18.1, 18.2, 18.3"),
    ("6d4b1c2e-8f3a", "00000000-8f3a", "; correct loadBalancer.certificateArn"),
    (
        "  idleTimeout",
        "  accessLogs: { bucket: nowhere }\n  idleTimeout",
        "S3 bucket nowhere (loadBalancer.accessLogs.bucket) does not exist",
    ),
    (
        "    cpu: 512\n    memory: 1024\n",
        "    cpu: 4096\n    memory: 8192\n",
        "vCPUs of Fargate tasks that the account may have here",
    ),
];

#[tokio::test(start_paused = true)]
async fn problems_are_reported_in_seconds_with_a_fix_before_any_change() {
    let rehearsal = rehearsal(SHOP);
    for (from, to, expected) in PROBLEMS {
        let spec = SHOP.replacen(from, to, 1);
        assert_ne!(spec, SHOP, "{from}");
        let before = tokio::time::Instant::now();
        let refused = rehearsal.deploy(&spec, &()).await.unwrap();
        let error = refused.error().unwrap();
        assert!(error.starts_with("PreflightFailed") && error.contains(expected), "{expected}: {error}");
        assert_eq!(changes(&refused), Vec::<String>::new());
        let took = before.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    let all = PROBLEMS.iter().fold(SHOP.to_owned(), |spec, (from, to, _)| spec.replacen(from, to, 1));
    let error = rehearsal.deploy(&all, &()).await.unwrap().error().unwrap();
    for (_, _, expected) in PROBLEMS.iter().filter(|(from, ..)| !from.starts_with("db.")) {
        assert!(error.contains(expected), "all at once, with {expected}: {error}");
    }
}
