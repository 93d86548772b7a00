//! The workflow: generates `statemachine/deploy.asl.json`, which AWS runs, from the table in [`table`].

mod removal;
mod rotation;
mod states;
pub mod table;

use serde_json::{Value, json};

use crate::contract::handler::Action;
use crate::deployment::component_names::field;
pub use crate::deployment::component_names::pascal_case;
use crate::steps::admit::Action as AdmitAction;
use crate::steps::{admit, conclude};
use states::rule::{all, any, is, is_null, is_present, matches, not, same, text};
use states::{Result, States, Task, choice, fail, finish, parallel, retry, seconds, succeed};
use table::{ADMIT, APPROVAL, CONCLUDE, DEPLOYMENT, PLAN, Part, Prepare, READ_REPLY, Wait};

/// The workflow's definition in the Amazon States Language. `${Network}` and the like stand for the functions.
#[must_use]
pub fn definition(parts: &[Part]) -> Value {
    let workflow = Workflow { parts };
    let mut states = States::default();
    admission(&mut states);
    rotation::rotate(&mut states);
    workflow.plan(&mut states);
    workflow.approve(&mut states);
    workflow.apply(&mut states);
    workflow.wait_until_stable(&mut states);
    workflow.finish(&mut states);
    workflow.prune(&mut states);
    workflow.roll_back(&mut states);
    workflow.delete(&mut states);
    conclude(&mut states);
    json!({
        "Comment": "Stackdrop: deploys a spec as a stack; a deployment that fails is rolled back",
        "StartAt": "Admit",
        "TimeoutSeconds": seconds(DEPLOYMENT),
        "States": states.into_value(),
    })
}

/// The file's text: the definition as JSON.
///
/// # Errors
/// When the definition cannot be written as JSON.
pub fn text_of(definition: &Value) -> serde_json::Result<String> {
    serde_json::to_string_pretty(definition).map(|text| text + "\n")
}

/// The state with which a component's turn begins: a wait for what it needs, or its own.
fn entry(part: &Part) -> String {
    match part.needs.first() {
        Some(need) if need.only_if.is_some() => format!("Needs{}", pascal_case(need.component)),
        Some(need) => format!("Await{}", pascal_case(need.component)),
        None => pascal_case(part.component),
    }
}

fn admission(states: &mut States) {
    let task = Task {
        comment: "Reads what started the execution, checks the spec, takes the stack's lock".into(),
        function: format!("${{{}}}", pascal_case(admit::NAME)),
        payload: json!({
            "event.$": "$",
            "execution": { "Id.$": "$$.Execution.Id", "Name.$": "$$.Execution.Name" },
        }),
        wait: Some(ADMIT),
        result: Result::State,
        catch: Some(("$".into(), "AdmitFailed".into())),
        next: Some("Admitted".into()),
    };
    states.add("Admit", task.into_state());
    let ways = [
        (text("$.verdict", "admitted"), "Plan"),
        (text("$.verdict", "rotating"), "RotatePassword"),
        (text("$.verdict", "restarting"), "RestartServices"),
        (text("$.verdict", "interrupted"), "RollBack"),
        (text("$.verdict", "retained"), "Retained"),
        (text("$.verdict", "notPlanned"), "NotPlanned"),
    ];
    let comment = "Continues if the deployment was admitted; an interrupted one is rolled back first";
    states.add("Admitted", choice(comment, &ways, "Superseded"));
    states.add("Retained", succeed("The spec was deleted; the stack is kept"));
    states.add(
        "Superseded",
        succeed("A newer version of the spec, or another deployment of this one, replaces it"),
    );
    states.add("NotPlanned", succeed("It was only to plan, and could not: the stack's newest plan says why"));
    states.add("AdmitFailed", unless_it_only_planned("NotAdmitted"));
    states.add(
        "NotAdmitted",
        fail("The event or the spec was invalid; nothing was changed", "$.Error", "$.Cause"),
    );
}

