//! The shape of a workflow file's parts, as serde reads them. A field named `_…` is only checked.

use serde::Deserialize;
use serde_json::{Map as Object, Value};

use crate::choice::Rule;
use crate::path::{Filter, Path, ResultPath};
use crate::retry::{Catcher, Retrier};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawMachine {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    #[serde(rename = "Version")]
    _version: Option<Version>,
    #[serde(rename = "QueryLanguage")]
    _query_language: Option<QueryLanguage>,
    pub(crate) start_at: String,
    pub(crate) timeout_seconds: Option<u32>,
    pub(crate) states: Object<String, Value>,
}

#[derive(Deserialize)]
pub(crate) enum Version {
    #[serde(rename = "1.0")]
    One,
}

#[derive(Deserialize)]
pub(crate) enum QueryLanguage {
    #[serde(rename = "JSONPath")]
    JsonPath,
}

/// A branch of a Parallel, or a Map's processor (which alone may say how it is processed).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawChain {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    pub(crate) processor_config: Option<ProcessorConfig>,
    pub(crate) start_at: String,
    pub(crate) states: Object<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ProcessorConfig {
    #[serde(rename = "Mode")]
    _mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Mode {
    Inline,
}

/// What several kinds of states have in common; templates are read apart, for their own pointers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Common {
    #[serde(rename = "Comment")]
    _comment: Option<String>,
    #[serde(default)]
    pub(crate) input_path: Filter,
    #[serde(default)]
    pub(crate) output_path: Filter,
    #[serde(default)]
    pub(crate) result_path: ResultPath,
    #[serde(default)]
    pub(crate) retry: Vec<Retrier>,
    #[serde(default)]
    pub(crate) catch: Vec<Catcher>,
    pub(crate) next: Option<String>,
    pub(crate) end: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawTask {
    #[serde(rename = "Resource")]
    _resource: Resource,
    pub(crate) timeout_seconds: Option<u32>,
}

#[derive(Deserialize)]
pub(crate) enum Resource {
    #[serde(rename = "arn:aws:states:::lambda:invoke")]
    LambdaInvoke,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawChoice {
    pub(crate) choices: Vec<Rule>,
    pub(crate) default: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawMap {
    pub(crate) items_path: Option<Path>,
    #[serde(default)]
    pub(crate) max_concurrency: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawWait {
    pub(crate) seconds: Option<u32>,
    pub(crate) seconds_path: Option<Path>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RawFail {
    pub(crate) error: Option<String>,
    pub(crate) error_path: Option<String>,
    pub(crate) cause: Option<String>,
    pub(crate) cause_path: Option<String>,
}
