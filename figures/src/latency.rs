//! How long AWS takes.

use crate::table::TABLE;

/// How much longer a database with a standby takes to create: no figure of the model, which has single instances only.
pub const MULTI_AZ_FACTOR: f64 = 1.5;

/// One thing: its name, and p10, p50 and p90 of creating and of deleting it.
pub(crate) type Row = (&'static str, [f64; 3], [f64; 3]);

/// The durations that public logs show (see `latency-model.json` for each figure's source), in seconds.
#[derive(Debug, Clone, Copy)]
pub struct LatencyModel {
    rows: &'static [Row],
}

/// How a duration is spread, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// One in ten is shorter.
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// One in ten is longer.
    pub p90: f64,
}

impl LatencyModel {
    /// The model that comes with Stackdrop.
    #[must_use]
    pub fn built_in() -> Self {
        Self { rows: TABLE }
    }

    fn row(&self, thing: &str) -> Option<&Row> {
        self.rows.iter().find(|(name, _, _)| *name == thing)
    }

    /// How long creating a thing takes; `None` for a thing that the model does not know.
    #[must_use]
    pub fn create(&self, thing: &str) -> Option<Spread> {
        self.row(thing).map(|(_, create, _)| spread(create))
    }

    /// How long deleting a thing takes; `None` for a thing that the model does not know.
    #[must_use]
    pub fn delete(&self, thing: &str) -> Option<Spread> {
        self.row(thing).map(|(_, _, delete)| spread(delete))
    }

    /// The median seconds that creating a thing takes; 0 for a thing that the model does not know.
    #[must_use]
    pub fn create_seconds(&self, thing: &str) -> f64 {
        self.create(thing).map_or(0.0, |spread| spread.p50)
    }

    /// The median seconds that deleting a thing takes; 0 for a thing that the model does not know.
    #[must_use]
    pub fn delete_seconds(&self, thing: &str) -> f64 {
        self.delete(thing).map_or(0.0, |spread| spread.p50)
    }
}

fn spread([p10, p50, p90]: &[f64; 3]) -> Spread {
    Spread { p10: *p10, p50: *p50, p90: *p90 }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{LatencyModel, Spread, TABLE};

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/latency-model.json");
    const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/table.rs");

    /// The rows of the table as the file's figures make them.
    fn rows() -> String {
        let model: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(MODEL).unwrap()).unwrap();
        let mut rows = String::new();
        for (thing, figures) in model["operations"].as_object().unwrap() {
            let spread = |action: &str| ["p10", "p50", "p90"].map(|at| figures[action][at].as_f64().unwrap());
            let (create, delete) = (spread("create"), spread("delete"));
            writeln!(rows, "    (\"{thing}\", {create:?}, {delete:?}),").unwrap();
        }
        rows
    }

    #[test]
    fn the_table_is_made_of_the_file() {
        let source = std::fs::read_to_string(SOURCE).unwrap();
        let (head, _) = source.split_once("&[\n").unwrap();
        let wanted = format!("{head}&[\n{}];\n", rows());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(SOURCE, &wanted).unwrap();
        } else {
            assert_eq!(source, wanted, "`UPDATE=1 cargo test the_table` rewrites it");
        }
    }

    #[test]
    fn a_row_has_the_durations_of_creating_and_of_deleting() {
        let model = LatencyModel::built_in();
        let mut found = 0;
        for (thing, create, delete) in TABLE {
            let spread = |[p10, p50, p90]: [f64; 3]| Spread { p10, p50, p90 };
            assert_eq!(model.create(thing), Some(spread(*create)), "{thing}");
            assert_eq!(model.delete(thing), Some(spread(*delete)), "{thing}");
            assert!((model.create_seconds(thing) - create[1]).abs() < f64::EPSILON, "{thing}");
            assert!((model.delete_seconds(thing) - delete[1]).abs() < f64::EPSILON, "{thing}");
            found += 1;
        }
        assert!(found > 10, "the table has only {found} rows");
    }

    #[test]
    fn an_unknown_thing_has_no_duration() {
        let model = LatencyModel::built_in();
        assert_eq!((model.create("moon"), model.delete("moon")), (None, None));
        assert!(
            model.create_seconds("moon").abs() < f64::EPSILON
                && model.delete_seconds("moon").abs() < f64::EPSILON
        );
    }

    #[test]
    fn no_duration_is_shorter_than_the_one_that_fewer_exceed() {
        for (thing, create, delete) in TABLE {
            for [p10, p50, p90] in [create, delete] {
                assert!(0.0 <= *p10 && p10 <= p50 && p50 <= p90, "{thing}");
            }
        }
    }
}