/// Ends an execution that could not plan without an error, so that no alarm rings; another one fails.
fn unless_it_only_planned(otherwise: &str) -> Value {
    let (key, action) = ("$$.Execution.Input.detail.object.key", "$$.Execution.Input.action");
    let uploaded = all(&[is_present(key, true), matches(key, "plans/*")]);
    let requested = all(&[is_present(action, true), text(action, "plan")]);
    let comment = "An execution that only planned and could not is no failed deployment: no alarm rings";
    choice(comment, &[(uploaded, "NotPlanned"), (requested, "NotPlanned")], otherwise)
}

struct Workflow<'t> {
    parts: &'t [Part],
}

fn failed_in(group: &str, step: &str) -> String {
    format!("$.{group}.{step}")
}

/// A task of a component.
fn task(component: &str, action: Action, comment: &str, wait: Option<Wait>) -> Task {
    Task {
        comment: comment.to_owned(),
        function: format!("${{{}}}", pascal_case(component)),
        payload: json!({ "action": action, "deployment.$": "$" }),
        wait,
        result: Result::Branch,
        catch: None,
        next: None,
    }
}

/// A task of Admit after the admission.
fn admit_task(action: AdmitAction, comment: &str, wait: Option<Wait>) -> Task {
    Task {
        comment: comment.to_owned(),
        function: format!("${{{}}}", pascal_case(admit::NAME)),
        payload: json!({ "action": action, "deployment.$": "$" }),
        wait,
        result: Result::State,
        catch: None,
        next: None,
    }
}

