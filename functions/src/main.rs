//! The program of every Lambda function: reads which one it is, and runs it.

use aws_config::BehaviorVersion;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use stackdrop_functions::error::StepError;
use stackdrop_functions::{Aws, Settings, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing_subscriber::fmt().json().with_current_span(true).without_time().with_target(false).init();
    let function = std::env::var("_HANDLER")?;
    let aws = Aws::new(&aws_config::load_defaults(BehaviorVersion::latest()).await, Settings::from_env()?);
    let (function, aws) = (&function, &aws);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        handle(function, event.payload, aws).await.map_err(|error| diagnostic(&error))
    }))
    .await
}

/// The runtime's own conversion would lose the causes and take the Rust type's name for the error's.
fn diagnostic(error: &StepError) -> Diagnostic {
    Diagnostic { error_type: error.name().into(), error_message: error.chain() }
}
