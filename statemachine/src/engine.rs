//! Runs a machine: one state after the other, with their retries and catches.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::choice::Rule;
use crate::context::{Execution, Scope};
use crate::definition::{Chain, Machine, State, StateKind, Work};
use crate::execution::{Arrival, Options, Outcome, Status, Tasks, Watch};
use crate::failure::Failure;
use crate::history::{Detail, Ending, EventKind};
use crate::join::{self, Boxed};
use crate::retry::Retries;
use crate::run::{Run, check_size, pause};
use crate::task;
use crate::template::Template;
use crate::visit::Visit;

/// The maximum duration of a Standard execution (Developer Guide, "quotas"): one year.
const EXECUTION_SECONDS_MAX: u32 = 31_536_000;

/// The next state, if any, and its input.
type Transition<'r> = (Option<&'r str>, Arc<Value>);

impl Machine {
    /// Runs the machine once, on tokio's clock.
    pub async fn run(
        &self,
        execution: &Execution,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        self.run_from(execution, None, tasks, watch, options).await
    }

    /// Runs the machine from a state that another execution has reached. The history begins with that state.
    pub async fn resume(
        &self,
        execution: &Execution,
        from: &Arrival,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        self.run_from(execution, Some(from), tasks, watch, options).await
    }

    async fn run_from(
        &self,
        execution: &Execution,
        from: Option<&Arrival>,
        tasks: &dyn Tasks,
        watch: &dyn Watch,
        options: &Options,
    ) -> Outcome {
        let run = Run::new(execution, from, tasks, watch, options);
        let limit = Duration::from_secs(self.timeout_seconds.unwrap_or(EXECUTION_SECONDS_MAX).into());
        // `select!` drops the futures that are not done: every step has ended before the execution does.
        let status = tokio::select! {
            biased;
            status = async {
                let status = options.abort.wait().await;
                run.history().seal();
                status
            } => status,
            result = machine(&run, &self.chain, from) => match result {
                Ok(output) => Status::Succeeded(Arc::unwrap_or_clone(output)),
                Err(failure) => Status::Failed(failure),
            },
            status = async {
                pause(run.remaining(limit)).await;
                run.history().seal();
                Status::TimedOut
            } => status,
        };
        run.close(status)
    }
}

/// Runs the machine's own chain.
async fn machine(run: &Run<'_>, chain: &Chain, from: Option<&Arrival>) -> Result<Arc<Value>, Failure> {
    if let Some(Arrival { state, input, .. }) = from {
        if !chain.states.contains_key(state) {
            return Err(Failure::runtime(format!("There is no state {state} to resume from.")));
        }
        return run_chain(run, chain, state, Arc::new(input.clone()), None).await;
    }
    let input = Arc::new(run.execution.input.clone());
    run.record(EventKind::ExecutionStarted, None, Detail::Input(Arc::clone(&input)))?;
    check_size(&input, &run.execution.name)?;
    run_chain(run, chain, &chain.start_at, input, None).await
}

/// Runs states from `first` until one of them ends the chain. `parent` is the Parallel state that contains them.
fn run_chain<'r>(
    run: &'r Run<'r>,
    chain: &'r Chain,
    first: &'r str,
    input: Arc<Value>,
    parent: Option<&'r str>,
) -> Boxed<'r, Result<Arc<Value>, Failure>> {
    Box::pin(async move {
        let (mut name, mut input) = (Some(first), input);
        // The loader has checked that every name is a state's.
        while let Some(state) = name.and_then(|name| chain.states.get(name)) {
            (name, input) = visit(run, state, input, parent).await?;
        }
        Ok(input)
    })
}

