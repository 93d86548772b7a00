//! Tests of the interpreter, one module for each group of features.
//!
//! Each module has `cfg(test)`, because clippy allows `unwrap` only in modules that have it.

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
mod outcomes;
#[cfg(test)]
mod refuses;
#[cfg(test)]
mod resumes;
#[cfg(test)]
mod support;
