//! Payload templates (`Parameters`, `ResultSelector`, `ItemSelector`) and their intrinsic functions.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::context::Scope;
use crate::failure::{Failure, names};
use crate::load::{Problem, member};
use crate::path::Path;

/// JSON in which a field whose name ends in `.$` is replaced by what its value selects or computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Template {
    Literal(Value),
    Object(Vec<(String, Template)>),
    Array(Vec<Template>),
    /// With the field's name, `.$` and all.
    Query(String, Query),
}

/// The value of a `.$` field: a path or an intrinsic function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    Path(Path),
    /// An argument as it is; never at the top.
    Literal(Value),
    /// `States.Format`: the pieces around the `{}`; one more than there are arguments.
    Format(Vec<String>, Vec<Query>),
    /// `States.JsonToString`.
    JsonToString(Box<Query>),
    /// `States.StringToJson`.
    StringToJson(Box<Query>),
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
                    let query = Query::parse(text).map_err(|message| Problem::new(&place, message))?;
                    (name, Self::Query(key.clone(), query))
                }
                (Some(_), _) => {
                    return Err(Problem::new(&place, "a `.$` field's value is a path or intrinsic function"));
                }
            };
            if members.iter().any(|(other, _)| other == name) {
                return Err(Problem::new(&place, format!("`{name}` is given twice, with and without `.$`")));
            }
            members.push((name.to_owned(), template));
        }
        Ok(Self::Object(members))
    }

    pub(crate) fn evaluate(&self, scope: Scope<'_>) -> Result<Value, Failure> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Array(items) => items.iter().map(|item| item.evaluate(scope)).collect(),
            Self::Query(field, query) => query.evaluate(field, scope),
            Self::Object(members) => members
                .iter()
                .map(|(name, template)| Ok((name.clone(), template.evaluate(scope)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }

    /// Every path in it.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Array(items) => items.iter().flat_map(Self::paths).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, template)| template.paths()).collect(),
            Self::Query(_, query) => query.paths(),
        }
    }
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, rest: text, depth: 0 };
        let query = reader.query()?;
        if reader.rest.is_empty() { Ok(query) } else { Err(reader.refuse("something follows its end")) }
    }

    /// What the field of this name gets.
    pub(crate) fn evaluate(&self, field: &str, scope: Scope<'_>) -> Result<Value, Failure> {
        match self {
            Self::Path(path) => path.select(&scope).map(Cow::into_owned).ok_or_else(|| {
                let (path, input) = (path.text(), scope.input);
                Failure::runtime(format!(
                    "The JSONPath '{path}' specified for the field '{field}' could not be found in the input \
                     '{input}'"
                ))
            }),
            Self::Literal(value) => Ok(value.clone()),
            Self::Format(pieces, arguments) => {
                let arguments = arguments.iter().map(|argument| argument.evaluate(field, scope));
                format(pieces, &arguments.collect::<Result<Vec<_>, _>>()?)
            }
            Self::JsonToString(argument) => {
                argument.evaluate(field, scope).map(|value| Value::String(value.to_string()))
            }
            Self::StringToJson(argument) => match argument.evaluate(field, scope)? {
                Value::String(text) => serde_json::from_str(&text).map_err(|error| {
                    intrinsic_failure(&format!("States.StringToJson was given '{text}': {error}"))
                }),
                other => {
                    Err(intrinsic_failure(&format!("States.StringToJson was given '{other}', not a string")))
                }
            },
        }
    }

    pub(crate) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Path(path) => vec![path],
            Self::Literal(_) => Vec::new(),
            Self::Format(_, arguments) => arguments.iter().flat_map(Self::paths).collect(),
            Self::JsonToString(argument) | Self::StringToJson(argument) => argument.paths(),
        }
    }
}

fn intrinsic_failure(cause: &str) -> Failure {
    Failure::new(names::INTRINSIC_FAILURE, cause)
}

fn format(pieces: &[String], arguments: &[Value]) -> Result<Value, Failure> {
    let mut text = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        text.push_str(piece);
        match arguments.get(index) {
            None => {}
            Some(Value::String(argument)) => text.push_str(argument),
            Some(argument @ (Value::Null | Value::Bool(_) | Value::Number(_))) => {
                text.push_str(&argument.to_string());
            }
            Some(argument) => {
                return Err(intrinsic_failure(&format!(
                    "States.Format was given '{argument}', an array or object"
                )));
            }
        }
    }
    Ok(Value::String(text))
}

