//! Rehearsals: the real workflow file, the real functions and the real SDK clients against a simulated account, under
//! a paused clock. The command and the tests both drive them through [`Rehearsal`].

pub mod rehearsal;
pub mod storm;

pub use rehearsal::{Deployed, Rehearsal, Setting};
