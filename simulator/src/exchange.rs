//! The wire form of calls: what a client sent and what the account answered, for judges outside this crate.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http::{HeaderMap, Response};
use serde::Serialize;

use crate::protocol::Request;

/// One call on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// The service's signing name, such as `ec2`.
    pub service: String,
    /// The operation, such as `CreateVpc`.
    pub operation: String,
    /// The method of the request.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The decoded parameters of the query string.
    pub query: Vec<(String, String)>,
    /// The headers of the request.
    pub headers: Vec<(String, String)>,
    /// The body of the request.
    pub body: String,
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer.
    pub answer_headers: Vec<(String, String)>,
    /// The body of the answer.
    pub answer: String,
}

/// The exchanges so far, once [`keep`](Exchanges::keep) was called: one for each form, since most calls differ only in IDs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchanges {
    kept: Option<BTreeMap<u64, Exchange>>,
}

impl Exchanges {
    pub(crate) fn keep(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(crate) fn kept(&self) -> Vec<Exchange> {
        self.kept.iter().flat_map(BTreeMap::values).cloned().collect()
    }

    pub(crate) fn take(
        &mut self,
        service: &str,
        operation: &str,
        request: &Request,
        response: &Response<Bytes>,
    ) {
        let Some(kept) = &mut self.kept else { return };
        let exchange = Exchange {
            service: service.to_owned(),
            operation: operation.to_owned(),
            method: request.method.to_string(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: texts(&request.headers),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            status: response.status().as_u16(),
            answer_headers: texts(response.headers()),
            answer: String::from_utf8_lossy(response.body()).into_owned(),
        };
        kept.entry(exchange.form()).or_insert(exchange);
    }
}

impl Exchange {
    /// Equal for exchanges that differ only in numbers and hexadecimal IDs.
    fn form(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.service, &self.operation, &self.method, self.status).hash(&mut hasher);
        for text in [&self.path, &self.body, &self.answer] {
            without_ids(text).hash(&mut hasher);
        }
        for (name, value) in &self.query {
            (name, without_ids(value)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A text in which each run of digits and small hexadecimal letters with a digit in it is `#`.
fn without_ids(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut form = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let length = rest[start..].find(|c| !is_part(c)).unwrap_or(rest.len() - start);
        let run = &rest[start..start + length];
        form.push_str(&rest[..start]);
        form.push_str(if run.bytes().any(|byte| byte.is_ascii_digit()) { "#" } else { run });
        rest = &rest[start + length..];
    }
    form.push_str(rest);
    form
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}
