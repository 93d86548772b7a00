//! Checks a workflow that could be read: names, ways from state to state, wildcards, Map items.

use std::collections::BTreeSet;

use crate::definition::{Chain, Machine, State, Work};
use crate::failure::names;
use crate::load::{Problem, member};

/// The longest name of a state, characters (States Language specification).
const NAME_CHARACTERS_MAX: usize = 80;

/// Everything that is wrong with the machine.
pub(crate) fn problems(machine: &Machine) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new(), names: BTreeSet::new() };
    checker.chain(&machine.chain, "", false);
    checker.problems
}

struct Checker<'m> {
    problems: Vec<Problem>,
    /// A name may be there once in the whole machine, or no history and no console could tell two states apart.
    names: BTreeSet<&'m str>,
}

impl<'m> Checker<'m> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer, message));
    }

    fn chain(&mut self, chain: &'m Chain, pointer: &str, inside_map: bool) {
        let states = member(pointer, "States");
        for state in chain.states.values() {
            let place = member(&states, &state.name);
            self.name(&state.name, &place);
            for (field, target) in state.targets() {
                if !chain.states.contains_key(target) {
                    self.refuse(&format!("{place}/{field}"), format!("there is no state `{target}` here"));
                }
            }
            self.wildcards(state, &place);
            self.map_items(state, &place, inside_map);
            self.inner_chains(state, &place, inside_map);
        }
        if chain.states.contains_key(&chain.start_at) {
            self.ways(chain, &states);
        } else {
            let message = format!("there is no state `{}` here", chain.start_at);
            self.refuse(&member(pointer, "StartAt"), message);
        }
    }

    fn inner_chains(&mut self, state: &'m State, place: &str, inside_map: bool) {
        match &state.work {
            Work::Parallel { branches } => {
                for (index, branch) in branches.iter().enumerate() {
                    self.chain(branch, &format!("{place}/Branches/{index}"), inside_map);
                }
            }
            Work::Map(map) => self.chain(&map.chain, &member(place, "ItemProcessor"), true),
            _ => {}
        }
    }

    fn name(&mut self, name: &'m str, place: &str) {
        let length = name.chars().count();
        if !(1..=NAME_CHARACTERS_MAX).contains(&length) {
            self.refuse(
                place,
                format!("a state's name has 1 to {NAME_CHARACTERS_MAX} characters, not {length}"),
            );
        }
        if !self.names.insert(name) {
            self.refuse(place, format!("there is another state `{name}` in the workflow"));
        }
    }

    /// `States.ALL` must be last: what stands behind it would never be reached.
    fn wildcards(&mut self, state: &State, place: &str) {
        let retry: Vec<_> = state.retry.iter().map(|retrier| &retrier.errors).collect();
        let catch: Vec<_> = state.catch.iter().map(|catcher| &catcher.errors).collect();
        for (field, lists) in [("Retry", retry), ("Catch", catch)] {
            for (index, errors) in lists.iter().enumerate() {
                let is_last = index + 1 == lists.len();
                if !is_last && errors.iter().any(|error| error == names::ALL) {
                    self.refuse(&format!("{place}/{field}/{index}"), "`States.ALL` stands last");
                }
            }
        }
    }

    fn map_items(&mut self, state: &State, place: &str, inside_map: bool) {
        if !inside_map && state.paths().iter().any(|path| path.reads_map_item()) {
            self.refuse(place, "`$$.Map` exists inside a Map only");
        }
    }

    /// Every state can be reached from the start, and from every state an end can be reached.
    fn ways(&mut self, chain: &Chain, states: &str) {
        let (reached, ending) = (reached(chain), ending(chain));
        for name in chain.states.keys() {
            let place = member(states, name);
            if !reached.contains(name.as_str()) {
                self.refuse(&place, "no way leads here");
            }
            if !ending.contains(name.as_str()) {
                self.refuse(&place, "no way leads from here to an end");
            }
        }
    }
}

/// The states that can be reached from the first.
fn reached(chain: &Chain) -> BTreeSet<&str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![chain.start_at.as_str()];
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            let state = chain.states.get(name);
            open.extend(state.iter().flat_map(|state| state.targets()).map(|(_, target)| target));
        }
    }
    reached
}

/// The states from which an end can be reached.
fn ending(chain: &Chain) -> BTreeSet<&str> {
    let mut ending = BTreeSet::new();
    loop {
        let before = ending.len();
        for state in chain.states.values() {
            if state.is_end() || state.targets().iter().any(|(_, target)| ending.contains(target)) {
                ending.insert(state.name.as_str());
            }
        }
        if ending.len() == before {
            return ending;
        }
    }
}
