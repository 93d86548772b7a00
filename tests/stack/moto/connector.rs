//! An HTTP client that sends the calls of a stack's own services to moto, and all others to the simulated account.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

/// The services that a stack consists of, by their signing names.
const OF_STACKS: [&str; 13] = [
    "acm",
    "application-autoscaling",
    "ec2",
    "ecr",
    "ecs",
    "elasticloadbalancing",
    "iam",
    "logs",
    "rds",
    "route53",
    "secretsmanager",
    "servicequotas",
    "ssm",
];

/// The calls to moto so far, and which operation a test lets it refuse.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Arc<Mutex<(Vec<String>, Option<String>)>>);

impl Calls {
    /// The operations that can change something, such as `ec2:CreateVpc`, since the last time.
    pub(super) fn take_writes(&self) -> Vec<String> {
        let all = std::mem::take(&mut self.0.lock().unwrap().0);
        all.into_iter().filter(|call| writes(call)).collect()
    }

    /// From now on, this operation is refused; `None` refuses nothing.
    pub(super) fn refuse(&self, operation: Option<&str>) {
        self.0.lock().unwrap().1 = operation.map(str::to_owned);
    }

    /// Notes a call. Whether it is refused.
    fn note(&self, call: &str) -> bool {
        let mut calls = self.0.lock().unwrap();
        calls.0.push(call.to_owned());
        calls.1.as_deref() == Some(call)
    }
}

fn writes(call: &str) -> bool {
    let operation = call.split(':').nth(1).unwrap_or_default();
    !["Describe", "List", "Get", "BatchGet"].iter().any(|verb| operation.starts_with(verb))
}

/// The HTTP client: the account's own, and moto's port.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub(super) account: SharedHttpClient,
    pub(super) moto: u16,
    pub(super) calls: Calls,
}

impl HttpClient for Split {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            account: self.account.http_connector(settings, components),
            moto: self.moto,
            calls: self.calls.clone(),
        })
    }
}

#[derive(Debug)]
struct Connector {
    account: SharedHttpConnector,
    moto: u16,
    calls: Calls,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = service(&request);
        if !OF_STACKS.contains(&service.as_str()) {
            return self.account.call(request);
        }
        if self.calls.note(&format!("{service}:{}", operation(&request))) {
            return HttpConnectorFuture::ready(Ok(refusal(&service)));
        }
        HttpConnectorFuture::ready(
            exchange(self.moto, &request).map_err(|error| ConnectorError::io(error.into())),
        )
    }
}

fn service(request: &HttpRequest) -> String {
    let scope = request.headers().get("authorization").and_then(|text| text.split("Credential=").nth(1));
    scope.and_then(|scope| scope.split('/').nth(3)).unwrap_or_default().to_owned()
}

/// The operation: from the target, the form, or for Route 53 from its method and the end of its path.
fn operation(request: &HttpRequest) -> String {
    if let Some(target) = request.headers().get("x-amz-target") {
        return target.rsplit('.').next().unwrap().to_owned();
    }
    let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default());
    if let Some(action) = body.split('&').find_map(|part| part.strip_prefix("Action=")) {
        return action.to_owned();
    }
    let is_write = request.method() != "GET";
    let place = request.uri().split('?').next().unwrap().rsplit('/').find(|part| !part.is_empty()).unwrap();
    format!("{}{place}", if is_write { "Change" } else { "Get" })
}

/// A refusal in the protocol of the service.
fn refusal(service: &str) -> HttpResponse {
    let (code, why) = ("RefusedByTest", "the test says no");
    let forms: BTreeSet<&str> = ["elasticloadbalancing", "iam", "rds", "route53"].into();
    let body = match service {
        "ec2" => format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>{why}</Message></Error></Errors></Response>"
        ),
        form if forms.contains(form) => format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>{why}</Message></Error></ErrorResponse>"
        ),
        _ => serde_json::json!({ "__type": code, "message": why }).to_string(),
    };
    HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body))
}

/// One request to moto and its answer, over a connection of its own. It blocks the test's only thread on purpose: simulated
/// time stands still while moto works, and passes at once while the workflow waits.
fn exchange(port: u16, request: &HttpRequest) -> std::io::Result<HttpResponse> {
    let (_, address) = request.uri().split_once("://").unwrap();
    let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let body = request.body().bytes().unwrap_or_default();
    let headers = request.headers().iter();
    let own = ["host", "content-length", "connection"];
    let headers = headers.filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()));
    let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}",
        request.method(),
        if path.is_empty() { "/" } else { path },
        body.len()
    );
    let (head, body) = send(port, &[head.as_bytes(), b"\r\n", body].concat())?;
    let mut lines = head.lines();
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        assert!(!name.eq_ignore_ascii_case("transfer-encoding"), "moto answers in one piece");
        response.headers_mut().append(name.to_ascii_lowercase(), value.to_owned());
    }
    Ok(response)
}

/// Sends bytes to moto, and reads its answer: the head and the body.
pub(super) fn send(port: u16, request: &[u8]) -> std::io::Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let body = answer.split_off(end + 4);
    Ok((String::from_utf8_lossy(&answer[..end]).into_owned(), body))
}
