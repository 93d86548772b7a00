//! Reads the fields of JSON objects, and keeps every problem instead of stopping at the first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::{Problem, member, not_supported, pointer_of};

/// The longest `TimeoutSeconds` (Developer Guide, "Task workflow state").
const SECONDS_MAX: u32 = 99_999_999;

/// Returned in place of a value that could not be read: the reader already has the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

pub(super) type Read<T> = Result<T, Reported>;

/// One object of the file.
pub(super) struct Object {
    /// What messages call it, such as "the Task state `Plan`".
    pub(super) what: String,
    pub(super) pointer: String,
    pub(super) members: Map<String, Value>,
}

impl Object {
    /// The JSON pointer of a field.
    pub(super) fn place(&self, field: &str) -> String {
        member(&self.pointer, field)
    }
}

/// Continues after a problem wherever it can, so that all problems are reported together.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn report(&mut self, pointer: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(pointer, message));
    }

    pub(super) fn refuse<T>(&mut self, pointer: &str, message: impl Into<String>) -> Read<T> {
        self.report(pointer, message);
        Err(Reported)
    }

    pub(super) fn keep<T>(&mut self, result: Result<T, Problem>) -> Read<T> {
        result.map_err(|problem| {
            self.problems.push(problem);
            Reported
        })
    }

    pub(super) fn object(&mut self, value: Value, what: &str, pointer: &str) -> Read<Object> {
        match value {
            Value::Object(members) => {
                Ok(Object { what: what.to_owned(), pointer: pointer.to_owned(), members })
            }
            _ => self.refuse(pointer, format!("{what} must be an object")),
        }
    }

    /// Reports every field that the interpreter does not have, and drops it.
    pub(super) fn supported(&mut self, object: &mut Object, supported: &[&str]) {
        let Object { what, pointer, members } = object;
        members.retain(|field, _| {
            let is_supported = supported.contains(&field.as_str());
            if !is_supported {
                self.report(
                    &member(pointer, field),
                    not_supported(&format!("`{field}` of {what}"), supported),
                );
            }
            is_supported
        });
    }

    /// Reads JSON into a type; a problem inside it is reported with its own pointer.
    pub(super) fn value<T: DeserializeOwned>(&mut self, value: Value, pointer: &str) -> Read<T> {
        let result = serde_path_to_error::deserialize(value).map_err(|error| {
            let place = format!("{pointer}{}", pointer_of(error.path()));
            Problem::new(&place, error.inner().to_string())
        });
        self.keep(result)
    }

    /// Takes a field out of an object; `None` if it is absent.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        object: &mut Object,
        field: &str,
    ) -> Read<Option<T>> {
        match object.members.remove(field) {
            None => Ok(None),
            // serde would read it as an absent field.
            Some(Value::Null) => self.refuse(&object.place(field), format!("`{field}` must not be null")),
            Some(value) => self.value(value, &object.place(field)).map(Some),
        }
    }

    /// Takes a field out of an object that must have it.
    pub(super) fn required<T: DeserializeOwned>(&mut self, object: &mut Object, field: &str) -> Read<T> {
        match self.optional(object, field)? {
            Some(value) => Ok(value),
            None => self.refuse(&object.pointer, format!("{} must have `{field}`", object.what)),
        }
    }

    /// Takes an array out of an object that must have it; the array must not be empty.
    pub(super) fn array(&mut self, object: &mut Object, field: &str) -> Read<Vec<Value>> {
        let values: Vec<Value> = self.required(object, field)?;
        if values.is_empty() {
            return self.refuse(&object.place(field), format!("`{field}` must not be empty"));
        }
        Ok(values)
    }

    /// Reads each value of an array, so that each reports its own problems.
    pub(super) fn each<T>(
        &mut self,
        values: Vec<Value>,
        pointer: &str,
        mut read: impl FnMut(&mut Self, Value, &str) -> Read<T>,
    ) -> Read<Vec<T>> {
        let values = values.into_iter().enumerate();
        let results: Vec<Read<T>> =
            values.map(|(index, value)| read(self, value, &member(pointer, &index.to_string()))).collect();
        results.into_iter().collect()
    }

    /// The `TimeoutSeconds` of a task or of the whole machine.
    pub(super) fn timeout_seconds(&mut self, object: &mut Object) -> Read<Option<u32>> {
        let seconds: Option<u32> = self.optional(object, "TimeoutSeconds")?;
        if seconds.is_some_and(|seconds| !(1..=SECONDS_MAX).contains(&seconds)) {
            let message = format!("`TimeoutSeconds` must be between 1 and {SECONDS_MAX}");
            return self.refuse(&object.place("TimeoutSeconds"), message);
        }
        Ok(seconds)
    }

    /// `Comment` is for people; it must be a text.
    pub(super) fn comment(&mut self, object: &mut Object) -> Read<()> {
        self.optional::<String>(object, "Comment").map(|_| ())
    }
}