/// One visit to a state: its attempts, and its Catch if all of them fail.
async fn visit<'r>(
    run: &'r Run<'r>,
    state: &'r State,
    input: Arc<Value>,
    parent: Option<&'r str>,
) -> Result<Transition<'r>, Failure> {
    let mut visit = Visit::enter(run, state, &input, parent)?;
    let failure = match attempts(run, &visit, &input).await {
        Ok((next, output)) => {
            return match visit.exit(&output) {
                Ok(()) => {
                    visit.leave(Ending::Done);
                    Ok((next, output))
                }
                Err(failure) => Err(visit.fail(failure)),
            };
        }
        Err(failure) => failure,
    };
    visit.attempts_failed(&failure)?;
    let Some(catcher) = state.catch.iter().find(|catcher| catcher.catches(&failure)) else {
        return Err(visit.fail(failure));
    };
    let caught = catcher.result_path.insert(&input, Arc::new(failure.output())).and_then(|output| {
        check_size(&output, &state.name)?;
        visit.exit(&output)?;
        Ok(output)
    });
    match caught {
        Ok(output) => {
            visit.leave(Ending::Caught { failure, next: catcher.next.clone() });
            Ok((Some(&catcher.next), output))
        }
        Err(failure) => Err(visit.fail(failure)),
    }
}

async fn attempts<'r>(
    run: &'r Run<'r>,
    visit: &Visit<'r>,
    input: &Arc<Value>,
) -> Result<Transition<'r>, Failure> {
    let mut retries = Retries::new(&visit.state.retry);
    loop {
        let failure = match attempt(run, visit, input).await {
            Ok(transition) => return Ok(transition),
            Err(failure) => failure,
        };
        let Some(delay) = run.retry_delay(&mut retries, &failure.error) else { return Err(failure) };
        visit.retry(&failure, delay);
        pause(delay).await;
    }
}

/// One attempt: the state's work, then its result and output, in the order of the States Language.
async fn attempt<'r>(
    run: &'r Run<'r>,
    visit: &Visit<'r>,
    input: &Arc<Value>,
) -> Result<Transition<'r>, Failure> {
    let state = visit.state;
    let within = |failure| visit.within(failure);
    let scope = Scope { input, context: visit.context() };
    let result = match &state.work {
        Work::Choice { rules, default } => {
            let next = choose(rules, default, scope).map_err(within)?;
            return Ok((Some(next), Arc::clone(input)));
        }
        Work::Succeed => return Ok((None, Arc::clone(input))),
        Work::Fail { error, cause } => {
            let (error, cause) = (error.evaluate(scope), cause.evaluate(scope));
            return Err(Failure::new(error.map_err(within)?, cause.map_err(within)?));
        }
        Work::Pass { parameters: None } => Arc::clone(input),
        Work::Pass { parameters: Some(parameters) } => Arc::new(parameters.evaluate(scope).map_err(within)?),
        Work::Task(task) => task::run(run, visit, task, input).await?,
        Work::Parallel { branches } => parallel(run, visit, branches, input).await?,
    };
    check_size(&result, &state.name)?;
    let select = |selector: &Template| selector.evaluate(Scope { input: &result, ..scope });
    let selected = state.result_selector.as_ref().map(select).transpose().map_err(within)?;
    let selected = selected.map_or_else(|| Arc::clone(&result), Arc::new);
    let combined = state.result_path.insert(input, selected).map_err(within)?;
    let output = match &state.output_path {
        None => combined,
        Some(path) => {
            let output = path.output(Scope { input: &combined, ..scope }).map_err(within)?;
            Arc::new(output.into_owned())
        }
    };
    check_size(&output, &state.name)?;
    Ok((state.next.as_deref(), output))
}

/// The next state of a Choice: that of the first rule whose condition holds.
fn choose<'r>(rules: &'r [Rule], default: &'r str, scope: Scope<'_>) -> Result<&'r str, Failure> {
    for rule in rules {
        if rule.condition.holds(scope)? {
            return Ok(&rule.next);
        }
    }
    Ok(default)
}

/// Runs all branches together; the result is the array of their outputs.
async fn parallel<'r>(
    run: &'r Run<'r>,
    visit: &Visit<'r>,
    branches: &'r [Chain],
    input: &Arc<Value>,
) -> Result<Arc<Value>, Failure> {
    visit.record(EventKind::StateStarted(StateKind::Parallel), Detail::empty())?;
    let parent = Some(visit.state.name.as_str());
    let branch = |chain: &'r Chain| run_chain(run, chain, &chain.start_at, Arc::clone(input), parent);
    let outputs = join::all(branches.iter().map(branch).collect()).await?;
    visit.record(EventKind::StateSucceeded(StateKind::Parallel), Detail::empty())?;
    Ok(Arc::new(outputs.into_iter().map(Arc::unwrap_or_clone).collect()))
}
