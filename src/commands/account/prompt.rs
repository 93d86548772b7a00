//! Questions at the terminal.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, Result};

use crate::commands::print;

/// Asks a question and returns the answer; `None` if nobody sits at a terminal.
pub(super) fn ask(question: &str) -> Result<Option<String>> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(None);
    }
    print(question);
    let mut answer = String::new();
    input.lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(Some(answer.trim().to_owned()))
}
