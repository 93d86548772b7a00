//! The wire protocols: they decode requests into [`Params`] and encode replies and refusals for the SDKs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use serde_json::{Map, Value};

use crate::params::{Params, Refusal, flatten, join};

/// The protocol of a service.
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

/// An HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// The request of an HTTP message whose body has been read.
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

/// The response of a service's file.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(Cow<'static, str>, String)>,
    pub(crate) body: Body,
}

/// The body of a response.
///
/// A document is a JSON value with the names of the wire. For XML: a list under `Name` becomes `<Name><item>…` (EC2)
/// or `<Name><member>…` (Query); a list under `Name/Element` becomes `<Name><Element>…`; a list under `*Element`
/// becomes repeated `<Element>` without a wrapper; nulls are omitted.
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
    /// A response that reports only success.
    pub(crate) fn empty() -> Self {
        Value::Object(Map::new()).into()
    }

    /// The same response with another HTTP status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same response with one more header; a `content-type` replaces the protocol's own.
    pub(crate) fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Reads the operation and its parameters of a request in one of the RPC protocols.
///
/// # Errors
/// `InvalidAction` or a similar code, if the request does not have that form.
pub(crate) fn decode(protocol: Protocol, request: &Request) -> Result<(String, Params), Refusal> {
    match protocol {
        Protocol::Ec2(_) => form(request, false),
        Protocol::Query(_) => form(request, true),
        Protocol::Json(_, prefix) => json(request, prefix),
        Protocol::RestXml(_) | Protocol::RestJson => {
            Err(Refusal::new("InvalidAction", "a REST service routes its requests itself"))
        }
    }
}

/// Reads form parameters from the body and the query string (AWS accepts both).
fn form(request: &Request, wrapped: bool) -> Result<(String, Params), Refusal> {
    let mut action = None;
    let mut leaves = BTreeMap::new();
    let from_query = request.query.iter().map(|(key, value)| (Cow::from(key), Cow::from(value)));
    for (key, value) in from_query.chain(form_urlencoded::parse(&request.body)) {
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

/// AWS Query wraps lists: `Tags.Tag.1.Key`, `Names.member.1`. A name between another name and a number is dropped.
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
/// `SerializationException` if the body is not JSON.
pub(crate) fn json_params(body: &Bytes) -> Result<Params, Refusal> {
    let mut leaves = BTreeMap::new();
    if !body.is_empty() {
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        flatten(&document, "", &mut leaves);
    }
    Ok(Params::new(leaves, body.clone()))
}

/// Encodes a reply by the protocol.
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
            xml.push_str("<ResponseMetadata>");
            element("RequestId", &Value::from(request_id), "member", &mut xml);
            close(&mut xml, "ResponseMetadata");
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
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        headers.push(("content-type".into(), content_type.to_owned()));
    }
    headers.extend(request_ids(protocol, request_id));
    response(reply.status, headers, body)
}

