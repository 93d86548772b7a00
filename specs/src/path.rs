//! Paths in a spec, such as `services.web.routes[0].path`.

use std::fmt;

use serde_json::Value;

use crate::shape::resolve;

/// One step down: into a map by its key, or into a list by its index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// The steps from the spec's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<&String> for Step {
    fn from(key: &String) -> Self {
        Self::Key(key.clone())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// `at!["services", name, "routes", 0]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { $crate::path::Path(vec![$($step.into()),*]) };
}
pub(crate) use at;

impl Path {
    pub(crate) fn child(&self, step: impl Into<Step>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }

    /// The path as far as the schema knows it: `*` stands for a key that a spec's author chooses, and nothing follows an unknown
    /// key.
    pub(crate) fn known(&self, root: &Value) -> String {
        let (mut path, mut schema) = (Self::default(), root.clone());
        for step in &self.0 {
            let inner = resolve(root, &schema);
            let (known, next) = match step {
                Step::Index(index) => (Step::Index(*index), inner.get("items")),
                Step::Key(key) => match inner.get("properties").and_then(|known| known.get(key)) {
                    Some(property) => (Step::Key(key.clone()), Some(property)),
                    None => (Step::Key("*".to_owned()), inner.get("additionalProperties")),
                },
            };
            let Some(next) = next.filter(|schema| schema.is_object()) else { break };
            schema = next.clone();
            path.0.push(known);
        }
        path.to_string()
    }

    /// Whether the path is `other`, or inside of it.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if index > 0 {
                        f.write_str(".")?;
                    }
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if key == "*" || (!key.is_empty() && key.len() <= 128 && key.chars().all(plain)) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{:?}", crate::problem::shortened(key))?;
                    }
                }
            }
        }
        Ok(())
    }
}
