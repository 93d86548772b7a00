//! Rehearsals: the real workflow file, the real functions and the real SDK clients against a simulated account, under
//! a paused clock. The command and the tests both drive them through [`Rehearsal`].

pub mod installation;
pub mod rehearsal;
pub mod storm;

pub use installation::{Installation, Template};
pub use rehearsal::{Deployed, Rehearsal, Setting};
