//! What Elastic Load Balancing would refuse and only others know, found out before anything is touched: the bucket that
//! access logs go to. Read only when the logs are to be turned on, or to go elsewhere.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use stackdrop_specs::LoadBalancer;

use super::balancer;
use super::observed::Observed;
use crate::aws::error::{Answer, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::Plan;

/// Where S3 says which region a bucket is in, also when it refuses.
const REGION_HEADER: &str = "x-amz-bucket-region";

/// Notes what is wrong with the access logs' bucket.
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
    let answer = work.aws.s3().head_bucket().bucket(bucket).send().await;
    let refusal = answer.as_ref().err().and_then(|error| error.raw_response());
    let status = refusal.map(|answer| answer.status().as_u16());
    let region = match &answer {
        Ok(answer) => answer.bucket_region(),
        Err(_) => refusal.and_then(|answer: &HttpResponse| answer.headers().get(REGION_HEADER)),
    };
    let here = &work.aws.settings.region;
    match (status, region) {
        (Some(404), _) => plan.problem(
            balancer::LOGICAL_ID,
            format!("there is no bucket {bucket} (loadBalancer.accessLogs.bucket)"),
            "create it with a policy that lets the load balancer write, or leave loadBalancer.accessLogs out",
        ),
        (_, Some(region)) if region != here => plan.problem(
            balancer::LOGICAL_ID,
            format!("the bucket {bucket} (loadBalancer.accessLogs.bucket) is in {region}"),
            format!("name one in {here}: a load balancer writes to no other region"),
        ),
        // Another account's bucket may well take the logs, and tell us nothing.
        (None | Some(403), _) if answer.is_ok() || status.is_some() => {}
        _ => return answer.doing(format!("looking for the bucket {bucket}")).map(drop),
    }
    Ok(())
}
