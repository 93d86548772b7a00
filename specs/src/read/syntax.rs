//! What the YAML parser says, in words for the writer of a spec. It stops at its first problem, so there is only one.

use serde_saphyr::Error;
use serde_saphyr::budget::BudgetBreach;

use crate::tree::Place;

/// Where the parser stopped. Of a mistake in the syntax it knows line and column only.
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

/// What is wrong, and what would be right.
pub(super) fn explain(error: &Error) -> (String, String) {
    let error = error.without_snippet();
    let (message, right) = match error {
        Error::Budget { breach, .. } => return budget(breach),
        Error::MultipleDocuments { .. } => return budget(&BudgetBreach::Documents { documents: 2 }),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            ("aliases multiply this spec beyond all measure", "the values themselves, or fewer aliases")
        }
        Error::AliasError { error, .. } => return explain(error),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("this alias is inside what it stands for", "an alias of something that ended before")
        }
        Error::UnknownAnchor { .. } => (
            "this alias stands for nothing",
            "an anchor `&name` before it; or quotes, if it is a text with a `*` in front",
        ),
        Error::Unexpected { .. } | Error::NullIntoString { .. } => ("this can't be a key", "a text"),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => ("this can't be merged", "an alias of a map"),
        Error::UnsupportedTag { .. } => ("a spec has no tags such as this", "the value without `!…`"),
        _ => {
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or(&said);
            if said.contains("recursion limit") {
                return budget(&BudgetBreach::Depth { depth: usize::MAX });
            }
            return (said.to_owned(), hint(said).to_owned());
        }
    };
    (message.into(), right.into())
}

fn budget(breach: &BudgetBreach) -> (String, String) {
    let (message, right) = match breach {
        BudgetBreach::Documents { .. } => ("a second spec begins here", "one spec in each file"),
        BudgetBreach::Depth { .. } => ("this lies too deep", "five levels at most are of use in a spec"),
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::MergeKeys { .. } => {
            ("there are too many anchors and aliases", "at most 100")
        }
        _ => ("there is more here than a spec can hold", "fewer values"),
    };
    (message.into(), right.into())
}

/// What helps with the parser's commonest complaints.
fn hint(said: &str) -> &'static str {
    if said.contains("mapping values are not allowed") {
        "the same indentation as the line before it; or quotes around a text with `: ` inside or `:` at its end"
    } else if said.contains("tab") {
        "spaces: YAML has no tabs for indentation"
    } else if said.contains("unexpected character") {
        "quotes around a text that starts with a special character"
    } else {
        "valid YAML or JSON"
    }
}
