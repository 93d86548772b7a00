//! The exit codes, the same for every command.

use stackdrop_functions::deployment::outcome::exit_code;

/// Every exit code with its meaning: the help of each command and the README list them.
const EXIT_CODES: [(u8, &str); 7] = [
    (exit_code::DONE, "done"),
    (
        exit_code::FAILED,
        "failed: nothing was changed, or the deployment was rolled back or kept, as its spec says",
    ),
    (exit_code::USAGE, "wrong usage, no credentials, or no connection to AWS"),
    (exit_code::ROLLBACK_FAILED, "the rollback failed too, or a stack could not be destroyed completely"),
    (exit_code::REJECTED, "the spec, the request or the plan was rejected; nothing was changed"),
    (exit_code::INCOMPLETE, "incomplete: superseded or awaiting approval"),
    (exit_code::PLAN_HAS_CHANGES, "the plan has changes (`stackdrop plan --exit-code`)"),
];

/// The end of the help of every command.
pub(super) fn help() -> String {
    let lines = EXIT_CODES.iter().map(|(code, meaning)| format!("\n  {code:<2}  {meaning}"));
    format!("Exit codes:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use stackdrop_functions::deployment::outcome::Outcome;

    use super::*;

    #[test]
    fn every_outcome_has_an_exit_code_of_the_table() {
        for outcome in Outcome::ALL {
            assert!(EXIT_CODES.iter().any(|(code, _)| *code == outcome.exit_code()), "{outcome:?}");
        }
    }

    #[test]
    fn each_exit_code_has_one_meaning() {
        let mut codes = EXIT_CODES.map(|(code, _)| code).to_vec();
        codes.dedup();
        assert_eq!(codes.len(), EXIT_CODES.len());
        assert!(codes.is_sorted());
    }

    #[test]
    fn the_readme_lists_the_exit_codes() {
        let readme = include_str!("../../README.md");
        for (code, meaning) in EXIT_CODES {
            let row = format!("| {code} | {meaning} |");
            assert!(readme.contains(&row), "README.md must have the row {row}");
        }
    }
}
