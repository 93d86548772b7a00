//! What the tests of every service need: an account, and an unmodified SDK that talks to it.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use stackdrop_simulator::{Account, Options};

/// An empty account at the model's medians.
pub(crate) fn account() -> Account {
    Account::open(&Options::default()).unwrap()
}

/// The configuration of an SDK that talks to the account, without retries: a refusal is seen as it is.
pub(crate) fn sdk(account: &Account) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "AKIDSIMULATED",
            "simulated",
            None,
            None,
            "simulation",
        )))
        .http_client(account.http_client())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(account.clock())
        .retry_config(RetryConfig::disabled())
        .build()
}