/// Encodes a refusal by the protocol.
pub(crate) fn encode_refusal(protocol: Protocol, request_id: &str, refusal: &Refusal) -> Response<Bytes> {
    let Refusal { code, message, status, .. } = refusal;
    let (code_xml, message_xml) = (escaped(code), escaped(message));
    let fault = if status.is_server_error() { "Receiver" } else { "Sender" };
    let mut headers: Vec<(Cow<'static, str>, String)> =
        refusal.headers.iter().map(|(name, value)| (Cow::from(*name), value.clone())).collect();
    let (content_type, body) = match protocol {
        Protocol::Ec2(_) => (
            "text/xml;charset=UTF-8",
            format!(
                "<Response><Errors><Error><Code>{code_xml}</Code><Message>{message_xml}</Message></Error></Errors>\
                 <RequestID>{request_id}</RequestID></Response>"
            ),
        ),
        Protocol::RestXml(namespace) if is_s3(namespace) => (
            "application/xml",
            format!(
                r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code_xml}</Code><Message>{message_xml}</Message><RequestId>{request_id}</RequestId></Error>"#
            ),
        ),
        Protocol::Query(namespace) | Protocol::RestXml(namespace) => (
            "text/xml",
            format!(
                r#"<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{code_xml}</Code><Message>{message_xml}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"#
            ),
        ),
        Protocol::Json(version, _) => (
            if version == "1.0" { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" },
            serde_json::json!({ "__type": code, "message": message }).to_string(),
        ),
        Protocol::RestJson => {
            headers.push(("x-amzn-errortype".into(), code.clone()));
            ("application/json", serde_json::json!({ "Message": message, "message": message }).to_string())
        }
    };
    headers.push(("content-type".into(), content_type.to_owned()));
    headers.extend(request_ids(protocol, request_id));
    response(*status, headers, body.into())
}

fn is_s3(namespace: &str) -> bool {
    namespace.contains("//s3.")
}

/// The headers with the request's ID. S3 has its own.
fn request_ids(protocol: Protocol, request_id: &str) -> Vec<(Cow<'static, str>, String)> {
    match protocol {
        Protocol::RestXml(namespace) if is_s3(namespace) => vec![
            ("x-amz-request-id".into(), request_id.to_owned()),
            ("x-amz-id-2".into(), format!("host/{request_id}")),
        ],
        _ => vec![("x-amzn-requestid".into(), request_id.to_owned())],
    }
}

fn response(status: StatusCode, headers: Vec<(Cow<'static, str>, String)>, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn open(xml: &mut String, name: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
}

fn close(xml: &mut String, name: &str) {
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

/// Writes the content of an element.
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
                        open(xml, wrapper);
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
    open(xml, name);
    element_content(value, item, xml);
    close(xml, name);
}

/// Text, escaped for an XML element.
///
/// Carriage returns would be read back as line feeds, so they are written as references. Characters that XML 1.0 does
/// not allow, not even as references, become U+FFFD, so that every document can be parsed.
pub(crate) fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#xD;"),
            '\t' | '\n' => xml.push(character),
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            _ => xml.push(character),
        }
    }
    xml
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

    fn text(response: &Response<Bytes>) -> String {
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    #[test]
    fn characters_that_xml_cannot_hold_never_reach_a_document() {
        assert_eq!(escaped("a & <b> \"c\"\n\td"), "a &amp; &lt;b&gt; &quot;c&quot;\n\td");
        assert_eq!(escaped("line\r\n"), "line&#xD;\n");
        assert_eq!(escaped("\u{0}\u{b}\u{1f}\u{ffff}ü"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}ü");
    }

    #[test]
    fn each_protocol_has_its_own_form_of_a_refusal() {
        let refusal = Refusal::new("Odd", "a <b>").status(404).header("x-amz-delete-marker", "true");
        let cases = [
            (Protocol::Ec2("n"), "<Response><Errors><Error><Code>Odd</Code><Message>a &lt;b&gt;</Message>"),
            (Protocol::Query("n"), r#"<ErrorResponse xmlns="n"><Error><Type>Sender</Type><Code>Odd</Code>"#),
            (
                Protocol::RestXml("http://s3.x/"),
                r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>Odd</Code>"#,
            ),
            (Protocol::RestXml("n"), r#"<ErrorResponse xmlns="n">"#),
            (Protocol::Json("1.0", "P"), r#"{"__type":"Odd","message":"a <b>"}"#),
            (Protocol::RestJson, r#"{"Message":"a <b>","message":"a <b>"}"#),
        ];
        for (protocol, start) in cases {
            let response = encode_refusal(protocol, "id", &refusal);
            assert_eq!(response.status(), 404);
            assert_eq!(response.headers()["x-amz-delete-marker"], "true");
            assert!(text(&response).starts_with(start), "{protocol:?}: {}", text(&response));
        }
        let response = encode_refusal(Protocol::Json("1.0", "P"), "id", &refusal);
        assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.0");
        let response = encode_refusal(Protocol::RestJson, "id", &refusal);
        assert_eq!(response.headers()["x-amzn-errortype"], "Odd");
    }

    #[test]
    fn form_parameters_are_read_from_the_body_and_the_query_string() {
        let request = Request {
            method: Method::GET,
            path: "/".into(),
            query: vec![("Action".into(), "DescribeVpcs".into()), ("VpcId.1".into(), "vpc-1".into())],
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"Version=2016-11-15&MaxResults=5"),
        };
        let (action, params) = decode(Protocol::Ec2("n"), &request).unwrap();
        assert_eq!(action, "DescribeVpcs");
        assert_eq!(params.list("VpcId"), ["vpc-1"]);
        assert_eq!(params.int("MaxResults").unwrap(), Some(5));
        params.done().unwrap();
    }

    #[test]
    fn a_reply_can_set_its_content_type_and_any_header() {
        let reply = Reply::empty()
            .header("content-type", "text/yaml")
            .header(format!("x-amz-meta-{}", "owner"), "shop")
            .status(StatusCode::NO_CONTENT);
        let response = encode(Protocol::RestXml("http://s3.x/"), "PutObject", "id", reply);
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()["content-type"], "text/yaml");
        assert_eq!(response.headers()["x-amz-meta-owner"], "shop");
        assert_eq!(response.headers()["x-amz-request-id"], "id");
    }
}
