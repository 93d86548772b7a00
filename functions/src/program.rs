//! What the programs in `src/bin` do: run one function for Lambda, for as long as there is work.

use aws_config::BehaviorVersion;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;

use crate::error::StepError;
use crate::{Aws, Function, Settings};

/// Asks Lambda's runtime API for work, and runs the function with it.
///
/// # Errors
/// When the template's settings are missing, or there is no runtime API.
pub fn run(function: Function) -> Result<(), lambda_runtime::Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(function))
}

async fn serve(function: Function) -> Result<(), lambda_runtime::Error> {
    tracing_subscriber::fmt().json().with_current_span(true).without_time().with_target(false).init();
    let aws = Aws::new(aws_config::load_defaults(BehaviorVersion::latest()).await, Settings::from_env()?);
    let (function, aws) = (&function, &aws);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        function.handle(event.payload, aws).await.map_err(|error| diagnostic(&error))
    }))
    .await
}

/// The runtime's own conversion would lose the causes and take the Rust type's name for the error's.
fn diagnostic(error: &StepError) -> Diagnostic {
    Diagnostic { error_type: error.name().into(), error_message: error.chain() }
}
