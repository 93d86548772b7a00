//! Checks a workflow that could be read: names, transitions, wildcards.

use std::collections::BTreeSet;

use crate::definition::{Chain, Machine, State};
use crate::failure::names;
use crate::problem::{Problem, member};

/// The longest name of a state, characters (States Language specification).
const NAME_CHARACTERS_MAX: usize = 80;

/// Every problem of the machine.
pub(crate) fn problems(machine: &Machine) -> Vec<Problem> {
    let mut checker = Checker { problems: Vec::new(), names: BTreeSet::new() };
    checker.chain(&machine.chain, "");
    checker.problems
}

struct Checker<'m> {
    problems: Vec<Problem>,
    /// Names are unique in the whole machine: the history and the console show nothing else of a state.
    names: BTreeSet<&'m str>,
}

impl<'m> Checker<'m> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer, message));
    }

    fn chain(&mut self, chain: &'m Chain, pointer: &str) {
        let states = member(pointer, "States");
        for state in chain.states.values() {
            let place = member(&states, &state.name);
            self.name(&state.name, &place);
            for (field, target) in state.targets() {
                if !chain.states.contains_key(target) {
                    self.refuse(&format!("{place}/{field}"), format!("unknown state `{target}`"));
                }
            }
            self.wildcards(state, &place);
            for (index, branch) in state.branches().iter().enumerate() {
                self.chain(branch, &format!("{place}/Branches/{index}"));
            }
        }
        if chain.states.contains_key(&chain.start_at) {
            self.transitions(chain, &states);
        } else {
            let message = format!("unknown state `{}`", chain.start_at);
            self.refuse(&member(pointer, "StartAt"), message);
        }
    }

    fn name(&mut self, name: &'m str, place: &str) {
        let length = name.chars().count();
        if !(1..=NAME_CHARACTERS_MAX).contains(&length) {
            self.refuse(
                place,
                format!("a state's name must have 1 to {NAME_CHARACTERS_MAX} characters, found {length}"),
            );
        }
        if !self.names.insert(name) {
            self.refuse(place, format!("duplicate state `{name}` in the workflow"));
        }
    }

    /// Entries after `States.ALL` would never be reached.
    fn wildcards(&mut self, state: &State, place: &str) {
        let retry: Vec<_> = state.retry.iter().map(|retrier| &retrier.errors).collect();
        let catch: Vec<_> = state.catch.iter().map(|catcher| &catcher.errors).collect();
        for (field, lists) in [("Retry", retry), ("Catch", catch)] {
            for (index, errors) in lists.iter().enumerate() {
                let is_last = index + 1 == lists.len();
                if !is_last && errors.iter().any(|error| error == names::ALL) {
                    self.refuse(
                        &format!("{place}/{field}/{index}"),
                        "the entry with `States.ALL` must be the last one",
                    );
                }
            }
        }
    }

    /// Every state must be reachable from the start, and an end from every state.
    fn transitions(&mut self, chain: &Chain, states: &str) {
        let (reached, ending) = (reached(chain), ending(chain));
        for name in chain.states.keys() {
            let place = member(states, name);
            if !reached.contains(name.as_str()) {
                self.refuse(&place, "the state is unreachable");
            }
            if !ending.contains(name.as_str()) {
                self.refuse(&place, "no end is reachable from the state");
            }
        }
    }
}

/// The states that are reachable from the first one.
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

/// The states from which an end is reachable.
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