/// AWS allows ten intrinsic functions, one inside the other.
const DEPTH_MAX: usize = 10;

/// Reads `$.path` and `States.Name(argument, …)`.
struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    depth: usize,
}

impl Reader<'_> {
    fn refuse(&self, problem: &str) -> String {
        format!("`{}` is neither a path nor an intrinsic function that is known here: {problem}", self.text)
    }

    fn query(&mut self) -> Result<Query, String> {
        if self.rest.starts_with('$') {
            return self.path().map(Query::Path);
        }
        if self.rest.starts_with("States.") {
            self.call()
        } else {
            Err(self.refuse("it starts with neither `$` nor `States.`"))
        }
    }

    /// A path ends before `,`, `)` or a space, unless these are inside a quoted name.
    fn path(&mut self) -> Result<Path, String> {
        let mut quote = None;
        let ends = |c: char| {
            if quote.is_some() {
                quote = quote.filter(|open| *open != c);
                return false;
            }
            quote = Some(c).filter(|c| matches!(c, '\'' | '"'));
            matches!(c, ',' | ')' | ' ')
        };
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (path, rest) = self.rest.split_at(end);
        self.rest = rest;
        Path::parse(path)
    }

    fn call(&mut self) -> Result<Query, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.refuse("functions are nested too deeply"));
        }
        let Some((name, rest)) = self.rest.split_once('(') else {
            return Err(self.refuse("`(` is missing"));
        };
        self.rest = rest;
        let query = match name {
            "States.Format" => self.format()?,
            "States.JsonToString" => Query::JsonToString(Box::new(self.argument()?)),
            "States.StringToJson" => Query::StringToJson(Box::new(self.argument()?)),
            other => {
                return Err(self.refuse(&format!(
                    "the function `{other}` is not one of Format, JsonToString, StringToJson"
                )));
            }
        };
        self.spaces();
        let Some(rest) = self.rest.strip_prefix(')') else {
            return Err(self.refuse(&format!("`{name}` has too many arguments or no `)`")));
        };
        self.rest = rest;
        self.depth -= 1;
        Ok(query)
    }

    fn format(&mut self) -> Result<Query, String> {
        self.spaces();
        if !self.rest.starts_with('\'') {
            return Err(self.refuse("the first argument of States.Format is a text in single quotes"));
        }
        let pieces = self.pieces()?;
        let mut arguments = Vec::new();
        loop {
            self.spaces();
            let Some(rest) = self.rest.strip_prefix(',') else { break };
            self.rest = rest;
            arguments.push(self.argument()?);
        }
        if pieces.len() != arguments.len() + 1 {
            let (places, given) = (pieces.len() - 1, arguments.len());
            return Err(self.refuse(&format!("States.Format has {places} `{{}}` and {given} arguments")));
        }
        Ok(Query::Format(pieces, arguments))
    }

    fn argument(&mut self) -> Result<Query, String> {
        self.spaces();
        if self.rest.starts_with('\'') {
            let pieces = self.pieces()?;
            return Ok(Query::Literal(Value::String(pieces.join("{}"))));
        }
        if self.rest.starts_with('$') || self.rest.starts_with("States.") {
            return self.query();
        }
        let end = self.rest.find([',', ')', ' ']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match serde_json::from_str(word) {
            Ok(literal @ (Value::Null | Value::Number(_))) => Ok(Query::Literal(literal)),
            _ => Err(self.refuse(&format!("`{word}` is not an argument"))),
        }
    }

    /// A text in single quotes, cut at each `{}`; `\'`, `\\`, `\{` and `\}` stand for the character itself.
    fn pieces(&mut self) -> Result<Vec<String>, String> {
        let mut pieces = vec![];
        let mut piece = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\'' => {
                    self.rest = &self.rest[at + 1..];
                    pieces.push(piece);
                    return Ok(pieces);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\'' | '\\' | '{' | '}'))) => piece.push(escaped),
                    _ => return Err(self.refuse("a `\\` is followed by none of `'`, `\\`, `{`, `}`")),
                },
                '{' if matches!(characters.next(), Some((_, '}'))) => pieces.push(std::mem::take(&mut piece)),
                '{' | '}' => return Err(self.refuse("a `{` or `}` alone is written with `\\` before it")),
                other => piece.push(other),
            }
        }
        Err(self.refuse("a quote is not closed"))
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }
}
