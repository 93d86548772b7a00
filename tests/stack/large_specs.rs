//! Step Functions limits the state of an execution to 262,144 bytes, and what exceeds it is not caught. The state of a
//! rollback is the largest: it has the spec, the baseline and the spec that failed.

use std::fmt::Write as _;

use stackdrop_functions::deployment::outcome::Outcome;
use stackdrop_simulator::{Fault, When};
use stackdrop_specs::{LONGEST_SPEC, Spec};

use crate::{deployed, rehearsal, resources};

/// The limit of Step Functions.
const STATE_BYTES_MAX: usize = 262_144;
/// What must be left of it: for the text of failures.
const RESERVE: usize = 32 * 1024;

/// A spec of about the largest size, with this many services; `n` is in every value that an update can change.
fn largest(services: usize, value_length: usize, n: u32) -> String {
    let mut text =
        "stack: shop\nregion: eu-central-1\nnetwork: { cidr: 10.20.0.0/16, zones: 2 }\nservices:\n"
            .to_owned();
    // The variables of one service have at most 32 KiB.
    let room = ((LONGEST_SPEC - 400) / services).min(31_000);
    for service in 0..services {
        let mut part = format!("  s{service}:\n    image: public.ecr.aws/docker/library/nginx:1.2{n}\n");
        write!(part, "    memory: {}\n    logDays: {}\n    environment:\n", 512 * n, 7 * n).unwrap();
        for variable in 0.. {
            let line = format!("      V{variable}: \"{}{n}\"\n", "x".repeat(value_length));
            if part.len() + line.len() + 500 > room {
                break;
            }
            part += &line;
        }
        text += &part;
    }
    text
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_rollback_with_the_largest_specs_fits_into_an_execution() {
    // Many short variables have the largest plan.
    for (services, value_length) in [(2, 1000), (2, 1), (10, 200), (10, 1)] {
        let (before, after) = (largest(services, value_length, 1), largest(services, value_length, 2));
        let size = serde_json::to_string(&Spec::read(after.as_bytes()).unwrap()).unwrap().len();
        let rehearsal = rehearsal(&before);
        rehearsal.account().seed(&stackdrop_simulator::Seed::Image {
            image: "public.ecr.aws/docker/library/nginx:1.22".into(),
        });
        deployed(&rehearsal, &before).await;
        let built = resources(&rehearsal).len();
        rehearsal.account().arm(Fault::at("ecs", "UpdateService", When::Only(services), crate::refused()));
        let failed = rehearsal.deploy(&after, &()).await.unwrap();
        let values =
            failed.outcome.history.iter().filter_map(|event| event.detail.input().or(event.detail.output()));
        let most = values.map(|value| value.to_string().len()).max().unwrap();
        println!(
            "{services} services, a spec of {} bytes ({size} as JSON): at most {most} bytes of state",
            after.len()
        );
        assert_eq!(failed.result(), Outcome::Failed, "{services} services: {:?}", failed.error());
        assert!(failed.error().unwrap().contains("was rolled back"), "{:?}", failed.error());
        assert_eq!(resources(&rehearsal).len(), built);
        assert!(most + RESERVE <= STATE_BYTES_MAX, "{services} services: {most} bytes");
    }
}

/// A spec with hundreds of variables from a secret that the tasks cannot read.
fn with_unreadable_secrets() -> String {
    let mut text =
        "stack: shop\nregion: eu-central-1\nnetwork: { cidr: 10.20.0.0/16, zones: 2 }\nservices:\n"
            .to_owned();
    for service in ["s0", "s1"] {
        write!(text, "  {service}:\n    image: public.ecr.aws/docker/library/nginx:1.21\n    secrets:\n")
            .unwrap();
        for variable in 0..200 {
            writeln!(
                text,
                "      V{variable}: arn:aws:secretsmanager:eu-central-1:999999999999:secret:x-AbCdEf"
            )
            .unwrap();
        }
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_spec_with_hundreds_of_problems_fits_into_an_execution() {
    let before = largest(2, 1000, 1);
    let rehearsal = rehearsal(&before);
    deployed(&rehearsal, &before).await;
    let bad = with_unreadable_secrets();
    let event = rehearsal.upload("plans/shop.yaml", bad.as_bytes()).await.unwrap();
    let planned = crate::run(&rehearsal, event).await;
    assert_eq!(planned.result(), Outcome::Planned, "{:?}", planned.error());
    let refused = rehearsal.deploy(&bad, &()).await.unwrap();
    assert_eq!(refused.result(), Outcome::Failed, "{:?}", refused.error());
    for ended in [planned, refused] {
        let values =
            ended.outcome.history.iter().filter_map(|event| event.detail.input().or(event.detail.output()));
        let most = values.map(|value| value.to_string().len()).max().unwrap();
        assert!(most + RESERVE <= STATE_BYTES_MAX, "{most} bytes");
    }
    let problems = crate::object(&rehearsal, "stacks/shop/plan.json").await.unwrap()["message"].to_string();
    assert!(problems.contains("V0") && problems.contains(" more like these ("), "{problems}");
}
