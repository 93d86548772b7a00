//! Requests that were answered before a deployment are answered in each second of it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{Action, ForwardActionConfig, Rule, RuleCondition};
use stackdrop::{Deployed, Rehearsal};
use stackdrop_functions::Aws;
use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, Seed, When};

use crate::{changes, deployed, refused, rehearsal, with};

/// One service that gets all requests.
const ONE: &str = "
stack: shop
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
services:
  web: { image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, count: 2, routes: [{ path: /* }] }
";

/// The same with another service, which takes a path over.
fn with_api() -> String {
    format!(
        "{ONE}  api: {{ image: 'public.ecr.aws/docker/library/nginx:1.29', port: 80, routes: [{{ path: /api/* }}] }}\n"
    )
}

/// The same with another name of the service.
fn renamed() -> String {
    with(ONE, "  web:", "  site:")
}

/// Whether a pattern of a rule matches a text. The patterns of these tests have one `*` at most, at the end.
fn matches(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

/// The target groups that get requests for a path, by the rules in the order of their priorities.
fn groups_of(rules: &[Rule], path: &str) -> Vec<String> {
    let fits = |rule: &&Rule| {
        let patterns = rule.conditions().iter().flat_map(RuleCondition::values);
        patterns.into_iter().all(|pattern| matches(pattern, path))
    };
    let groups = |action: &Action| -> Vec<String> {
        let config = action.forward_config().map(ForwardActionConfig::target_groups).unwrap_or_default();
        let weighted = config.iter().filter(|group| group.weight() != Some(0));
        weighted.filter_map(|group| group.target_group_arn().map(str::to_owned)).collect()
    };
    rules.iter().find(fits).map(|rule| rule.actions().iter().flat_map(groups).collect()).unwrap_or_default()
}

/// The rules of the HTTPS listener.
async fn rules(aws: &Aws) -> Vec<Rule> {
    let elb = aws.elb();
    let balancers = elb.describe_load_balancers().names("shop").send().await.unwrap();
    let arn = balancers.load_balancers()[0].load_balancer_arn().unwrap();
    let listeners = elb.describe_listeners().load_balancer_arn(arn).send().await.unwrap();
    let https = listeners.listeners().iter().find(|one| one.port() == Some(443)).unwrap();
    let rules = elb.describe_rules().listener_arn(https.listener_arn().unwrap()).send().await.unwrap();
    rules.rules.unwrap()
}

/// The paths whose requests nobody answers now.
async fn unanswered(aws: &Aws, paths: &[&str]) -> Vec<String> {
    loop {
        let before = rules(aws).await;
        let missed = missed(aws, &before, paths).await;
        // Rules that change meanwhile lead to other groups than those that were read.
        if rules(aws).await == before {
            return missed;
        }
    }
}

/// The paths that these rules lead to a target group without a healthy target.
async fn missed(aws: &Aws, rules: &[Rule], paths: &[&str]) -> Vec<String> {
    let mut healthy: BTreeMap<String, bool> = BTreeMap::new();
    let mut missed = Vec::new();
    for path in paths {
        let groups = groups_of(rules, path);
        for group in &groups {
            if !healthy.contains_key(group) {
                let found = aws.elb().describe_target_health().target_group_arn(group).send().await;
                let answers = found.is_ok_and(|found| {
                    found.target_health_descriptions().iter().any(|target| {
                        let state = target.target_health().and_then(|health| health.state());
                        state.is_some_and(|state| state.as_str() == "healthy")
                    })
                });
                healthy.insert(group.clone(), answers);
            }
        }
        if groups.is_empty() || !groups.iter().all(|group| healthy[group]) {
            missed.push((*path).to_owned());
        }
    }
    missed
}

/// Deploys a spec, and asks each second which requests are not answered. Returns the seconds without an answer.
async fn watched(rehearsal: &Rehearsal, spec: &str, paths: &[&str]) -> (Deployed, Vec<String>) {
    let mut seconds = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let mut deployment = Box::pin(async { rehearsal.deploy(spec, &()).await.unwrap() });
    let mut second = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut deployment => return (done, seconds),
            _ = clock.tick() => second += 1,
        }
        tokio::select! {
            biased;
            done = &mut deployment => return (done, seconds),
            missed = unanswered(rehearsal.aws(), paths) => {
                seconds.extend(missed.into_iter().map(|path| format!("{path} at {second} s")));
            }
        }
    }
}

async fn started(spec: &str) -> Rehearsal {
    let rehearsal = rehearsal(spec);
    deployed(&rehearsal, spec).await;
    assert_eq!(unanswered(rehearsal.aws(), &["/", "/api/1"]).await, Vec::<String>::new());
    rehearsal
}

/// Asserts that a deployment of the same spec changes nothing.
async fn assert_finished(rehearsal: &Rehearsal, spec: &str) {
    assert_eq!(changes(&deployed(rehearsal, spec).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_renamed_service_gets_requests_once_its_tasks_are_healthy() {
    let rehearsal = started(ONE).await;
    let (renaming, unanswered) = watched(&rehearsal, &renamed(), &["/"]).await;
    assert!(renaming.succeeded(), "{:?}", renaming.error());
    println!("seconds without an answer: {}", unanswered.len());
    assert_eq!(unanswered, Vec::<String>::new());
    assert_finished(&rehearsal, &renamed()).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_service_takes_a_path_over_once_its_tasks_are_healthy() {
    let rehearsal = started(ONE).await;
    let (update, unanswered) = watched(&rehearsal, &with_api(), &["/", "/api/1"]).await;
    assert!(update.succeeded(), "{:?}", update.error());
    println!("seconds without an answer: {}", unanswered.len());
    assert_eq!(unanswered, Vec::<String>::new());
    assert_finished(&rehearsal, &with_api()).await;
    // The other way round, the path goes back to the service that gets everything else.
    let (update, unanswered) = watched(&rehearsal, ONE, &["/", "/api/1"]).await;
    assert!(update.succeeded(), "{:?}", update.error());
    assert_eq!(unanswered, Vec::<String>::new());
    assert_finished(&rehearsal, ONE).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_becomes_healthy_gets_no_request() {
    for spec in [renamed(), with_api()] {
        let rehearsal = started(ONE).await;
        rehearsal.account().seed(&Seed::UnhealthyImage { image: "sick:1".into() });
        let last = spec.rfind("'public.ecr.aws/docker/library/nginx:1.29'").unwrap();
        let sick = format!(
            "{}{}",
            &spec[..last],
            spec[last..].replace("'public.ecr.aws/docker/library/nginx:1.29'", "'sick:1'")
        );
        let (update, unanswered) = watched(&rehearsal, &sick, &["/", "/api/1"]).await;
        assert_eq!(update.result(), Outcome::Failed);
        assert_eq!(unanswered, Vec::<String>::new());
        assert_finished(&rehearsal, ONE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_fails_when_it_shifts_requests_is_rolled_back() {
    let rehearsal = started(ONE).await;
    // The first two calls register the new target group, which is not visible at first; the third one shifts the requests.
    rehearsal.account().arm(Fault::at("elasticloadbalancing", "ModifyRule", When::Only(3), refused()));
    let (update, unanswered) = watched(&rehearsal, &renamed(), &["/"]).await;
    assert_eq!(update.result(), Outcome::Failed);
    assert!(update.error().unwrap_or_default().contains("FinishLoadBalancer"), "{:?}", update.error());
    assert_eq!(unanswered, Vec::<String>::new());
    assert_finished(&rehearsal, ONE).await;
}
