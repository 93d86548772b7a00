//! The steps before and after those of the components.

pub mod admit;
pub mod conclude;
