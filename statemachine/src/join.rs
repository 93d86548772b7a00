//! Several futures at once, in a fixed order, until all are done or one fails.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// A future that may be moved between threads.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

enum Slot<'a, T, E> {
    Open(Boxed<'a, Result<T, E>>),
    Done(T),
}

/// Runs at most `at_once` of the futures at a time and gives their results in the futures' order. The first
/// failure drops all others, started or not, before it is returned. Always polled in the same order, so that
/// a run under a paused clock is repeatable.
pub(crate) async fn all<T, E>(futures: Vec<Boxed<'_, Result<T, E>>>, at_once: usize) -> Result<Vec<T>, E> {
    let mut slots: Vec<Slot<'_, T, E>> = futures.into_iter().map(Slot::Open).collect();
    poll_fn(|task| {
        let mut running = 0;
        for slot in &mut slots {
            let Slot::Open(future) = slot else { continue };
            if running == at_once {
                break;
            }
            match future.as_mut().poll(task) {
                Poll::Ready(Ok(value)) => *slot = Slot::Done(value),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => running += 1,
            }
        }
        if running == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    let done = |slot| match slot {
        Slot::Done(value) => Some(value),
        Slot::Open(_) => None,
    };
    Ok(slots.into_iter().filter_map(done).collect())
}
