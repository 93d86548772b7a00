//! The parameters of a call, whatever the protocol, and its refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// The separator between the parts of a path. No key that AWS allows contains it.
const SEPARATOR: char = '\u{1f}';

/// An error response of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) status: StatusCode,
    /// Additional headers (S3 reports some facts only there).
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal with status 400, as most are.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            status: StatusCode::BAD_REQUEST,
            headers: Vec::new(),
        }
    }

    /// The same refusal with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same refusal with another HTTP status.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        self
    }
}

/// The parameters of one request, as leaves with paths.
///
/// A leaf that is never read makes [`Params::done`] fail, so a parameter that the simulator does not support is an
/// error. A handler therefore reads all its parameters, calls `done`, and only then changes anything.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    leaves: Arc<BTreeMap<String, Value>>,
    unread: Arc<Mutex<BTreeSet<String>>>,
    checked: Arc<Mutex<bool>>,
    prefix: String,
    body: Bytes,
}

impl Params {
    /// Parameters from leaves: [`join`] joins the parts of a path.
    pub(crate) fn new(leaves: BTreeMap<String, Value>, body: Bytes) -> Self {
        let unread = leaves.keys().cloned().collect();
        Self {
            leaves: Arc::new(leaves),
            unread: Arc::new(Mutex::new(unread)),
            checked: Arc::default(),
            prefix: String::new(),
            body,
        }
    }

    /// The same parameters for inspection: reading them does not mark them as read.
    pub(crate) fn peek(&self) -> Self {
        Self { unread: Arc::default(), checked: Arc::default(), ..self.clone() }
    }

    /// The request's body, for protocols with raw bodies (S3 objects).
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Whether one of the leaves is this text.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.leaves.values().any(|value| value.as_str() == Some(text))
    }

    fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}{SEPARATOR}{key}", self.prefix) }
    }

    /// The leaf at `key` as it was sent, whatever its type.
    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        let path = self.path(key);
        let value = self.leaves.get(&path)?;
        lock(&self.unread).remove(&path);
        (!value.is_null()).then(|| value.clone())
    }

    /// The text at `key`, if it was sent. Numbers and booleans come as their text.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// The text at `key`.
    ///
    /// # Errors
    /// `MissingParameter` when it was not sent or is empty.
    pub(crate) fn required(&self, key: &str) -> Result<String, Refusal> {
        self.text(key).filter(|text| !text.is_empty()).ok_or_else(|| {
            Refusal::new(
                "MissingParameter",
                format!("The request must contain the parameter {}", self.shown(key)),
            )
        })
    }

    /// The whole number at `key`, if it was sent.
    ///
    /// # Errors
    /// `InvalidParameterValue` if the value is not a whole number.
    pub(crate) fn int(&self, key: &str) -> Result<Option<i64>, Refusal> {
        self.parsed(key, "an integer")
    }

    /// The number at `key`, if it was sent.
    ///
    /// # Errors
    /// `InvalidParameterValue` if the value is not a number.
    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>, Refusal> {
        self.parsed(key, "a number")
    }

    /// The boolean at `key`, if it was sent.
    ///
    /// # Errors
    /// `InvalidParameterValue` if the value is not a boolean.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        self.parsed(key, "a boolean")
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, Refusal> {
        self.text(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    Refusal::new(
                        "InvalidParameterValue",
                        format!("Invalid value '{text}' for {}: it is not {what}", self.shown(key)),
                    )
                })
            })
            .transpose()
    }

    /// The list of texts at `key`, empty when it was not sent.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.value(key); // an empty list is a leaf of its own
        self.indexes(key)
            .into_iter()
            .filter_map(|index| self.text(&format!("{key}{SEPARATOR}{index}")))
            .collect()
    }

    /// The list of structures at `key`, empty when it was not sent.
    pub(crate) fn structs(&self, key: &str) -> Vec<Self> {
        self.value(key);
        self.indexes(key).into_iter().map(|index| self.within(&format!("{key}{SEPARATOR}{index}"))).collect()
    }

    /// The structure at `key`, if any part of it was sent (an empty structure counts).
    pub(crate) fn section(&self, key: &str) -> Option<Self> {
        self.has(key).then(|| {
            self.value(key);
            self.within(key)
        })
    }

    /// The map at `key`, empty when it was not sent.
    pub(crate) fn map(&self, key: &str) -> BTreeMap<String, String> {
        self.value(key);
        let section = self.within(key);
        section.keys().into_iter().filter_map(|name| Some((name.clone(), section.text(&name)?))).collect()
    }

    /// Whether anything was sent at `key`, an empty list or structure included.
    pub(crate) fn has(&self, key: &str) -> bool {
        let path = self.path(key);
        let below = format!("{path}{SEPARATOR}");
        self.leaves.contains_key(&path)
            || self.leaves.range(below.clone()..).next().is_some_and(|(leaf, _)| leaf.starts_with(&below))
    }

    /// The names directly below this structure.
    pub(crate) fn keys(&self) -> Vec<String> {
        let prefix =
            if self.prefix.is_empty() { String::new() } else { format!("{}{SEPARATOR}", self.prefix) };
        let names: BTreeSet<String> = self
            .leaves
            .keys()
            .filter_map(|leaf| leaf.strip_prefix(&prefix))
            .filter_map(|rest| rest.split(SEPARATOR).next())
            .map(str::to_owned)
            .collect();
        names.into_iter().collect()
    }

    fn within(&self, key: &str) -> Self {
        Self { prefix: self.path(key), ..self.clone() }
    }

    fn indexes(&self, key: &str) -> Vec<usize> {
        let mut indexes: Vec<usize> =
            self.within(key).keys().iter().filter_map(|name| name.parse().ok()).collect();
        indexes.sort_unstable();
        indexes
    }

    fn shown(&self, key: &str) -> String {
        self.path(key).replace(SEPARATOR, ".")
    }

    /// Marks a structure as read: for parameters without meaning in a simulation.
    pub(crate) fn ignore(&self, key: &str) {
        let path = self.path(key);
        let below = format!("{path}{SEPARATOR}");
        lock(&self.unread).retain(|leaf| *leaf != path && !leaf.starts_with(&below));
    }

    /// Must be called after all parameters were read and before anything is changed.
    ///
    /// # Errors
    /// `UnknownParameter`, naming the first parameter that was sent but not read.
    pub(crate) fn done(&self) -> Result<(), Refusal> {
        *lock(&self.checked) = true;
        match lock(&self.unread).iter().next() {
            None => Ok(()),
            Some(path) => Err(Refusal::new(
                "UnknownParameter",
                format!("The parameter {} is not recognized", path.replace(SEPARATOR, ".")),
            )),
        }
    }

    /// Whether the handler called [`Params::done`].
    pub(crate) fn was_checked(&self) -> bool {
        *lock(&self.checked)
    }
}

/// Joins the parts of a leaf's path.
pub(crate) fn join(parts: &[&str]) -> String {
    parts.join(&SEPARATOR.to_string())
}

/// Turns a JSON document into leaves. Empty lists and objects are leaves of their own; nulls are left out.
pub(crate) fn flatten(value: &Value, path: &str, leaves: &mut BTreeMap<String, Value>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}{SEPARATOR}{name}") };
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                flatten(field, &below(name), leaves);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &below(&index.to_string()), leaves);
            }
        }
        leaf if !path.is_empty() => {
            leaves.insert(path.to_owned(), leaf.clone());
        }
        _ => {}
    }
}

/// Locks a mutex, even after another thread panicked while holding it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
