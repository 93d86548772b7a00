//! Loads a workflow file: reads it, refuses everything that the interpreter does not support, and checks it.

mod check;
mod conditions;
mod reader;
mod states;
mod tasks;
mod text;

use std::collections::BTreeMap;

use crate::definition::Machine;
use crate::problem::{LoadError, Problem};
use reader::Reader;

/// The largest definition that Step Functions accepts (Developer Guide, "quotas"), bytes.
const DEFINITION_BYTES_MAX: usize = 1024 * 1024;

impl Machine {
    /// Loads a workflow file, with values for its `${Name}` placeholders.
    ///
    /// # Errors
    /// Every part of the file that this interpreter does not support, and every mistake that would make it fail.
    pub fn load(text: &str, substitutions: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        let text = text::substitute(text, substitutions).map_err(|problems| LoadError { problems })?;
        if text.len() > DEFINITION_BYTES_MAX {
            let message =
                format!("the file must have at most {DEFINITION_BYTES_MAX} bytes, found {}", text.len());
            return Err(LoadError { problems: vec![Problem::new("", message)] });
        }
        let json = text::parse(&text).map_err(|problem| LoadError { problems: vec![problem] })?;
        let mut reader = Reader::default();
        let machine = states::machine(&mut reader, json);
        let problems = match &machine {
            Ok(machine) if reader.problems.is_empty() => check::problems(machine),
            _ => reader.problems,
        };
        match machine {
            Ok(machine) if problems.is_empty() => Ok(machine),
            _ => Err(LoadError { problems }),
        }
    }
}