impl Workflow<'_> {
    /// The first state that applies something.
    fn first_apply(&self) -> String {
        self.parts.first().map_or_else(|| "WaitUntilStable".into(), entry)
    }

    fn plan(&self, states: &mut States) {
        let branches = self.parts.iter().map(|part| {
            let comment = "Compares the account with the spec; changes nothing";
            let mut branch = States::default();
            let task = task(part.component, Action::Plan, comment, Some(PLAN));
            branch.add(format!("Plan{}", pascal_case(part.component)), task.into_state());
            branch.into_branch()
        });
        let comment = "Finds what would change, and what would make the deployment fail; changes nothing";
        let catch = (failed_in("planFailed", "Plan"), "Conclude".into());
        let plan = parallel(
            comment,
            &branches.collect::<Vec<_>>(),
            &json!({ "ResultPath": "$.plan" }),
            catch,
            "Review",
        );
        states.add("Plan", plan);
        let review = Task {
            catch: Some((failed_in("planFailed", "Review"), "Conclude".into())),
            next: Some("Decide".into()),
            ..admit_task(AdmitAction::Review, "Reviews the plans of all components together", None)
        };
        states.add("Review", review.into_state());
        let restarts_first = all(&[
            is("$.review.outdated", true),
            is("$.source.planOnly", false),
            is("$.destroying", false),
            // Once: a plan that finds outdated tasks again must not restart them for ever.
            is_present("$.outputs.service", false),
            is_present(&failed_in("rotationFailed", "RestartServices"), false),
            is_present(&failed_in("rotationFailed", "AwaitRestart"), false),
        ]);
        let ways = [
            (restarts_first, "RestartServices"),
            (is("$.review.blocked", true), "Conclude"),
            (any(&[is("$.source.planOnly", true), is("$.reportOnly", true)]), "Conclude"),
            (
                any(&[is("$.destroying", true), is_null("$.baseline", true), is("$.review.changes", true)]),
                "NeedsApproval",
            ),
        ];
        let comment = "Continues only if there is something to change, and no problem. Services whose tasks read a secret before it changed are restarted first, even if nothing else may be changed";
        states.add("Decide", choice(comment, &ways, "Conclude"));
    }

    fn approve(&self, states: &mut States) {
        let required = || is("$.review.needsApproval", true);
        let ways = [
            (all(&[required(), is_present("$.approved", false)]), "AwaitApproval"),
            (
                all(&[required(), not(&same("$.review.fingerprint", "$.approved.fingerprint"))]),
                "AwaitApproval",
            ),
            (is("$.destroying", true), &*self.first_deletion()),
        ];
        let comment = "Continues if no approval is required, or exactly this plan was approved";
        states.add("NeedsApproval", choice(comment, &ways, &self.first_apply()));
        let mut ask = json!({
            "Comment": "Announces the plan, and waits until somebody approves or rejects it with the task's token",
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": format!("${{{}}}", pascal_case(admit::NAME)),
                "Payload": {
                    "action": AdmitAction::AskForApproval,
                    "token.$": "$$.Task.Token",
                    "deployment.$": "$",
                },
            },
            "TimeoutSeconds": seconds(APPROVAL),
            "ResultPath": "$.reply",
            // A timeout here means that nobody replied: it is not retried.
            "Retry": retry(None, false),
        });
        let catch = (failed_in("notApproved", "AwaitApproval"), "Conclude".into());
        finish(&mut ask, Some(catch), Some("ReadReply".into()));
        states.add("AwaitApproval", ask);
        let read = Task {
            catch: Some((failed_in("notApproved", "ReadReply"), "Conclude".into())),
            next: Some("Plan".into()),
            ..admit_task(
                AdmitAction::ReadReply,
                "Reads the reply; the plan is then made again, and must be the approved one",
                Some(READ_REPLY),
            )
        };
        states.add("ReadReply", read.into_state());
    }

    fn apply(&self, states: &mut States) {
        for (index, part) in self.parts.iter().enumerate() {
            let own = pascal_case(part.component);
            for (number, need) in part.needs.iter().enumerate() {
                let next = part.needs.get(number + 1).map_or_else(
                    || own.clone(),
                    |next| {
                        let prefix = if next.only_if.is_some() { "Needs" } else { "Await" };
                        format!("{prefix}{}", pascal_case(next.component))
                    },
                );
                let await_state = format!("Await{}", pascal_case(need.component));
                if let Some((output, why)) = need.only_if {
                    let variable = format!("$.outputs.{}.payload.{output}", field(need.component));
                    let ways = [(is(&variable, true), &*await_state)];
                    states.add(format!("Needs{}", pascal_case(need.component)), choice(why, &ways, &next));
                }
                let task = task(need.component, Action::WaitUntilStable, need.why, Some(need.wait));
                states.add(&*await_state, applying(task, &await_state, need.component, next));
            }
            let next = self.parts.get(index + 1).map_or_else(|| "WaitUntilStable".into(), entry);
            let prepared: Vec<(&Part, Prepare)> = self.prepared_after(part.component).collect();
            let names: Vec<String> =
                prepared.iter().map(|(part, _)| format!("Prepare{}", pascal_case(part.component))).collect();
            let after = |number: usize| names.get(number).unwrap_or(&next).clone();
            let task = task(part.component, Action::Apply, part.creates, Some(part.apply));
            states.add(&*own, applying(task, &own, part.component, after(0)));
            for (number, (part, prepare)) in prepared.into_iter().enumerate() {
                states.add(&*names[number], preparing(part, prepare, &names[number], after(number + 1)));
            }
        }
    }

    /// The components of which a part is applied after this one.
    fn prepared_after(&self, component: &str) -> impl Iterator<Item = (&Part, Prepare)> {
        let prepared = self.parts.iter().filter_map(|part| Some((part, part.prepare?)));
        prepared.filter(move |(_, prepare)| prepare.after == component)
    }

    fn wait_until_stable(&self, states: &mut States) {
        let waiting: Vec<(&Part, Wait)> =
            self.parts.iter().filter_map(|part| Some((part, part.stable?))).collect();
        let branches = waiting.iter().map(|(part, wait)| {
            let (name, mut branch) = (pascal_case(part.component), States::default());
            let stable = format!("{name}Stable");
            if let Some(why) = part.reapply {
                let again = Task {
                    // Only for the next state: a rollback may leave the component alone here.
                    result: Result::Outputs(format!("$.outputs.{}", field(part.component))),
                    next: Some(stable.clone()),
                    ..task(part.component, Action::Apply, why, Some(*wait))
                };
                branch.add(format!("Reapply{name}"), again.into_state());
            }
            let comment = "Waits until it is stable and healthy";
            branch.add(
                stable,
                task(part.component, Action::WaitUntilStable, comment, Some(*wait)).into_state(),
            );
            branch.into_branch()
        });
        let branches: Vec<Value> = branches.collect();
        let selected = waiting.iter().enumerate();
        let selected = selected
            .map(|(index, (part, _))| (format!("{}.$", field(part.component)), json!(format!("$[{index}]"))));
        let result = json!({ "ResultSelector": Value::Object(selected.collect()), "ResultPath": "$.stable" });
        let catch = (failed_in("failed", "WaitUntilStable"), "RollBack".into());
        let comment = "Waits until every component is stable and healthy";
        let next = self.first_finish();
        states.add("WaitUntilStable", parallel(comment, &branches, &result, catch, &next));
    }

    /// The components that are applied once more when everything is stable.
    fn finishing(&self) -> Vec<(&Part, (&'static str, &'static str))> {
        self.parts.iter().filter_map(|part| Some((part, part.finish?))).collect()
    }

    /// The first state after everything is stable.
    fn first_finish(&self) -> String {
        let first = self.finishing().first().map(|(part, _)| pascal_case(part.component));
        first.map_or_else(|| "NeedsPruning".into(), |name| format!("{name}Finished"))
    }

    fn finish(&self, states: &mut States) {
        let finishing = self.finishing();
        for (index, (part, (output, why))) in finishing.iter().enumerate() {
            let name = pascal_case(part.component);
            let next = finishing.get(index + 1).map_or_else(
                || "NeedsPruning".into(),
                |(next, _)| format!("{}Finished", pascal_case(next.component)),
            );
            let finish = format!("Finish{name}");
            let variable = format!("$.outputs.{}.payload.{output}", field(part.component));
            let comment = "Continues if nothing of it had to wait until everything is stable";
            states.add(format!("{name}Finished"), choice(comment, &[(is(&variable, true), &*finish)], &next));
            let task = task(part.component, Action::Apply, why, Some(part.apply));
            states.add(&*finish, applying(task, &finish, part.component, next));
        }
    }
}

