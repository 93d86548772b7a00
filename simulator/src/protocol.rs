//! The wire protocols: requests into [`Params`], answers and refusals into what the SDKs read.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Map, Value};

use crate::params::{Params, Refusal, flatten, join};

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// EC2's own form of AWS Query: unwrapped lists, `item` elements. The field is the XML namespace.
    Ec2(&'static str),
    /// AWS Query: form parameters in, XML out. The field is the XML namespace.
    Query(&'static str),
    /// AWS JSON, with its version (`1.0` or `1.1`) and the prefix of `X-Amz-Target`.
    Json(&'static str, &'static str),
    /// REST with XML bodies; the field is the XML namespace.
    RestXml(&'static str),
    /// REST with JSON bodies.
    RestJson,
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// The request behind an HTTP message whose body has been read.
    pub(crate) fn from_parts(parts: http::request::Parts, body: Bytes) -> Self {
        let query =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let mut headers = parts.headers;
        if let (None, Some(Ok(host))) =
            (headers.get(http::header::HOST), parts.uri.authority().map(|a| a.as_str().parse()))
        {
            headers.insert(http::header::HOST, host);
        }
        Self { method: parts.method, path: parts.uri.path().to_owned(), query, headers, body }
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A query parameter's value.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a service's file answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

/// The body of an answer.
///
/// A document is a JSON value whose names are the wire's own. For XML: a list under `Name` becomes
/// `<Name><item>…` (EC2) or `<Name><member>…` (Query); a list under `Name/Element` becomes `<Name><Element>…`; a list
/// under `*Element` becomes repeated `<Element>` without a wrapper; nulls are left out.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// A document in the service's protocol.
    Document(Value),
    /// For REST-XML: a document with the name of its root element.
    Rooted(&'static str, Value),
    /// Bytes as they are.
    Raw(Bytes),
}

impl From<Value> for Reply {
    fn from(document: Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Body::Document(document) }
    }
}

impl Reply {
    /// An answer that says nothing but that it was done.
    pub(crate) fn empty() -> Self {
        Value::Object(Map::new()).into()
    }
}

/// Reads the operation and its parameters of a request in one of the RPC protocols.
///
/// # Errors
/// `InvalidAction` and the like when the request is not of that form.
pub(crate) fn decode(protocol: Protocol, request: &Request) -> Result<(String, Params), Refusal> {
    match protocol {
        Protocol::Ec2(_) => form(&request.body, false),
        Protocol::Query(_) => form(&request.body, true),
        Protocol::Json(_, prefix) => json(request, prefix),
        Protocol::RestXml(_) | Protocol::RestJson => {
            Err(Refusal::new("InvalidAction", "a REST service routes its requests itself"))
        }
    }
}

fn form(body: &[u8], wrapped: bool) -> Result<(String, Params), Refusal> {
    let mut action = None;
    let mut leaves = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(body) {
        match key.as_ref() {
            "Action" => action = Some(value.into_owned()),
            "Version" => {}
            key => {
                let mut parts: Vec<&str> = key.split('.').collect();
                if wrapped {
                    parts = without_wrappers(&parts);
                }
                leaves.insert(join(&parts), Value::String(value.into_owned()));
            }
        }
    }
    let action = action.ok_or_else(|| Refusal::new("MissingAction", "The request must contain an Action"))?;
    Ok((action, Params::new(leaves, Bytes::new())))
}

/// AWS Query wraps lists: `Tags.Tag.1.Key`, `Names.member.1`. The name before a number goes when it follows another.
fn without_wrappers<'a>(parts: &[&'a str]) -> Vec<&'a str> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty();
    parts
        .iter()
        .enumerate()
        .filter(|(place, part)| {
            let before_number = parts.get(place + 1).is_some_and(|next| number(next));
            let follows_name = *place > 0 && !number(parts[place - 1]);
            !(before_number && follows_name && !number(part))
        })
        .map(|(_, part)| *part)
        .collect()
}

fn json(request: &Request, prefix: &str) -> Result<(String, Params), Refusal> {
    let target = request.header("x-amz-target").unwrap_or_default();
    let operation = target
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('.'))
        .ok_or_else(|| Refusal::new("UnknownOperationException", format!("unknown target {target}")))?;
    Ok((operation.to_owned(), json_params(&request.body)?))
}

/// The parameters of a JSON body.
///
/// # Errors
/// `SerializationException` when the body is no JSON.
pub(crate) fn json_params(body: &Bytes) -> Result<Params, Refusal> {
    let mut leaves = BTreeMap::new();
    if !body.is_empty() {
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        flatten(&document, "", &mut leaves);
    }
    Ok(Params::new(leaves, body.clone()))
}

