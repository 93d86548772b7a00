//! Decodes a request's path, query and XML body into an operation and its parameters.

use std::collections::BTreeMap;

use http::Method;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value};

use crate::params::{Params, Refusal, flatten};
use crate::protocol::Request;

/// The deepest nesting of elements in a body.
const DEPTH: usize = 16;

/// An operation, and what its path and its query contain.
struct Way<'a> {
    operation: &'static str,
    /// The parameter in the path.
    id: Option<(&'static str, &'a str)>,
    /// The names of query parameters, with the names of the operation's parameters.
    query: &'static [(&'static str, &'static str)],
}

fn way<'a>(method: &Method, path: &'a str) -> Option<Way<'a>> {
    let parts: Vec<&str> = path.strip_prefix("/2013-04-01/")?.split('/').collect();
    let way = match (method, parts.as_slice()) {
        (&Method::GET, ["hostedzone"]) => Way {
            operation: "ListHostedZones",
            id: None,
            query: &[("marker", "Marker"), ("maxitems", "MaxItems")],
        },
        (&Method::GET, ["hostedzonesbyname"]) => Way {
            operation: "ListHostedZonesByName",
            id: None,
            query: &[("dnsname", "DNSName"), ("hostedzoneid", "HostedZoneId"), ("maxitems", "MaxItems")],
        },
        (&Method::GET, ["hostedzone", id]) => {
            Way { operation: "GetHostedZone", id: Some(("Id", id)), query: &[] }
        }
        (&Method::GET, ["hostedzone", id, "rrset"]) => Way {
            operation: "ListResourceRecordSets",
            id: Some(("HostedZoneId", id)),
            query: &[("name", "StartRecordName"), ("type", "StartRecordType"), ("maxitems", "MaxItems")],
        },
        (&Method::POST, ["hostedzone", id, "rrset"]) => {
            Way { operation: "ChangeResourceRecordSets", id: Some(("HostedZoneId", id)), query: &[] }
        }
        (&Method::GET, ["change", id]) => Way { operation: "GetChange", id: Some(("Id", id)), query: &[] },
        _ => return None,
    };
    Some(way)
}

/// Finds the operation of a request.
///
/// # Errors
/// If the path is not supported or the body cannot be read.
pub(crate) fn route(request: &Request) -> Result<(String, Params), Refusal> {
    let Request { method, path, .. } = request;
    let Way { operation, id, query } = way(method, path.trim_end_matches('/')).ok_or_else(|| {
        Refusal::new(
            "InvalidAction",
            format!("the simulator does not support the operation route53:{method} {path}"),
        )
    })?;
    let mut document = if request.body.is_empty() { Map::new() } else { read_body(&request.body)? };
    if let Some((name, id)) = id {
        document.insert(name.into(), Value::String(id.into()));
    }
    for (name, value) in &request.query {
        let known = query.iter().find(|(wire, _)| wire == name).map_or(name.as_str(), |(_, known)| known);
        document.insert(known.into(), Value::String(value.clone()));
    }
    let mut leaves = BTreeMap::new();
    flatten(&Value::Object(document), "", &mut leaves);
    Ok((operation.to_owned(), Params::new(leaves, request.body.clone())))
}

/// An element that is being read.
struct Open {
    name: String,
    children: Vec<(String, Value)>,
    text: String,
}

impl Open {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), children: Vec::new(), text: String::new() }
    }

    /// The content: a list for list wrappers, or else a structure or text.
    fn value(self) -> Result<Value, Refusal> {
        if ["Changes", "ResourceRecords"].contains(&self.name.as_str()) {
            return Ok(Value::Array(self.children.into_iter().map(|(_, child)| child).collect()));
        }
        if self.children.is_empty() {
            return Ok(Value::String(self.text));
        }
        let mut fields = Map::new();
        for (name, child) in self.children {
            if fields.insert(name.clone(), child).is_some() {
                return Err(malformed(&format!("the element {name} appears twice")));
            }
        }
        Ok(Value::Object(fields))
    }
}

fn malformed(why: &str) -> Refusal {
    Refusal::new("InvalidInput", format!("Invalid XML ; {why}"))
}

/// Reads an XML body as a document with the names of its elements.
fn read_body(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error.to_string()))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    loop {
        let event = reader.read_event().map_err(|error| malformed(&error.to_string()))?;
        let closed = match event {
            Event::Start(start) if open.len() < DEPTH => {
                open.push(Open::named(start.name().as_ref()));
                continue;
            }
            Event::Empty(start) => Some(Open::named(start.name().as_ref())),
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.xml_content(XmlVersion::Implicit1_0));
                }
                continue;
            }
            Event::GeneralRef(reference) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&resolved(&reference)?);
                }
                continue;
            }
            Event::Decl(_) | Event::Comment(_) => continue,
            Event::Eof => return Err(malformed("the document is not complete")),
            _ => return Err(malformed("the document has something in it that is not an element or text")),
        };
        let Some(mut element) = closed else { return Err(malformed("an end without a start")) };
        if !element.children.is_empty() {
            element.text.clear();
        }
        let name = element.name.clone();
        let value = element.value()?;
        match (open.last_mut(), value) {
            (Some(parent), value) => parent.children.push((name, value)),
            (None, Value::Object(root)) => return Ok(root),
            (None, _) => return Err(malformed("the document is empty")),
        }
    }
}

/// The text of a reference such as `&quot;` or `&#42;`.
fn resolved(reference: &quick_xml::events::BytesRef<'_>) -> Result<String, Refusal> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    resolve_predefined_entity(reference).map(str::to_owned).ok_or_else(|| malformed("an unknown entity"))
}
