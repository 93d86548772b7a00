//! Payload templates (`Parameters`, `ResultSelector`), and the texts of Fail states.

use serde_json::{Map, Value};

use crate::context::Scope;
use crate::failure::Failure;
use crate::path::Path;
use crate::problem::{Problem, member};

/// JSON in which each field whose name ends in `.$` is replaced by the value that its path selects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Template {
    Literal(Value),
    Object(Vec<(String, Template)>),
    Array(Vec<Template>),
    /// With the field's name, including `.$`.
    Path(String, Path),
}

impl Template {
    /// Reads the template at a JSON pointer.
    pub(crate) fn read(value: &Value, pointer: &str) -> Result<Self, Problem> {
        match value {
            Value::Object(object) => Self::read_object(object, pointer),
            Value::Array(items) => {
                let read = |(index, item)| Self::read(item, &member(pointer, &format!("{index}")));
                items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self::Array)
            }
            other => Ok(Self::Literal(other.clone())),
        }
    }

    fn read_object(object: &Map<String, Value>, pointer: &str) -> Result<Self, Problem> {
        let mut members = Vec::with_capacity(object.len());
        for (key, value) in object {
            let place = member(pointer, key);
            let (name, template) = match (key.strip_suffix(".$"), value) {
                (None, value) => (key.as_str(), Self::read(value, &place)?),
                (Some(name), Value::String(text)) => {
                    let path = Path::parse(text).map_err(|message| Problem::new(&place, message))?;
                    (name, Self::Path(key.clone(), path))
                }
                (Some(_), _) => {
                    return Err(Problem::new(&place, "the value of a `.$` field must be a path"));
                }
            };
            if members.iter().any(|(other, _)| other == name) {
                let message = format!("duplicate field `{name}`, with and without `.$`");
                return Err(Problem::new(&place, message));
            }
            members.push((name.to_owned(), template));
        }
        Ok(Self::Object(members))
    }

    pub(crate) fn evaluate(&self, scope: Scope<'_>) -> Result<Value, Failure> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Array(items) => items.iter().map(|item| item.evaluate(scope)).collect(),
            Self::Path(field, path) => Ok(path.field_value(field, scope)?.into_owned()),
            Self::Object(members) => members
                .iter()
                .map(|(name, template)| Ok((name.clone(), template.evaluate(scope)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }
}

/// The error or the cause of a Fail state.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Fixed(String),
    /// With the field's name.
    Path(&'static str, Path),
}

impl Text {
    pub(crate) fn evaluate(&self, scope: Scope<'_>) -> Result<String, Failure> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Path(field, path) => match path.field_value(field, scope)?.into_owned() {
                Value::String(text) => Ok(text),
                other => Err(Failure::runtime(format!("The {field} field is a string, not '{other}'."))),
            },
        }
    }
}
