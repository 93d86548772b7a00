//! Running several calls concurrently, each to its end.
//!
//! A call that was sent takes effect even if nobody awaits its response. A step that returned at the first error would
//! leave calls behind that still create resources, after the rollback has read the observed state.

use std::future::Future;

use futures::future::join_all;

use crate::aws::error::StepError;

/// Runs all futures to their end, then returns the results or the most severe error.
pub(crate) async fn all<T, F>(futures: impl IntoIterator<Item = F>) -> Result<Vec<T>, StepError>
where
    F: Future<Output = Result<T, StepError>>,
{
    let (mut done, mut worst) = (Vec::new(), None);
    // Boxed: the futures of SDK calls are large, and moving them would overflow the stack.
    for result in join_all(futures.into_iter().map(Box::pin)).await {
        match result {
            Ok(result) => done.push(result),
            Err(error) => worst = Some(worse(worst, error)),
        }
    }
    worst.map_or(Ok(done), Err)
}

/// Runs both futures to their end, then returns the results or the more severe error.
pub(crate) async fn both<A, B>(
    a: impl Future<Output = Result<A, StepError>>,
    b: impl Future<Output = Result<B, StepError>>,
) -> Result<(A, B), StepError> {
    let (a, b) = (Box::pin(a), Box::pin(b));
    match futures::join!(a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(worse(Some(a), b)),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// An error that ends the deployment is more severe than one that is retried; while AWS is working on anything, a resource
/// without progress is not reported. Of two errors of one severity, the first counts.
fn worse(first: Option<StepError>, second: StepError) -> StepError {
    let severity = |error: &StepError| match error {
        StepError::Stalled { .. } => 0,
        StepError::Pending(_) | StepError::Transient { .. } => 1,
        _ => 2,
    };
    match first {
        Some(first) if severity(&first) >= severity(&second) => first,
        _ => second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_that_ends_the_deployment_wins_over_one_that_is_retried() {
        let results = [
            Err(StepError::pending("one resource")),
            Ok(1),
            Err(StepError::InvalidSpec("wrong".into())),
            Err(StepError::pending("another")),
        ];
        let all = all(results.into_iter().map(async |result| result)).await;
        assert_eq!(all.unwrap_err().to_string(), "wrong");
        let waits = || async { Err::<(), _>(StepError::pending("the first")) };
        let later = both(waits(), async { Err::<(), _>(StepError::pending("the second")) }).await;
        assert_eq!(later.unwrap_err().to_string(), "waiting for the first");
        let stalled = both(async { Err::<(), _>(StepError::stalled("nothing")) }, waits()).await;
        assert_eq!(stalled.unwrap_err().to_string(), "waiting for the first");
    }
}
