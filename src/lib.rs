//! Rehearsals: the real workflow file, the real functions and the real SDK clients against a simulated account, under
//! a paused clock. The command and the tests run them through [`Rehearsal`].

pub mod chaos;
pub mod installation;
pub mod rehearsal;

pub use installation::{Installation, Template};
pub use rehearsal::{Deployed, Rehearsal, Setting};