/// Writes an answer in the protocol's form.
pub(crate) fn encode(protocol: Protocol, operation: &str, request_id: &str, reply: Reply) -> Response<Bytes> {
    let (content_type, body) = match (protocol, reply.body) {
        (_, Body::Raw(bytes)) => ("application/octet-stream", bytes),
        (Protocol::Ec2(namespace), Body::Document(document)) => {
            let mut xml =
                format!(r#"<{operation}Response xmlns="{namespace}"><requestId>{request_id}</requestId>"#);
            element_content(&document, "item", &mut xml);
            close(&mut xml, &format!("{operation}Response"));
            ("text/xml;charset=UTF-8", xml.into())
        }
        (Protocol::Query(namespace), Body::Document(document)) => {
            let mut xml = format!(r#"<{operation}Response xmlns="{namespace}"><{operation}Result>"#);
            element_content(&document, "member", &mut xml);
            close(&mut xml, &format!("{operation}Result"));
            xml += &format!("<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>");
            close(&mut xml, &format!("{operation}Response"));
            ("text/xml", xml.into())
        }
        (Protocol::RestXml(namespace), Body::Rooted(root, document)) => {
            let mut xml = format!(r#"<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="{namespace}">"#);
            element_content(&document, "member", &mut xml);
            close(&mut xml, root);
            ("application/xml", xml.into())
        }
        (Protocol::RestXml(_), Body::Document(_)) => ("application/xml", Bytes::new()),
        (Protocol::Json("1.0", _), Body::Document(document) | Body::Rooted(_, document)) => {
            ("application/x-amz-json-1.0", document.to_string().into())
        }
        (Protocol::Json(..), Body::Document(document) | Body::Rooted(_, document)) => {
            ("application/x-amz-json-1.1", document.to_string().into())
        }
        (_, Body::Document(document) | Body::Rooted(_, document)) => {
            ("application/json", document.to_string().into())
        }
    };
    let mut headers = reply.headers;
    headers.push(("content-type", content_type.to_owned()));
    headers.push(("x-amzn-requestid", request_id.to_owned()));
    response(reply.status, &headers, body)
}

/// Writes a refusal in the protocol's form.
pub(crate) fn encode_refusal(protocol: Protocol, request_id: &str, refusal: &Refusal) -> Response<Bytes> {
    let Refusal { code, message, status } = refusal;
    let (code_xml, message_xml) = (escaped(code), escaped(message));
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let mut headers = vec![("x-amzn-requestid", request_id.to_owned())];
    let (content_type, body) = match protocol {
        Protocol::Ec2(_) => (
            "text/xml;charset=UTF-8",
            format!(
                "<Response><Errors><Error><Code>{code_xml}</Code><Message>{message_xml}</Message></Error></Errors>\
                 <RequestID>{request_id}</RequestID></Response>"
            ),
        ),
        Protocol::RestXml(namespace) if namespace.contains("s3") => (
            "application/xml",
            format!(
                "<Error><Code>{code_xml}</Code><Message>{message_xml}</Message><RequestId>{request_id}</RequestId></Error>"
            ),
        ),
        Protocol::Query(namespace) | Protocol::RestXml(namespace) => (
            "text/xml",
            format!(
                r#"<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{code_xml}</Code><Message>{message_xml}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"#
            ),
        ),
        Protocol::Json(..) => (
            "application/x-amz-json-1.1",
            serde_json::json!({ "__type": code, "message": message }).to_string(),
        ),
        Protocol::RestJson => {
            headers.push(("x-amzn-errortype", code.clone()));
            ("application/json", serde_json::json!({ "Message": message, "message": message }).to_string())
        }
    };
    headers.push(("content-type", content_type.to_owned()));
    response(*status, &headers, body.into())
}

fn response(status: StatusCode, headers: &[(&'static str, String)], body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

fn close(xml: &mut String, name: &str) {
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

/// Writes what stands inside an element.
fn element_content(value: &Value, item: &str, xml: &mut String) {
    match value {
        Value::Null => {}
        Value::String(text) => xml.push_str(&escaped(text)),
        Value::Bool(_) | Value::Number(_) => xml.push_str(&value.to_string()),
        Value::Array(items) => {
            for each in items {
                element(item, each, item, xml);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.strip_prefix('*'), name.split_once('/'), field) {
                    (_, _, Value::Null) => {}
                    (Some(repeated), _, Value::Array(items)) => {
                        for each in items {
                            element(repeated, each, item, xml);
                        }
                    }
                    (None, Some((wrapper, inner)), Value::Array(items)) => {
                        xml.push_str(&format!("<{wrapper}>"));
                        for each in items {
                            element(inner, each, item, xml);
                        }
                        close(xml, wrapper);
                    }
                    _ => element(name, field, item, xml),
                }
            }
        }
    }
}

fn element(name: &str, value: &Value, item: &str, xml: &mut String) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    element_content(value, item, xml);
    close(xml, name);
}

/// Text with XML's own characters escaped.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_lists_lose_their_wrappers_and_keep_their_structure() {
        assert_eq!(without_wrappers(&["Tags", "Tag", "1", "Key"]), ["Tags", "1", "Key"]);
        assert_eq!(
            without_wrappers(&[
                "Actions",
                "member",
                "1",
                "ForwardConfig",
                "TargetGroups",
                "member",
                "2",
                "Weight"
            ]),
            ["Actions", "1", "ForwardConfig", "TargetGroups", "2", "Weight"]
        );
        assert_eq!(without_wrappers(&["Names", "member", "1"]), ["Names", "1"]);
        assert_eq!(without_wrappers(&["Attributes", "entry", "1", "key"]), ["Attributes", "1", "key"]);
    }
}
