//! The deletion of data, which needs the consent of a person: a word for each resource, valid for one version of the spec or one
//! request.

use stackdrop_specs::Spec;

use crate::contract::component::Work;
use crate::deployment::effect::{Effect, EffectKind};
use crate::deployment::plan::Plan;

/// A deletion of data.
#[derive(Debug)]
pub(crate) struct Loss<'a> {
    /// The resource's logical ID.
    pub(crate) logical_id: &'a str,
    /// The resource's name, which is the word to give.
    pub(crate) name: &'a str,
    /// What happens, for people.
    pub(crate) what: String,
    /// What a person can do instead.
    pub(crate) instead: Option<&'static str>,
    /// Whether a spec has the resource.
    pub(crate) is_in: fn(&Spec) -> bool,
}

impl Loss<'_> {
    /// Whether the data can be deleted now: somebody agreed, or no deployment has succeeded with the resource, so that it has no
    /// data yet. What an earlier deployment should have pruned was agreed to then.
    pub(crate) fn is_agreed(&self, work: &Work<'_>) -> bool {
        !self.needs_word(work) || work.deployment.consent.delete_data.contains(self.name)
    }

    fn needs_word(&self, work: &Work<'_>) -> bool {
        let baseline = work.deployment.baseline.as_ref();
        baseline.is_some_and(|baseline| (self.is_in)(&baseline.spec))
    }

    /// Adds the effect to a plan, and a problem until somebody agrees.
    pub(crate) fn plan(self, work: &Work<'_>, plan: &mut Plan) {
        let (is_agreed, needs_word) = (self.is_agreed(work), self.needs_word(work));
        let Self { logical_id, name, what, instead, .. } = self;
        if !is_agreed {
            let instead = instead.map(|instead| format!(", or {instead}")).unwrap_or_default();
            let why = format!("the deployment {what}: its data would be lost");
            plan.problem(logical_id, why, how_to_agree(work, name) + &instead);
        }
        plan.effects.push(Effect {
            kind: EffectKind::DeletesData,
            resource: logical_id.into(),
            what,
            word: needs_word.then(|| name.to_owned()),
        });
    }

    /// Why a resource is not deleted without consent.
    pub(crate) fn refusal(&self, work: &Work<'_>) -> String {
        format!("nobody agreed to the loss of its data; {}", how_to_agree(work, self.name))
    }
}

fn how_to_agree(work: &Work<'_>, name: &str) -> String {
    let stack = &work.deployment.stack;
    if work.deployment.destroying {
        format!("to agree to that, use `stackdrop destroy {stack} --delete-data {name}`")
    } else {
        format!("to agree to that, deploy with `--delete-data {name}`")
    }
}
