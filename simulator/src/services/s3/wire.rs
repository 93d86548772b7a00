//! S3's wire protocol: the operation of a request, its parameters, and the encoding of its body.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Method;
use md5::{Digest as _, Md5};
use percent_encoding::percent_decode_str;
use quick_xml::events::Event;
use serde_json::Value;
use sha2::Sha256;

use super::super::unknown;
use crate::params::{Params, Refusal};
use crate::protocol::Request;

/// Supported headers that do not start with `x-amz-`.
const STANDARD_HEADERS: [&str; 10] = [
    "cache-control",
    "content-disposition",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-none-match",
    "range",
    "x-stackdrop-caller",
];

/// Headers of the signature and the encoding, which are handled here.
const TRANSPORT_HEADERS: [&str; 7] = [
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-amz-user-agent",
    "x-stackdrop-caller",
];

/// Finds the operation of a request and its parameters: `Bucket`, `Key`, query parameters and headers, each under its
/// name on the wire.
pub(crate) fn route(request: &Request) -> Result<(String, Params), Refusal> {
    let (bucket, key) = target(request)?;
    let operation = operation(request, bucket.is_some(), key.is_some())?;
    let mut leaves = BTreeMap::new();
    let mut put = |name: &str, value: String| leaves.insert(name.to_owned(), Value::String(value));
    for (name, value) in &request.query {
        if name != "x-id" {
            put(name, value.clone());
        }
    }
    for (name, value) in &request.headers {
        let name = name.as_str();
        let meant = name.starts_with("x-amz-") || STANDARD_HEADERS.contains(&name);
        if meant && !TRANSPORT_HEADERS.contains(&name) {
            let text = value.to_str().map_err(|_| Refusal::new("InvalidArgument", "a header is no text"))?;
            put(name, text.to_owned());
        }
    }
    if let Some(encoding) = request.header("content-encoding") {
        let kept: Vec<&str> =
            encoding.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
        if !kept.is_empty() {
            put("content-encoding", kept.join(", "));
        }
    }
    let (body, trailers) = unframed(request)?;
    for (name, value) in trailers {
        put(&name, value);
    }
    check_digests(request, &body)?;
    if let Some(bucket) = bucket {
        put("Bucket", bucket);
    }
    if let Some(key) = key {
        put("Key", key);
    }
    Ok((operation.to_owned(), Params::new(leaves, body)))
}

/// The bucket and the key. The bucket is in the host's name (`BUCKET.s3.REGION.amazonaws.com`) or is the first part
/// of the path.
fn target(request: &Request) -> Result<(Option<String>, Option<String>), Refusal> {
    let path = request.path.strip_prefix('/').unwrap_or(&request.path);
    let (bucket, key) = match hosted_bucket(request.header("host").unwrap_or_default()) {
        Some(bucket) => (Some(bucket), path),
        None => match path.split_once('/') {
            Some((bucket, key)) => (Some(bucket.to_owned()), key),
            None => (Some(path.to_owned()).filter(|bucket| !bucket.is_empty()), ""),
        },
    };
    let key = percent_decode_str(key)
        .decode_utf8()
        .map_err(|_| Refusal::new("InvalidURI", "Couldn't parse the specified URI."))?;
    Ok((bucket, Some(key.into_owned()).filter(|key| !key.is_empty())))
}

fn hosted_bucket(host: &str) -> Option<String> {
    let host = host.split(':').next().unwrap_or_default();
    if let Some(bucket) = host.strip_suffix(".localhost") {
        return Some(bucket.to_owned());
    }
    let front = host.strip_suffix(".amazonaws.com")?;
    // A bucket's name can contain dots, even `.s3.`: the last one is the service's.
    let (bucket, _) = front.rsplit_once(".s3.").or_else(|| front.strip_suffix(".s3").map(|b| (b, "")))?;
    Some(bucket.to_owned())
}

fn operation(request: &Request, bucket: bool, key: bool) -> Result<&'static str, Refusal> {
    let asks = |name: &str| request.query(name).is_some();
    let operation = match (&request.method, bucket, key) {
        (&Method::GET, false, _) => "ListBuckets",
        (&Method::PUT, true, true) if request.header("x-amz-copy-source").is_none() => "PutObject",
        (&Method::GET, true, true) => "GetObject",
        (&Method::HEAD, true, true) => "HeadObject",
        (&Method::DELETE, true, true) => "DeleteObject",
        (&Method::PUT, true, false) if asks("versioning") => "PutBucketVersioning",
        (&Method::PUT, true, false) => "CreateBucket",
        (&Method::GET, true, false) if asks("location") => "GetBucketLocation",
        (&Method::GET, true, false) if asks("versioning") => "GetBucketVersioning",
        (&Method::GET, true, false) if asks("versions") => "ListObjectVersions",
        (&Method::GET, true, false) if request.query("list-type") == Some("2") => "ListObjectsV2",
        (&Method::HEAD, true, false) => "HeadBucket",
        (&Method::DELETE, true, false) => "DeleteBucket",
        _ => return Err(unknown("s3", &format!("{} {}", request.method, request.path))),
    };
    Ok(operation)
}

