//! Preflight checks of the load balancer: the access logs' bucket. They run only if the plan changes the access logs.

use aws_sdk_s3::types::BucketLocationConstraint;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use stackdrop_specs::LoadBalancer;

use super::balancer;
use super::observed::Observed;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::Plan;

/// S3's header with the bucket's region, which it also sends with an error.
const REGION_HEADER: &str = "x-amz-bucket-region";

/// The region of a bucket. S3 does not name us-east-1, and has an old name for eu-west-1.
/// Source: `GetBucketLocation` in the S3 API reference.
fn region_of(location: Option<&BucketLocationConstraint>) -> &str {
    match location.map(BucketLocationConstraint::as_str) {
        None | Some("") => "us-east-1",
        Some("EU") => "eu-west-1",
        Some(region) => region,
    }
}

/// Plans the problems of the access logs' bucket.
pub(super) async fn plan(
    work: &Work<'_>,
    desired: &LoadBalancer,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let Some(logs) = desired.access_logs.as_ref().filter(|_| balancer::changes_logs(work, observed)) else {
        return Ok(());
    };
    let bucket = &logs.bucket;
    let response = work.aws.s3().get_bucket_location().bucket(bucket).send().await;
    let refusal = response.as_ref().err().and_then(|error| error.raw_response());
    let status = refusal.map(|response| response.status().as_u16());
    let region = match &response {
        Ok(response) => Some(region_of(response.location_constraint())),
        Err(_) => refusal.and_then(|response: &HttpResponse| response.headers().get(REGION_HEADER)),
    };
    let here = &work.aws.settings.region;
    match (status, region) {
        (Some(404), _) => plan.problem(
            balancer::LOGICAL_ID,
            format!("S3 bucket {bucket} (loadBalancer.accessLogs.bucket) does not exist"),
            "create the bucket with a policy that allows the load balancer to write, or remove loadBalancer.accessLogs",
        ),
        (_, Some(region)) if region != here => plan.problem(
            balancer::LOGICAL_ID,
            format!("S3 bucket {bucket} (loadBalancer.accessLogs.bucket) is in {region}"),
            format!("set it to a bucket in {here}: a load balancer writes to no other region"),
        ),
        // Another account's bucket may accept the logs although this role must not read it.
        (Some(403), _) => {}
        _ => return response.doing(format!("looking for S3 bucket {bucket}")).map(drop),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_the_region_that_s3_means() {
        for (location, region) in [
            (None, "us-east-1"),
            (Some(""), "us-east-1"),
            (Some("EU"), "eu-west-1"),
            (Some("eu-central-1"), "eu-central-1"),
        ] {
            let constraint = location.map(BucketLocationConstraint::from);
            assert_eq!(region_of(constraint.as_ref()), region, "{location:?}");
        }
    }
}
