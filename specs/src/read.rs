//! From bytes to a checked spec.

use crate::Spec;
use crate::problem::{Problem, SpecErrors};

/// The largest spec, in bytes: many times what ten services need, and little enough to travel with every step's input
/// (Step Functions carries 256 KiB).
pub const LONGEST_SPEC: usize = 64 * 1024;

impl Spec {
    /// Reads a spec, YAML or JSON, and checks everything about it that can be known without asking AWS.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn read(text: &[u8]) -> Result<Self, SpecErrors> {
        let whole = |message: String, line, column| {
            SpecErrors::new(vec![Problem {
                line,
                column,
                path: String::new(),
                text: String::new(),
                message,
                right: String::new(),
                source: String::new(),
            }])
        };
        if text.len() > LONGEST_SPEC {
            return Err(whole(format!("the spec has {} bytes", text.len()), 1, 1));
        }
        let text = std::str::from_utf8(text).map_err(|error| whole(error.to_string(), 1, 1))?;
        serde_saphyr::from_str(text).map_err(|error| whole(error.to_string(), 1, 1))
    }
}
