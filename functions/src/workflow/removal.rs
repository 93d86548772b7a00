//! The states that prune, roll back and delete.

use serde_json::{Value, json};

use super::states::rule::{any, is, is_null, text};
use super::states::{Result, States, Task, choice, parallel};
use super::table::{Part, Removal, Wait};
use super::{Workflow, admit_task, failed_in, field, pascal_case, task};
use crate::contract::handler::Action;
use crate::steps::admit::Action as AdmitAction;

impl Workflow<'_> {
    /// The first state that deletes something.
    pub(super) fn first_deletion(&self) -> String {
        self.parallel().next_back().map_or_else(
            || "AwaitDeletion".into(),
            |(part, _)| format!("Delete{}", pascal_case(part.component)),
        )
    }

    /// Those that are pruned and deleted in parallel.
    pub(super) fn parallel(&self) -> impl DoubleEndedIterator<Item = (&Part, Wait)> {
        self.parts.iter().filter_map(|part| match part.removal {
            Removal::Parallel(wait) => Some((part, wait)),
            Removal::Last(_) => None,
        })
    }

    /// Those that are pruned and deleted last, in that order.
    pub(super) fn last(&self) -> Vec<(&Part, Wait)> {
        let last = self.parts.iter().rev().filter_map(|part| match part.removal {
            Removal::Last(wait) => Some((part, wait)),
            Removal::Parallel(_) => None,
        });
        last.collect()
    }

    pub(super) fn prune(&self, states: &mut States) {
        let ways = [(is("$.rollingBack", true), "Prune"), (is("$.review.prunes", true), "Prune")];
        let comment =
            "Prunes after a rollback, or if the spec no longer has some resources: nothing uses them now";
        states.add("NeedsPruning", choice(comment, &ways, "Conclude"));
        let branches = self.parallel().map(|(part, wait)| {
            let mut branch = States::default();
            let task = task(part.component, Action::Prune, part.prunes, Some(wait));
            branch.add(format!("Prune{}", pascal_case(part.component)), task.into_state());
            branch.into_branch()
        });
        let branches: Vec<Value> = branches.collect();
        let names: Vec<String> =
            self.last().iter().map(|(part, _)| format!("Prune{}", pascal_case(part.component))).collect();
        let after = |index: usize| names.get(index).map_or("Conclude", String::as_str);
        let catch = |step: &str| (failed_in("pruneFailed", step), "Conclude".to_owned());
        let comment = "Deletes what the spec no longer has";
        let prune = parallel(comment, &branches, &json!({ "ResultPath": null }), catch("Prune"), after(0));
        states.add("Prune", prune);
        for (index, (part, wait)) in self.last().into_iter().enumerate() {
            let name = format!("Prune{}", pascal_case(part.component));
            let task = Task {
                result: Result::Dropped,
                catch: Some(catch(&name)),
                next: Some(after(index + 1).to_owned()),
                ..task(part.component, Action::Prune, part.prunes, Some(wait))
            };
            states.add(name, task.into_state());
        }
    }

    pub(super) fn roll_back(&self, states: &mut States) {
        let ways = [
            (any(&[is("$.rollingBackAgain", true), is("$.destroying", true)]), "Conclude"),
            (text("$.spec.onFailure", "keep"), "Conclude"),
            (is_null("$.baseline", false), "RollBackToBaseline"),
        ];
        let comment = "Rolls back a failed update to the baseline, and attempts a failed rollback once more; deletes a failed first deployment. Not if the spec says onFailure: keep, or if a destroy failed";
        states.add("RollBack", choice(comment, &ways, &self.first_deletion()));
        let task = Task {
            catch: Some((failed_in("rollbackFailed", "RollBackToBaseline"), "Conclude".into())),
            next: Some(self.first_apply()),
            ..admit_task(
                AdmitAction::RollBack,
                "Replaces the spec of the failed update with that of the baseline",
                None,
            )
        };
        states.add("RollBackToBaseline", task.into_state());
    }

    pub(super) fn delete(&self, states: &mut States) {
        let names: Vec<String> =
            self.parallel().rev().map(|(part, _)| format!("Delete{}", pascal_case(part.component))).collect();
        for (index, (part, _)) in self.parallel().rev().enumerate() {
            let next = names.get(index + 1).map_or("AwaitDeletion", String::as_str);
            // A deletion that cannot be started does not keep the others from it: AwaitDeletion tries again.
            let comment = "Starts the deletion; AwaitDeletion deletes what cannot be deleted yet";
            let task = deleting(part, Action::Delete, comment, None, "deleteFailed", next);
            states.add(&*names[index], task);
        }
        let branches = self.parallel().rev().map(|(part, wait)| {
            let (name, mut branch) = (pascal_case(part.component), States::default());
            let (deleted, remains) = (format!("{name}Deleted"), format!("{name}Remains"));
            let comment = "Deletes until nothing remains";
            let task = Task {
                catch: Some(("$".into(), remains.clone())),
                ..task(part.component, Action::AwaitDeletion, comment, Some(wait))
            };
            branch.add(deleted, task.into_state());
            let comment = "Records the failure, so that the other deletions continue";
            let pass = json!({ "Comment": comment, "Type": "Pass", "Parameters": { "failure.$": "$" }, "End": true });
            branch.add(remains, pass);
            branch.into_branch()
        });
        let branches: Vec<Value> = branches.collect();
        let last: Vec<String> =
            self.last().iter().map(|(part, _)| format!("Delete{}", pascal_case(part.component))).collect();
        let after = |index: usize| last.get(index).map_or("Conclude", String::as_str);
        let comment = "Waits until everything inside the network is deleted; a deletion that fails does not stop the others";
        let catch = (failed_in("deletionsGivenUp", "AwaitDeletion"), after(0).to_owned());
        let result = json!({ "ResultPath": "$.deletionEnds" });
        states.add("AwaitDeletion", parallel(comment, &branches, &result, catch, after(0)));
        for (index, (part, wait)) in self.last().into_iter().enumerate() {
            let comment = "Deletes the component, which nothing uses now, and waits until it is deleted";
            let next = after(index + 1);
            let task = deleting(part, Action::AwaitDeletion, comment, Some(wait), "deletionsGivenUp", next);
            states.add(&*last[index], task);
        }
    }
}

/// A task that deletes a component. Its failure does not keep the next one from being deleted.
fn deleting(
    part: &Part,
    action: Action,
    comment: &str,
    wait: Option<Wait>,
    failures: &str,
    next: &str,
) -> Value {
    let name = format!("Delete{}", pascal_case(part.component));
    let task = Task {
        result: Result::Fields(format!("$.deletions.{}", field(part.component)), &["found", "remaining"]),
        catch: Some((failed_in(failures, &name), next.to_owned())),
        next: Some(next.to_owned()),
        ..task(part.component, action, comment, wait)
    };
    task.into_state()
}
