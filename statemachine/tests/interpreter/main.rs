//! The interpreter, feature by feature: what it runs, what it refuses, and when things happen.

#[cfg(test)]
mod aborts;
#[cfg(test)]
mod branches;
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
