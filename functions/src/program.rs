//! The main loop of the programs in `src/bin`: each runs one function in Lambda.

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;

use crate::aws::error::StepError;
use crate::{Aws, Function, Settings};

/// Polls Lambda's runtime API for invocations and runs the function for each.
///
/// # Errors
/// If the template's settings are missing, or the runtime API does not respond.
pub fn run(function: Function) -> Result<(), lambda_runtime::Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(function))
}

async fn serve(function: Function) -> Result<(), lambda_runtime::Error> {
    tracing_subscriber::fmt().json().with_current_span(true).without_time().with_target(false).init();
    let settings = Settings::from_env()?;
    let aws = Aws::new(config(&settings.region), settings);
    let (function, aws) = (&function, &aws);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        function.handle(event.payload, aws).await.map_err(|error| diagnostic(&error))
    }))
    .await
}

/// The configuration that `aws_config` would find in Lambda. Its search also supports profiles, metadata services and
/// single sign-on, which would be a tenth of the program's size. All services share one HTTP client, which reads the
/// system's certificates once.
fn config(region: &str) -> SdkConfig {
    let tls = Provider::Rustls(CryptoMode::AwsLc);
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https());
    // Tests redirect the functions to another endpoint.
    config.set_endpoint_url(std::env::var("AWS_ENDPOINT_URL").ok());
    config.build()
}

/// The runtime's own conversion would drop the causes and report the Rust type's name as the error's name.
fn diagnostic(error: &StepError) -> Diagnostic {
    Diagnostic { error_type: error.name().into(), error_message: error.chain() }
}
