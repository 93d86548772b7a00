//! An account on a loopback port, for SDKs and tools outside this process.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::net::TcpListener;

use crate::account::{Account, Delivery, LARGEST_BODY};
use crate::caller::Caller;
use crate::protocol;
use crate::services::iam;

/// The header with the caller's name for the call log.
const CALLER: &str = "x-stackdrop-caller";
/// The header with the name of a role of the account: IAM then decides the call by that role's permissions.
const ROLE: &str = "x-stackdrop-role";

/// Answers every request that reaches the listener until the task is dropped.
///
/// A lost connection is answered with 502, since a server cannot un-accept a request; SDKs retry both alike.
///
/// # Errors
/// If the listener fails.
pub async fn serve(account: Account, listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, Router::new().fallback(answer).with_state(account)).await
}

async fn answer(State(account): State<Account>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let mut caller = Caller::new(header(CALLER).unwrap_or_default());
    if let Some(role) = header(ROLE) {
        match account.with(|world| iam::role_arn(world, role)) {
            Some(arn) => caller = caller.acting_as(&arn, role),
            None => return (StatusCode::FORBIDDEN, format!("there is no role {role}")).into_response(),
        }
    }
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match account.call(&caller, protocol::Request::from_parts(parts, body)).await {
        Delivery::Answered(response) => response.map(Body::from),
        Delivery::Lost | Delivery::Never => StatusCode::BAD_GATEWAY.into_response(),
    }
}
