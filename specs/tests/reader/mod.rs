//! What the spec reader promises of any bytes at all: one property, for proptest here and for the fuzz target in `fuzz/`.

use stackdrop_specs::{LONGEST_SPEC, Problem, Spec, SpecErrors};

/// How many problems are told at most, and how many bytes each may take.
const MOST_PROBLEMS: usize = 100;
const LONGEST_PROBLEM: usize = 4096;

/// Reads bytes as a spec. That it returns at all, and does not panic, is the first half of the promise.
///
/// # Errors
/// What does not hold of its answer.
pub(crate) fn holds_for(bytes: &[u8]) -> Result<(), String> {
    match Spec::read(bytes) {
        Ok(spec) => survives_a_trip(&spec),
        Err(errors) => is_sensible(&errors, bytes),
    }
}

/// A spec that was read can be written, carried by the workflow and read again, and is the same.
fn survives_a_trip(spec: &Spec) -> Result<(), String> {
    let written = serde_json::to_vec(spec).map_err(|error| format!("it can't be written: {error}"))?;
    match serde_json::from_slice::<Spec>(&written) {
        Ok(carried) if carried == *spec => {}
        Ok(_) => return Err(format!("another spec comes back: {}", String::from_utf8_lossy(&written))),
        Err(error) => return Err(format!("what was written is no spec: {error}")),
    }
    if written.len() > LONGEST_SPEC {
        return Err(format!("written, it has {} bytes: more than a spec may have", written.len()));
    }
    match Spec::read(&written) {
        Ok(again) if again == *spec => Ok(()),
        Ok(_) => Err(format!("it reads as another spec: {}", String::from_utf8_lossy(&written))),
        Err(errors) => Err(format!("what was written is refused: {errors}")),
    }
}

/// An error says something, points into the file, is a rule's words and not serde's, and is short enough to be read,
/// whatever it is about.
fn is_sensible(errors: &SpecErrors, bytes: &[u8]) -> Result<(), String> {
    if errors.problems().is_empty() || errors.to_string().trim().is_empty() {
        return Err("it is refused without a word".into());
    }
    if errors.problems().len() > MOST_PROBLEMS {
        return Err(format!("{} problems are told", errors.problems().len()));
    }
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').count();
    errors.problems().iter().try_for_each(|problem| points_into(problem, &text, lines))
}

fn points_into(problem: &Problem, text: &str, lines: usize) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {problem:?}"));
    if problem.line < 1 || problem.line > lines || problem.column < 1 {
        return wrong("it points outside the file");
    }
    if problem.message.trim().is_empty() {
        return wrong("a problem is told without a word");
    }
    if problem.message.contains("invalid type") || problem.message.contains("missing field") {
        return wrong("these are serde's words");
    }
    if !text.contains(problem.text.trim_end_matches('…')) {
        return wrong("the offending text is not in the file");
    }
    if problem.to_string().len() > LONGEST_PROBLEM {
        return wrong("it is too long to be read");
    }
    Ok(())
}