/// The object's bytes and the trailing headers: SDKs can encode a body as `aws-chunked`. Source: "Signature
/// calculations for the Authorization header: transferring payload in multiple chunks".
fn unframed(request: &Request) -> Result<(Bytes, Vec<(String, String)>), Refusal> {
    let framed = request.header("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"));
    if !framed {
        return Ok((request.body.clone(), Vec::new()));
    }
    let incomplete = || {
        Refusal::new(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        )
    };
    let mut rest = &request.body[..];
    let mut body = Vec::new();
    loop {
        let line = line(&mut rest).ok_or_else(incomplete)?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| incomplete())?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size).ok_or_else(incomplete)?);
        rest = rest[size..].strip_prefix(b"\r\n").ok_or_else(incomplete)?;
    }
    let declared = request.header("x-amz-decoded-content-length").and_then(|text| text.parse().ok());
    if declared != Some(body.len()) {
        return Err(incomplete());
    }
    let mut trailers = Vec::new();
    while let Some(line) = line(&mut rest).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(incomplete)?;
        // The signature of the trailer is part of the transport, like the request's own.
        if name != "x-amz-trailer-signature" {
            trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Ok((body.into(), trailers))
}

/// Removes one line from the front and returns it without its end.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = (&rest[..end], &rest[end + 2..]);
    *rest = after;
    std::str::from_utf8(line).ok()
}

/// Compares the request's digests of its body with the body.
fn check_digests(request: &Request, body: &[u8]) -> Result<(), Refusal> {
    let hash = request.header("x-amz-content-sha256").filter(|hash| hash.len() == 64);
    if hash.is_some_and(|hash| hash != hex::encode(Sha256::digest(body))) {
        return Err(Refusal::new(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ));
    }
    match request.header("content-md5").map(|md5| BASE64.decode(md5)) {
        Some(Ok(md5)) if md5 == Md5::digest(body).as_slice() => Ok(()),
        Some(Ok(md5)) if md5.len() == 16 => Err(bad_digest("Content-MD5")),
        Some(_) => Err(Refusal::new("InvalidDigest", "The Content-MD5 you specified was invalid.")),
        None => Ok(()),
    }
}

pub(super) fn bad_digest(what: &str) -> Refusal {
    Refusal::new("BadDigest", format!("The {what} you specified did not match what we received."))
}

/// The `ETag` of an object that was put in one part: its MD5 in quotes.
pub(super) fn etag(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(body)))
}

/// The base64 of a checksum that the simulator computes; `None` for algorithms that it only stores.
pub(super) fn checksum(header: &str, body: &[u8]) -> Option<String> {
    match header {
        "x-amz-checksum-crc32" => Some(BASE64.encode(crc32(body).to_be_bytes())),
        "x-amz-checksum-sha256" => Some(BASE64.encode(Sha256::digest(body))),
        _ => None,
    }
}

/// CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// The text of the first element with that name in an XML body.
///
/// # Errors
/// `MalformedXML` if the body is not XML.
pub(super) fn element_text(body: &[u8], name: &str) -> Result<Option<String>, Refusal> {
    let malformed = || {
        Refusal::new(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(start) if start.local_name().as_ref() == name => {
                let text = reader.read_text(start.name()).map_err(|_| malformed())?;
                return Ok(Some(text.trim().to_owned()));
            }
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn request(host: &str, path: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        Request { method: Method::GET, path: path.into(), query: Vec::new(), headers, body: Bytes::new() }
    }

    #[test]
    fn the_bucket_is_named_in_the_host_or_the_path() {
        let cases = [
            (
                "drops.s3.eu-central-1.amazonaws.com",
                "/specs/a%20b%2B%C3%BC.yaml",
                "drops",
                "specs/a b+ü.yaml",
            ),
            ("my.drops.s3.amazonaws.com", "/k", "my.drops", "k"),
            ("s3.eu-central-1.amazonaws.com", "/drops/k//l", "drops", "k//l"),
            ("127.0.0.1:4599", "/drops/a+b", "drops", "a+b"),
            ("drops.localhost:4599", "/a", "drops", "a"),
        ];
        for (host, path, bucket, key) in cases {
            let found = target(&request(host, path)).unwrap();
            assert_eq!(found, (Some(bucket.into()), Some(key.into())), "{host}{path}");
        }
        assert_eq!(target(&request("127.0.0.1:4599", "/")).unwrap(), (None, None));
        assert_eq!(target(&request("127.0.0.1:4599", "/drops")).unwrap(), (Some("drops".into()), None));
    }

    #[test]
    fn a_chunked_body_is_decoded_and_its_trailers_are_read() {
        let mut framed = request("drops.localhost", "/k");
        framed.headers.insert("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER".parse().unwrap());
        framed.headers.insert("x-amz-decoded-content-length", "11".parse().unwrap());
        framed.body = Bytes::from_static(
            b"5\r\nhello\r\n6;chunk-signature=0\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n",
        );
        let (body, trailers) = unframed(&framed).unwrap();
        assert_eq!(body, "hello world");
        assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "DUoRhQ==".to_owned())]);
        assert_eq!(checksum("x-amz-checksum-crc32", &body).unwrap(), "DUoRhQ==");

        framed.body = Bytes::from_static(b"5\r\nhel");
        assert_eq!(unframed(&framed).unwrap_err().code, "IncompleteBody");
    }

    #[test]
    fn an_etag_is_the_md5_in_quotes() {
        assert_eq!(etag(b"hello"), "\"5d41402abc4b2a76b9719d911017c592\"");
    }
}
