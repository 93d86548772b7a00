//! Every action of every component, run twice, and killed at each of its calls in turn.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::{Value, json};
use stackdrop::Rehearsal;
use stackdrop_functions::aws::error::StepError;
use stackdrop_functions::workflow::table::PARTS;
use stackdrop_functions::{COMPONENTS, handle};
use stackdrop_specs::Spec;

use crate::{PRIVATE, SHOP, admitted_state, pause, rehearsal, resources, resources_but_logs};

/// The pace of the workflow's Retry.
const RETRY_PACE: Duration = Duration::from_secs(5);

/// How each step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Once,
    Twice,
    /// The first attempt is killed at its first call, the second at its second, until an attempt completes.
    KilledAtEachCall,
}

/// A future that is dropped once the account has counted this number of calls, as if the function was killed.
struct KilledAt<'a, F> {
    run: Pin<Box<F>>,
    rehearsal: &'a Rehearsal,
    calls: usize,
}

impl<F: Future> Future for KilledAt<'_, F> {
    /// `None` if it was killed.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.run.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if self.rehearsal.account().calls() >= self.calls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The life cycle of one stack: the actions of its components, in the order of the workflow.
struct LifeCycle {
    rehearsal: Rehearsal,
    state: Value,
    mode: Mode,
    kills: usize,
}

impl LifeCycle {
    fn new(spec: &str, mode: Mode) -> Self {
        let rehearsal = rehearsal(spec);
        let mut spec = Spec::read(spec.as_bytes()).unwrap();
        spec.region = Some(rehearsal.aws().settings.region.clone());
        let state = admitted_state(&spec);
        Self { rehearsal, state, mode, kills: 0 }
    }

    /// Repeats an action until it returns neither `Pending` nor `Transient`, as the workflow does.
    async fn run_until_done(&self, part: &'static str, action: &str) -> Value {
        let mut last_error = String::new();
        for _ in 0..2000 {
            match self.attempt(part, action).await {
                Ok(answer) => return answer,
                Err(error) if error.is_retried() => {
                    last_error = error.chain();
                    pause(RETRY_PACE).await;
                }
                Err(error) => panic!("{part} {action}: {}", error.chain()),
            }
        }
        panic!("{part} {action} never ends: {last_error}");
    }

    fn attempt(
        &self,
        part: &'static str,
        action: &str,
    ) -> impl Future<Output = Result<Value, StepError>> + use<'_> {
        let payload = json!({ "action": action, "deployment": self.state });
        handle(part, payload, self.rehearsal.aws())
    }

    async fn step(&mut self, part: &'static str, action: &str) -> Value {
        if self.mode == Mode::KilledAtEachCall {
            for call in 1.. {
                let calls = self.rehearsal.account().calls() + call;
                let run = Box::pin(self.attempt(part, action));
                match (KilledAt { run, rehearsal: &self.rehearsal, calls }).await {
                    None => self.kills += 1,
                    Some(Err(error)) if error.is_retried() => break,
                    Some(result) => {
                        result.unwrap();
                        break;
                    }
                }
                assert!(call < 400, "{part} {action} makes more and more calls");
            }
        }
        let answer = self.run_until_done(part, action).await;
        if self.mode == Mode::Twice && action != "delete" {
            let before = resources(&self.rehearsal);
            let again = self.run_until_done(part, action).await;
            if ["plan", "apply"].contains(&action) {
                assert_eq!(again, answer, "{part} {action}");
            }
            assert_eq!(resources(&self.rehearsal), before, "{part} {action}");
        }
        answer
    }

    async fn deploy(&mut self) {
        for part in &COMPONENTS {
            self.step(part.name, "plan").await;
        }
        for part in &COMPONENTS {
            let made = self.step(part.name, "apply").await;
            let key = stackdrop::rehearsal::pascal_case(part.name);
            let key = key[..1].to_lowercase() + &key[1..];
            self.state["outputs"][key] = made;
            if part.name == "egress" {
                self.step(part.name, "wait-until-stable").await;
                // The service needs the database's address.
                self.state["outputs"]["database"] = self.step("database", "wait-until-stable").await;
            }
        }
        for part in PARTS.iter().filter(|part| part.stable.is_some()) {
            self.step(part.component, "wait-until-stable").await;
        }
        // The last call of the instance needs a running instance.
        self.step("instance", "apply").await;
    }

    async fn destroy(&mut self) {
        let backwards: Vec<&'static str> = COMPONENTS.iter().rev().map(|part| part.name).collect();
        for part in &backwards {
            self.step(part, "delete").await;
        }
        for part in &backwards {
            self.step(part, "await-deletion").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_run_twice_gives_the_same_result() {
    for spec in [SHOP, PRIVATE] {
        let mut once = LifeCycle::new(spec, Mode::Once);
        once.deploy().await;
        let mut twice = LifeCycle::new(spec, Mode::Twice);
        twice.deploy().await;
        assert_eq!(resources(&twice.rehearsal), resources(&once.rehearsal));
        twice.destroy().await;
        assert_eq!(resources_but_logs(&twice.rehearsal), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn every_action_killed_at_each_of_its_calls_gives_the_same_result_when_retried() {
    for spec in [SHOP, PRIVATE] {
        let mut once = LifeCycle::new(spec, Mode::Once);
        once.deploy().await;
        let mut killed = LifeCycle::new(spec, Mode::KilledAtEachCall);
        killed.deploy().await;
        assert_eq!(resources(&killed.rehearsal), resources(&once.rehearsal));
        assert!(killed.kills > 60, "{}", killed.kills);
        killed.destroy().await;
        assert_eq!(resources_but_logs(&killed.rehearsal), Vec::<String>::new());
    }
}
