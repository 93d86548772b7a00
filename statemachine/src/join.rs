//! Runs several futures together, in a fixed order, until all are done or one fails.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// A future that can be moved between threads.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

enum Slot<'a, T, E> {
    Open(Boxed<'a, Result<T, E>>),
    Done(T),
}

/// Returns the results in the order of the futures. The first failure drops all other futures before it is returned.
/// The futures are always polled in the same order, so that a run under a paused clock is repeatable.
pub(crate) async fn all<T, E>(futures: Vec<Boxed<'_, Result<T, E>>>) -> Result<Vec<T>, E> {
    let mut slots: Vec<Slot<'_, T, E>> = futures.into_iter().map(Slot::Open).collect();
    poll_fn(|task| {
        let mut is_pending = false;
        for slot in &mut slots {
            let Slot::Open(future) = slot else { continue };
            match future.as_mut().poll(task) {
                Poll::Ready(Ok(value)) => *slot = Slot::Done(value),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => is_pending = true,
            }
        }
        if is_pending { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    let done = |slot| match slot {
        Slot::Done(value) => Some(value),
        Slot::Open(_) => None,
    };
    Ok(slots.into_iter().filter_map(done).collect())
}
