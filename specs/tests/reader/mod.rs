//! The guarantees of the spec reader for any bytes, for the proptests here and for the fuzz target in `fuzz/`.

use stackdrop_specs::{LONGEST_SPEC, Problem, Spec, SpecErrors};

/// The largest number of listed problems, and the longest text of one, in bytes.
const PROBLEMS_MAX: usize = 100;
const PROBLEM_BYTES_MAX: usize = 4096;

/// Reads bytes as a spec. The first guarantee is that this returns and does not panic.
///
/// # Errors
/// A violated guarantee.
pub(crate) fn holds_for(bytes: &[u8]) -> Result<(), String> {
    match Spec::read(bytes) {
        Ok(spec) => survives_a_round_trip(&spec),
        Err(errors) => is_sensible(&errors, bytes),
    }
}

/// A spec that is serialized, passed through the workflow and read again stays the same.
fn survives_a_round_trip(spec: &Spec) -> Result<(), String> {
    let written =
        serde_json::to_vec(spec).map_err(|error| format!("the spec cannot be serialized: {error}"))?;
    match serde_json::from_slice::<Spec>(&written) {
        Ok(carried) if carried == *spec => {}
        Ok(_) => return Err(format!("the deserialized spec differs: {}", String::from_utf8_lossy(&written))),
        Err(error) => return Err(format!("the serialized spec cannot be deserialized: {error}")),
    }
    if written.len() > LONGEST_SPEC {
        return Err(format!("the serialized spec is too large: {} bytes", written.len()));
    }
    match Spec::read(&written) {
        Ok(again) if again == *spec => Ok(()),
        Ok(_) => Err(format!("the spec that was read again differs: {}", String::from_utf8_lossy(&written))),
        Err(errors) => Err(format!("the serialized spec is refused: {errors}")),
    }
}

/// Every problem has a message that is short and not serde's, and a place in the file.
fn is_sensible(errors: &SpecErrors, bytes: &[u8]) -> Result<(), String> {
    if errors.problems().is_empty() || errors.to_string().trim().is_empty() {
        return Err("the bytes are refused without a message".into());
    }
    if errors.problems().len() > PROBLEMS_MAX {
        return Err(format!("{} problems are listed", errors.problems().len()));
    }
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').count();
    errors.problems().iter().try_for_each(|problem| points_into(problem, &text, lines))
}

fn points_into(problem: &Problem, text: &str, lines: usize) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {problem:?}"));
    if problem.line < 1 || problem.line > lines || problem.column < 1 {
        return wrong("the place is outside of the file");
    }
    if problem.message.trim().is_empty() {
        return wrong("the message is empty");
    }
    // A message may quote the file.
    let serdes = ["invalid type", "missing field"];
    if serdes.iter().any(|words| problem.message.contains(words) && !text.contains(words)) {
        return wrong("the message is serde's");
    }
    if !text.contains(problem.text.trim_end_matches('…')) {
        return wrong("the offending text is not in the file");
    }
    if problem.to_string().len() > PROBLEM_BYTES_MAX {
        return wrong("the message is too long");
    }
    Ok(())
}
