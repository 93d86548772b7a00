//! Reads what is particular to each kind of state.

use std::time::Duration;

use serde_json::{Map as Object, Value};

use crate::definition::{Chain, Map, StateKind, Task, Work};
use crate::load::{Loader, Problem, Read, Told, member};
use crate::path::Path;
use crate::raw::Resource;
use crate::template::{Query, Template};
use crate::value::{Delay, Text};

/// How many iterations of an inline Map run at a time at most (Developer Guide, "Map state").
const MAP_ITERATIONS_MAX: usize = 40;

impl Loader {
    /// `parameters` are the state's, read and as they are written.
    pub(crate) fn work(
        &mut self,
        kind: StateKind,
        mut object: Object<String, Value>,
        parameters: Option<&(Template, Value)>,
        pointer: &str,
    ) -> Read<Work> {
        match kind {
            StateKind::Task => self.task(&mut object, parameters, pointer),
            StateKind::Choice => self.choice(&mut object, pointer),
            StateKind::Pass if parameters.is_some() && object.contains_key("Result") => {
                self.refuse(pointer, "it has both `Parameters` and `Result`, which takes their place")
            }
            StateKind::Pass => Ok(Work::Pass { result: object.remove("Result") }),
            StateKind::Parallel => self.parallel(&mut object, pointer),
            StateKind::Map => self.map(&mut object, pointer),
            StateKind::Wait => self.wait(&mut object, pointer),
            StateKind::Succeed => Ok(Work::Succeed),
            StateKind::Fail => self.fail(&mut object, pointer),
        }
    }

    fn task(
        &mut self,
        object: &mut Object<String, Value>,
        parameters: Option<&(Template, Value)>,
        pointer: &str,
    ) -> Read<Work> {
        let resource = self.required::<Resource>(object, "Resource", pointer);
        let timeout_seconds = self.seconds(object, "TimeoutSeconds", 1, pointer);
        let call = self.call(parameters, pointer);
        let waits_for_token = matches!(resource?, Resource::LambdaInvokeWaitForTaskToken);
        let (function, payload, payload_text) = call?;
        if waits_for_token && !payload_text.to_string().contains("$$.Task.Token") {
            return self.refuse(pointer, "nobody could answer it: its payload lacks `$$.Task.Token`");
        }
        let timeout_seconds = timeout_seconds?;
        if waits_for_token && timeout_seconds.is_none() {
            return self.refuse(pointer, "it would wait for ever: it needs `TimeoutSeconds`");
        }
        Ok(Work::Task(Task { function, payload, payload_text, timeout_seconds, waits_for_token }))
    }

    /// The function, its payload, and how that is written.
    fn call(
        &mut self,
        parameters: Option<&(Template, Value)>,
        pointer: &str,
    ) -> Read<(String, Template, Value)> {
        let Some((Template::Object(members), written)) = parameters else {
            return self.refuse(pointer, "it needs `Parameters` with `FunctionName` and `Payload`");
        };
        let place = member(pointer, "Parameters");
        let before = self.problems.len();
        let (mut function, mut payload) = (None, None);
        for (name, template) in members {
            let key = if written.get(name).is_some() { name.clone() } else { format!("{name}.$") };
            match (name.as_str(), template) {
                ("FunctionName", Template::Literal(Value::String(name))) if !name.is_empty() => {
                    function = Some(name.clone());
                }
                ("Payload", template) => payload = Some(template.clone()),
                ("FunctionName", _) => {
                    self.complain(&member(&place, &key), "it is a text, the same for every run");
                }
                (other, _) => {
                    let message = format!("`{other}` is neither `FunctionName` nor `Payload`");
                    self.complain(&member(&place, &key), message);
                }
            }
        }
        if self.problems.len() > before {
            return Err(Told);
        }
        let payload_text = ["Payload", "Payload.$"].iter().find_map(|name| written.get(*name)).cloned();
        match (function, payload, payload_text) {
            (Some(function), Some(payload), Some(text)) => Ok((function, payload, text)),
            _ => self.refuse(&place, "it needs `FunctionName` and `Payload`"),
        }
    }

