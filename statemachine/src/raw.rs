//! The few words that some fields may have, as serde reads them.

use serde::Deserialize;

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

#[derive(Deserialize)]
pub(crate) enum Resource {
    #[serde(rename = "arn:aws:states:::lambda:invoke")]
    LambdaInvoke,
    /// The task is done when somebody answers with its token, not when the function returns.
    #[serde(rename = "arn:aws:states:::lambda:invoke.waitForTaskToken")]
    LambdaInvokeWaitForTaskToken,
}

/// How a Map is run.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ProcessorConfig {
    #[serde(rename = "Mode")]
    _mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    Inline,
}
