//! Random weather: from one seed, a history of uploads, duplicates, delays, faults and stopped executions; when the weather
//! is over, everything must be as if it had never been. The same seed gives the same history, to the byte.

mod invariants;
mod specs;
mod weather;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use stackdrop_simulator::{Call, Item};
use stackdrop_specs::Spec;
use stackdrop_statemachine::Abort;
use tokio::task::LocalSet;

use crate::rehearsal::{Deployed, Rehearsal, Setting};
pub use invariants::{standing, together};
use specs::Variant;
use weather::{Ended, Weather};

/// The stacks of a storm. The name of one is the beginning of the other's.
const STACKS: [&str; 2] = ["shop", "shop-2"];

/// A storm that has blown over.
#[derive(Debug)]
pub struct Storm {
    /// What was done, and what came of it, in order.
    pub history: Vec<String>,
    /// Every call to AWS.
    pub ledger: Vec<Call>,
    /// What does not hold that must; empty when all is well.
    pub broken: Vec<String>,
    /// How many executions there were.
    pub executions: usize,
    /// How many of them were started to look after one that had been stopped.
    pub looked_after: usize,
    /// How many faults struck.
    pub faults: usize,
    /// The longest run of a function that was not made to hang, and whose it was.
    pub longest: (Duration, String),
}

/// What a stack is asked to be when the weather is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Deployed(Variant),
    Destroyed,
}

/// What stands after an undisturbed deployment of each variant.
#[derive(Debug, Default)]
pub struct Undisturbed(BTreeMap<Variant, Vec<String>>);

impl Undisturbed {
    fn of(&mut self, variant: Variant) -> Result<&Vec<String>> {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.0.entry(variant) {
            let text = variant.text("shop");
            let standing = in_its_own_time(async {
                let rehearsal = open(None)?;
                let deployed = rehearsal.deploy(&text, &()).await?;
                anyhow::ensure!(deployed.succeeded(), "{variant:?}: {:?}", deployed.error());
                Ok(standing(&rehearsal.account().inventory(), "shop"))
            })?;
            entry.insert(standing);
        }
        self.0.get(&variant).context("what was deployed a moment ago")
    }
}

/// Lets a storm blow.
///
/// # Errors
/// When the rehearsal cannot be opened, or what the storm's user does fails in fair weather.
pub fn storm(seed: u64, undisturbed: &mut Undisturbed) -> Result<Storm> {
    let (mut storm, ends) = in_its_own_time(LocalSet::new().run_until(blow(seed)))?;
    for (stack, last, stands) in ends {
        let expected = match last {
            Last::Destroyed => Vec::new(),
            Last::Deployed(variant) => undisturbed.of(variant)?.clone(),
        };
        let missing = expected.iter().filter(|line| count(&stands, line) < count(&expected, line));
        storm.broken.extend(missing.map(|line| format!("{stack}: {line} is missing")));
        let surplus = stands.iter().filter(|line| count(&stands, line) > count(&expected, line));
        storm.broken.extend(surplus.map(|line| format!("{stack}: {line} is left, or there twice")));
    }
    Ok(storm)
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|it| *it == line).count()
}

fn in_its_own_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.context("starting the runtime")?.block_on(work)
}

fn open(seed: Option<u64>) -> Result<Rehearsal> {
    let read = |variant: Variant| {
        Spec::read(variant.text("shop").as_bytes()).map_err(|errors| anyhow::anyhow!("{errors}"))
    };
    let specs = Variant::ALL.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    Rehearsal::open(&Setting { seed, ..Setting::default() }, &specs.iter().collect::<Vec<_>>())
}

type End = (&'static str, Last, Vec<String>);

async fn blow(seed: u64) -> Result<(Storm, Vec<End>)> {
    let rehearsal = std::rc::Rc::new(open(Some(seed))?);
    let foreign = weather::foreign(&rehearsal).await?;
    let mut weather = Weather::new(seed, &rehearsal);
    let mut ended = weather.blow().await?;
    let mut broken = invariants::not_looked_after(&rehearsal, &ended).await?;
    let mut ends = Vec::new();
    for stack in STACKS {
        let last = weather.last();
        let (deployed, problems) = finish(&rehearsal, stack, last).await?;
        broken.extend(problems.into_iter().map(|problem| format!("{stack}: {problem}")));
        weather.note(&format!("{stack} at last {last:?}: {} as {}", deployed.id, deployed.result()));
        ends.push((stack, last, standing(&rehearsal.account().inventory(), stack)));
        ended.push(Ended { stack, deployed, after: None });
    }
    let ledger = rehearsal.account().call_log();
    for stack in STACKS {
        let executions = ended.iter().filter(|it| it.stack == stack).map(|it| it.deployed.id.clone());
        broken.extend(together(&ledger, &executions.collect::<Vec<_>>()));
    }
    broken.extend(ended.iter().filter_map(|it| invariants::undocumented(&it.deployed)));
    broken.extend(rehearsal.account().denials().iter().map(ToString::to_string));
    let inventory: Vec<Item> = rehearsal.account().inventory();
    let changed = foreign.iter().filter(|item| !inventory.contains(item));
    broken.extend(changed.map(|item| format!("the foreign {} {} was touched", item.kind, item.id)));
    let storm = Storm {
        history: weather.history(),
        ledger,
        broken,
        executions: ended.len(),
        looked_after: ended.iter().filter(|it| it.after.is_some()).count(),
        faults: rehearsal.account().strikes().len(),
        longest: invariants::longest(&rehearsal),
    };
    Ok((storm, ends))
}

/// The last word on a stack in fair weather, and what of it does not hold.
async fn finish(rehearsal: &Rehearsal, stack: &str, last: Last) -> Result<(Deployed, Vec<String>)> {
    let variant = if let Last::Deployed(variant) = last { variant } else { Variant::Worker };
    let key = format!("specs/{stack}.yaml");
    let event = rehearsal.upload(&key, variant.text(stack).as_bytes()).await?;
    let (input, wanted) = match last {
        Last::Deployed(_) => (event, "Succeeded"),
        Last::Destroyed => (json!({ "stack": stack, "action": "destroy" }), "Destroyed"),
    };
    let deployed = rehearsal.run(input, &(), &Abort::default()).await;
    let mut broken = Vec::new();
    if deployed.result() != wanted {
        broken.push(format!("the last deployment ended as {}: {:?}", deployed.result(), deployed.error()));
    }
    if rehearsal.object(&format!("stacks/{stack}/lock.json")).await?.is_some() {
        broken.push("the lock is still there".into());
    }
    let status = rehearsal.object(&format!("stacks/{stack}/status.json")).await?.unwrap_or_default();
    if status["result"] != wanted || status["deployment"] != deployed.id.as_str() {
        broken.push(format!(
            "status.json says {} of {}, not {wanted} of {}",
            status["result"], status["deployment"], deployed.id
        ));
    }
    Ok((deployed, broken))
}
