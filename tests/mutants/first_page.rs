
use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_async::future::pagination_stream::fn_stream::FnStream;

/// The items of the first page only, if the mutant is on: those after which the stream has to wait for a call.
#[must_use]
pub fn first_page<T: Send + 'static>(is_on: bool, mut items: PaginationStream<T>) -> PaginationStream<T> {
    if !is_on {
        return items;
    }
    PaginationStream::new(FnStream::new(move |sender| {
        Box::pin(async move {
            let mut next = items.next().await;
            while let Some(item) = next {
                if sender.send(item).await.is_err() {
                    return;
                }
                next = at_once(&mut items).await;
            }
        })
    }))
}

/// The next item, if the stream already has one. A stream hands an item over in several polls, without waiting.
async fn at_once<T>(items: &mut PaginationStream<T>) -> Option<T> {
    for _ in 0..16 {
        if let std::task::Poll::Ready(item) = futures::poll!(std::pin::pin!(items.next())) {
            return item;
        }
    }
    None
}
