//! What AWS, or the network on the way there, answered instead of a result.

use std::error::Error;
use std::fmt;

/// An error from AWS (with a code) or from the network (without one).
#[derive(Debug, Clone)]
pub struct AwsError {
    /// AWS's error code; empty if no response arrived.
    pub code: String,
    /// AWS's message, or the connector's.
    pub message: String,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (true, _) => f.write_str(&self.message),
            (false, true) => f.write_str(&self.code),
            (false, false) => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

impl Error for AwsError {}
