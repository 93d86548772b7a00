//! Failures of databases, load balancers and services are explained in plain words.

use stackdrop::{Rehearsal, Setting};
use stackdrop_simulator::{Fault, FaultKind, Seed, When};
use stackdrop_specs::Spec;

use crate::{SHOP, rehearsal};

/// A worker with one secret, and the same behind a load balancer.
const WORKER: &str = "
stack: shop
region: eu-central-1
services:
  web: { image: 'IMAGE', secrets: { TOKEN: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/token-AbCdEf' } }
";
const WEB: &str = "
stack: shop
region: eu-central-1
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
services:
  web: { image: 'IMAGE', port: 80, healthCheck: { path: /ready }, routes: [{ path: /* }] }
";

#[tokio::test(start_paused = true)]
async fn a_failure_is_explained_with_its_cause() {
    let seeds = vec![
        Seed::CrashingImage { image: "crashing".into(), exit_code: 137 },
        Seed::UnhealthyImage { image: "sick".into() },
        Seed::NoSuchImage { image: "missing".into() },
    ];
    let setting = Setting { seeds, ..Setting::default() };
    for (spec, image, telling) in [
        (WORKER, "crashing", vec!["ECS service web", "exit code 137", "log group /stackdrop/shop/web"]),
        (WORKER, "missing", vec!["ECS service web", "CannotPullContainerError", "missing: not found"]),
        (WEB, "sick", vec!["ECS service web", "health checks"]),
    ] {
        let spec = spec.replace("IMAGE", image);
        let read = Spec::read(spec.as_bytes()).unwrap();
        let rehearsal = Rehearsal::open(&setting, &[&read]).unwrap();
        let failed = rehearsal.deploy(&spec, &()).await.unwrap();
        let error = failed.error().unwrap();
        assert!(telling.iter().all(|text| error.contains(text)), "{image}: {error}");
    }
    let rehearsal = rehearsal(SHOP);
    rehearsal.account().arm(Fault::at("rds", "CreateDBInstance", When::From(1), FaultKind::ResourceFails));
    let error = rehearsal.deploy(SHOP, &()).await.unwrap().error().unwrap();
    assert!(error.contains("RDS instance shop-database") && error.contains("RDS reports: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_names_the_role_and_the_action() {
    let rehearsal = rehearsal(SHOP);
    let message = "User: arn:aws:sts::123456789012:assumed-role/stackdrop-service/x is not authorized to perform: \
                   ecs:CreateCluster on resource: * because no identity-based policy allows the ecs:CreateCluster action";
    let denied = FaultKind::Refused { code: "AccessDeniedException".into(), message: message.into() };
    rehearsal.account().arm(Fault::at("ecs", "CreateCluster", When::Only(1), denied));
    let error = rehearsal.deploy(SHOP, &()).await.unwrap().error().unwrap();
    assert!(error.contains("allow ecs:CreateCluster in the policy of the role stackdrop-service"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_an_explanation_could_not_read_is_said_in_it() {
    let seeds = vec![Seed::CrashingImage { image: "crashing".into(), exit_code: 1 }];
    let setting = Setting { seeds, ..Setting::default() };
    let spec = WORKER.replace("IMAGE", "crashing");
    let rehearsal = Rehearsal::open(&setting, &[&Spec::read(spec.as_bytes()).unwrap()]).unwrap();
    let refused = Fault::at("logs", "GetLogEvents", When::From(1), crate::refused());
    rehearsal.account().arm(refused.during("/service/wait-until-stable"));
    let error = rehearsal.deploy(&spec, &()).await.unwrap().error().unwrap();
    assert!(error.contains("ECS service web"), "{error}");
    assert!(error.contains("the end of its log could not be read"), "{error}");
    assert!(error.contains("the test says no"), "{error}");
}
