//! The configuration of an unmodified AWS SDK that calls the account.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};

use crate::Account;

impl Account {
    /// The configuration of SDK clients that call this account, on its clock.
    #[must_use]
    pub fn sdk_config(&self, region: &str, retries: RetryConfig) -> SdkConfig {
        let credentials = Credentials::new("AKIDSIMULATED", "simulated", None, None, "simulation");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(self.http_client())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(self.clock())
            .retry_config(retries)
            .build()
    }
}
