//! What `lambda:invoke` makes of a function's answer.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

/// The result of a Task: the function's answer beside what the SDK tells about the call (Developer Guide,
/// "Invoke a Lambda function"). All of it counts towards the size of a result, so all of it is here.
/// `invocation` tells this one from the execution's others.
pub(crate) fn result(payload: Value, invocation: u64, at: Option<OffsetDateTime>) -> Value {
    let id = format!("00000000-0000-4000-8000-{invocation:012}");
    let trace = format!("root=1-00000000-{invocation:024};parent={invocation:016};sampled=0");
    let length = payload.to_string().len().to_string();
    let date = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = at.and_then(|at| at.format(date).ok()).unwrap_or_default();
    let headers = [
        ("Connection", "keep-alive"),
        ("Content-Length", &length),
        ("Content-Type", "application/json"),
        ("Date", &date),
        ("X-Amz-Executed-Version", "$LATEST"),
        ("X-Amzn-Trace-Id", &trace),
        ("x-amzn-Remapped-Content-Length", "0"),
        ("x-amzn-RequestId", &id),
    ];
    let each = |wrap: fn(&str) -> Value| -> Value {
        headers.iter().map(|(name, value)| ((*name).to_owned(), wrap(value))).collect()
    };
    let mut result = json!({
        "ExecutedVersion": "$LATEST",
        "Payload": null,
        "SdkHttpMetadata": {
            "AllHttpHeaders": each(|value| json!([value])),
            "HttpHeaders": each(|value| json!(value)),
            "HttpStatusCode": 200,
        },
        "SdkResponseMetadata": { "RequestId": id },
        "StatusCode": 200,
    });
    result["Payload"] = payload; // Moved: `json!` would copy it.
    result
}
