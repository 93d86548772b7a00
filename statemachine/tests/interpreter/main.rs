//! The interpreter, feature by feature: what it runs, what it refuses, and when things happen.
//!
//! Each module says `cfg(test)`, because clippy's leave to `unwrap` in tests ends where that is not said.

#[cfg(test)]
mod aborts;
#[cfg(test)]
mod branches;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod data;
#[cfg(test)]
mod describes;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod refuses;
#[cfg(test)]
mod support;
