//! The sources of a container's secret variables.

/// Whether this ARN is that of a parameter in Systems Manager, not of a secret in Secrets Manager.
#[must_use]
pub fn is_parameter(arn: &str) -> bool {
    arn.split(':').nth(2) == Some("ssm")
}