    fn choice(&mut self, object: &mut Object<String, Value>, pointer: &str) -> Read<Work> {
        let choices: Read<Vec<Value>> = self.required(object, "Choices", pointer);
        let place = member(pointer, "Choices");
        let rules = choices.and_then(|choices| {
            if choices.is_empty() { self.refuse(&place, "it is empty") } else { self.each(choices, &place) }
        });
        // Without it, an execution could end with States.NoChoiceMatched.
        let default = self.required(object, "Default", pointer);
        Ok(Work::Choice { rules: rules?, default: default? })
    }

    fn parallel(&mut self, object: &mut Object<String, Value>, pointer: &str) -> Read<Work> {
        let written: Vec<Value> = self.required(object, "Branches", pointer)?;
        let place = member(pointer, "Branches");
        if written.is_empty() {
            return self.refuse(&place, "it is empty");
        }
        let read: Vec<Read<Chain>> = written
            .into_iter()
            .enumerate()
            .map(|(index, branch)| self.branch(branch, &member(&place, &index.to_string())))
            .collect();
        let branches = read.into_iter().collect::<Read<Vec<_>>>()?;
        Ok(Work::Parallel { branches })
    }

    fn map(&mut self, object: &mut Object<String, Value>, pointer: &str) -> Read<Work> {
        let selector = self.template(object, "ItemSelector", pointer);
        let items: Read<Option<Path>> = self.field(object, "ItemsPath", pointer);
        let at_once = self.field(object, "MaxConcurrency", pointer).and_then(|at_once| match at_once {
            0 => Ok(MAP_ITERATIONS_MAX),
            1..=MAP_ITERATIONS_MAX => Ok(at_once),
            _ => {
                let message = format!("an inline Map runs at most {MAP_ITERATIONS_MAX} iterations at a time");
                self.refuse(&member(pointer, "MaxConcurrency"), message)
            }
        });
        let processor = self.required(object, "ItemProcessor", pointer);
        let chain = processor.and_then(|chain| self.processor(chain, &member(pointer, "ItemProcessor")));
        Ok(Work::Map(Box::new(Map {
            items: items?.unwrap_or_else(Path::whole_input),
            selector: selector?.map(|(template, _)| template),
            at_once: at_once?,
            chain: chain?,
        })))
    }

    fn wait(&mut self, object: &mut Object<String, Value>, pointer: &str) -> Read<Work> {
        let seconds = self.seconds(object, "Seconds", 0, pointer);
        let path: Read<Option<Path>> = self.field(object, "SecondsPath", pointer);
        match (seconds?, path?) {
            (Some(seconds), None) => Ok(Work::Wait(Delay::Fixed(Duration::from_secs(seconds.into())))),
            (None, Some(path)) => Ok(Work::Wait(Delay::Selected(path))),
            _ => self.refuse(pointer, "a Wait needs either `Seconds` or `SecondsPath`"),
        }
    }

    fn fail(&mut self, object: &mut Object<String, Value>, pointer: &str) -> Read<Work> {
        if !object.contains_key("Error") && !object.contains_key("ErrorPath") {
            self.complain(pointer, "a Fail needs `Error` or `ErrorPath`, or nobody can tell it from another");
        }
        let error = self.text(object, "Error", "ErrorPath", pointer);
        let cause = self.text(object, "Cause", "CausePath", pointer);
        Ok(Work::Fail { error: error?, cause: cause? })
    }

    /// One of the two fields; neither is the empty text.
    fn text(
        &mut self,
        object: &mut Object<String, Value>,
        name: &str,
        path_name: &'static str,
        pointer: &str,
    ) -> Read<Text> {
        let fixed: Read<Option<String>> = self.field(object, name, pointer);
        let selected: Read<Option<String>> = self.field(object, path_name, pointer);
        match (fixed?, selected?) {
            (fixed, None) => Ok(Text::Fixed(fixed.unwrap_or_default())),
            (None, Some(query)) => {
                let place = member(pointer, path_name);
                let query = Query::parse(&query).map_err(|message| Problem::new(&place, message));
                match self.keep(query)? {
                    // What it makes is no text, as a rule (Developer Guide, "Fail state": not in its list).
                    Query::StringToJson(_) => self.refuse(&place, "`States.StringToJson` makes no text"),
                    query => Ok(Text::Selected(path_name, query)),
                }
            }
            (Some(_), Some(_)) => self.refuse(pointer, format!("it has both `{name}` and `{path_name}`")),
        }
    }
}
