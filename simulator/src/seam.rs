//! Where an unmodified SDK in this process meets the account: the SDK's HTTP client seam.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use tokio::sync::Notify;

use crate::account::{Account, Delivery};
use crate::authorization::Principal;
use crate::protocol::Request;

tokio::task_local! {
    static CALLER: Caller;
}

/// Who makes calls: a name for the ledger, whose permissions it has, and the means by which a fault kills it.
#[derive(Debug, Clone)]
pub struct Caller {
    name: Arc<str>,
    principal: Arc<Principal>,
    killed: Arc<Notify>,
}

/// Whoever owns the account.
impl Default for Caller {
    fn default() -> Self {
        Self::new("")
    }
}

impl Caller {
    /// A caller with a name such as `network/ensure`, who may do everything.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), principal: Arc::new(Principal::Owner), killed: Arc::default() }
    }

    /// The same caller with the permissions of a role (its ARN), in a session of this name.
    #[must_use]
    pub fn acting_as(self, role: &str, session: &str) -> Self {
        let principal = Principal::Role { arn: role.into(), session: session.into() };
        Self { principal: Arc::new(principal), ..self }
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until a fault kills this caller: whoever runs it must then drop it, as Lambda would.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    pub(crate) fn kill(&self) {
        self.killed.notify_one();
    }
}

/// Runs `work` so that the calls it makes through an account's HTTP client are written down as `caller`'s.
pub async fn as_caller<T>(caller: Caller, work: impl Future<Output = T>) -> T {
    CALLER.scope(caller, work).await
}

#[derive(Debug, Clone)]
struct Seam(Account);

impl Account {
    /// The HTTP client to give to an SDK's configuration.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(Seam(self.clone()))
    }
}

impl HttpClient for Seam {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Seam {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let account = self.0.clone();
        let caller = CALLER.try_with(Clone::clone).unwrap_or_default();
        HttpConnectorFuture::new(async move {
            let request = read(request).await?;
            // A task of its own: a request that was sent takes effect, whether or not the caller is still there.
            let call = tokio::spawn(async move { account.call(&caller, request).await });
            match call.await.map_err(|error| ConnectorError::other(error.into(), None))? {
                Delivery::Answered(response) => write(response),
                Delivery::Lost | Delivery::Never => {
                    Err(ConnectorError::io("the connection was closed before an answer came".into()))
                }
            }
        })
    }
}

async fn read(request: HttpRequest) -> Result<Request, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(ConnectorError::io)?.to_bytes();
    Ok(Request::from_parts(parts, body))
}

fn write(response: http::Response<bytes::Bytes>) -> Result<HttpResponse, ConnectorError> {
    let (parts, body) = response.into_parts();
    let status =
        StatusCode::try_from(parts.status.as_u16()).map_err(|error| ConnectorError::user(error.into()))?;
    let mut answer = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &parts.headers {
        let value = value.to_str().map_err(|error| ConnectorError::user(error.into()))?;
        answer.headers_mut().insert(name.as_str().to_owned(), value.to_owned());
    }
    Ok(answer)
}