/// A task that applies a part of a component early. It has no result: the component's turn reads again.
fn preparing(part: &Part, prepare: Prepare, name: &str, next: String) -> Value {
    let task = Task {
        result: Result::Dropped,
        catch: Some((failed_in("failed", name), "RollBack".into())),
        next: Some(next),
        ..task(part.component, Action::Prepare, prepare.creates, Some(prepare.wait))
    };
    task.into_state()
}

/// A task on the way forward: its result goes to the component's outputs, its failure leads to the rollback.
fn applying(task: Task, name: &str, component: &str, next: String) -> Value {
    let task = Task {
        result: Result::Outputs(format!("$.outputs.{}", field(component))),
        catch: Some((failed_in("failed", name), "RollBack".into())),
        next: Some(next),
        ..task
    };
    task.into_state()
}

fn conclude(states: &mut States) {
    let task = Task {
        comment: "Records how the deployment ended, updates the schedule, releases the lock, announces"
            .into(),
        function: format!("${{{}}}", pascal_case(conclude::NAME)),
        payload: json!({ "action": "conclude", "deployment.$": "$" }),
        wait: Some(CONCLUDE),
        result: Result::State,
        catch: Some(("$".into(), "ConcludeFailed".into())),
        next: Some("Concluded".into()),
    };
    states.add("Conclude", task.into_state());
    let ways = [(is("$.succeeded", true), "Succeeded")];
    states.add(
        "Concluded",
        choice("Ends the execution as succeeded or failed, as the deployment ended", &ways, "Failed"),
    );
    states.add("ConcludeFailed", unless_it_only_planned("NotConcluded"));
    states.add(
        "NotConcluded",
        fail("The end could not be recorded; another execution does that", "$.Error", "$.Cause"),
    );
    states.add("Succeeded", succeed("The deployment did what was requested"));
    states
        .add("Failed", fail("The deployment failed; its record says what to do next", "$.error", "$.cause"));
}
