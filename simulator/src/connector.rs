//! The HTTP client that connects an unmodified SDK in this process to an account.

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

use crate::account::{Account, Delivery};
use crate::caller::Caller;
use crate::protocol::Request;

/// Sends an SDK's requests to an account instead of the network.
#[derive(Debug, Clone)]
struct Connector(Account);

impl Account {
    /// The HTTP client for an SDK's configuration.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(Connector(self.clone()))
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let account = self.0.clone();
        let caller = Caller::current();
        HttpConnectorFuture::new(async move {
            let request = read(request).await?;
            // A separate task: a request that was sent takes effect even if the caller is dropped.
            let call = tokio::spawn(async move { account.call(&caller, request).await });
            match call.await.map_err(|error| ConnectorError::other(error.into(), None))? {
                Delivery::Answered(response) => write(response),
                Delivery::Lost | Delivery::Never => {
                    Err(ConnectorError::io("the connection was closed before a response arrived".into()))
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
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &parts.headers {
        let value = value.to_str().map_err(|error| ConnectorError::user(error.into()))?;
        response.headers_mut().insert(name.as_str().to_owned(), value.to_owned());
    }
    Ok(response)
}
