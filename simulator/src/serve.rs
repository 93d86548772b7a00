//! The same account on a loopback port, for SDKs and tools outside this process.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::net::TcpListener;

use crate::account::{Account, Delivery};
use crate::protocol::Request;
use crate::seam::Caller;

/// Answers every request that reaches the listener until the task is dropped.
///
/// A lost connection is answered with 502, since a server cannot un-accept a request; the SDKs retry it alike.
///
/// # Errors
/// When the listener fails.
pub async fn serve(account: Account, listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, Router::new().fallback(answer).with_state(account)).await
}

async fn answer(State(account): State<Account>, parts: Parts, body: Bytes) -> Response {
    let caller = Caller::new(
        parts.headers.get("x-stackdrop-caller").and_then(|name| name.to_str().ok()).unwrap_or_default(),
    );
    match account.call(&caller, Request::from_parts(parts, body)).await {
        Delivery::Answered(response) => {
            let (parts, body) = response.into_parts();
            (parts.status, parts.headers, body).into_response()
        }
        Delivery::Lost | Delivery::Never => StatusCode::BAD_GATEWAY.into_response(),
    }
}
