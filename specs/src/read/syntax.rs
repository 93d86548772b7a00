//! Explains the errors of the YAML parser. The parser stops at its first error, so there is only one.

use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

use crate::tree::Place;

/// The place where the parser stopped. For syntax errors, it reports only line and column.
pub(super) fn place(text: &str, error: &Error) -> Place {
    let Some(location) = error.location() else { return Place::default() };
    let place = Place::of(location);
    let fits = place.end <= text.len() && place.start < place.end;
    if fits {
        return place;
    }
    let number = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let line_start = match number(location.line()) {
        0 => 0,
        line => text.match_indices('\n').nth(line - 1).map_or(text.len(), |(newline, _)| newline + 1),
    };
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let column = line.char_indices().nth(number(location.column())).map_or(line.len(), |(index, _)| index);
    let start = line_start + column;
    Place { start, end: start }
}

/// The message, and what is expected.
pub(super) fn explain(error: &Error) -> (String, String) {
    let error = error.without_snippet();
    let (message, expected) = match error {
        Error::Budget { breach, .. } => return budget(breach),
        Error::MultipleDocuments { .. } => return budget(&BudgetBreach::Documents { documents: 2 }),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            ("the spec is too large with all aliases expanded", "fewer aliases")
        }
        Error::AliasError { error, .. } => return explain(error),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("recursive alias", "an alias of a value that ends before it")
        }
        Error::UnknownAnchor { .. } => {
            ("unknown alias", "an anchor `&name` before it; or quotes around text that starts with `*`")
        }
        Error::Unexpected { .. } | Error::NullIntoString { .. } => ("invalid key", "text"),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => ("invalid merge", "an alias of a map"),
        Error::UnsupportedTag { .. } => ("YAML tags are not supported", "the value without `!…`"),
        _ => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            if message.contains("recursion limit") {
                return budget(&BudgetBreach::Depth { depth: usize::MAX });
            }
            return (message.to_owned(), hint(message).to_owned());
        }
    };
    (message.into(), expected.into())
}

fn budget(breach: &BudgetBreach) -> (String, String) {
    let (message, expected) = match breach {
        BudgetBreach::Documents { .. } => ("found a second document", "one spec per file"),
        BudgetBreach::Depth { .. } => ("nested too deeply", "less nesting: a spec needs five levels"),
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::MergeKeys { .. } => {
            ("too many anchors and aliases", "at most 100")
        }
        _ => ("too many values", "fewer values"),
    };
    (message.into(), expected.into())
}

/// What is expected, for the most frequent errors of the parser.
fn hint(message: &str) -> &'static str {
    if message.contains("mapping values are not allowed") {
        "the same indentation as the line before; or quotes around text that contains `: ` or ends with `:`"
    } else if message.contains("tab") {
        "spaces: YAML does not allow tabs as indentation"
    } else if message.contains("unexpected character") {
        "quotes around text that starts with a special character"
    } else {
        "valid YAML or JSON"
    }
}
