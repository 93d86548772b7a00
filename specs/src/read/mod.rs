//! Reads a checked spec from bytes.

mod syntax;

use serde_json::{Value as Json, json};

use crate::fargate::smallest_memory;
use crate::findings::{File, Findings};
use crate::path::Path;
use crate::problem::SpecErrors;
use crate::schema::schema_ref;
use crate::shape::Walk;
use crate::tree::{Node, Place};
use crate::{Spec, rules};

/// The largest spec, in bytes: many times the size of ten services, and small enough for every step's input (at most
/// 256 KiB in Step Functions), which contains three specs while an update is rolled back.
pub const LONGEST_SPEC: usize = 40 * 1024;

impl Spec {
    /// Reads a spec, YAML or JSON, and checks everything that can be checked without calls to AWS.
    ///
    /// # Errors
    ///
    /// All problems of the spec together.
    pub fn read(text: &[u8]) -> Result<Self, SpecErrors> {
        read(decode(text)?)
    }

    /// Checks a spec that was read before, and may have been changed since.
    ///
    /// # Errors
    ///
    /// All problems of the spec together.
    pub fn check(&self) -> Result<(), SpecErrors> {
        // As JSON, it may be longer than the file that it was read from. Control characters, which a file can only have escaped,
        // are inside of quotes.
        let text = serde_json::to_string(self).map_err(|error| whole("", &error.to_string(), ""))?;
        let escaped: String = text.chars().fold(String::new(), |escaped, character| match character {
            control if control.is_control() => format!("{escaped}\\u{:04x}", u32::from(control)),
            plain => escaped + plain.encode_utf8(&mut [0; 4]),
        });
        read(&escaped).map(drop)
    }
}

/// Reads and checks the text of a spec.
fn read(text: &str) -> Result<Spec, SpecErrors> {
    let tree =
        Node::parse(text).map_err(|error| at(text, syntax::place(text, &error), syntax::explain(&error)))?;
    let mut findings = Findings::new(text, &tree);
    let mut walk = Walk { findings: &mut findings, root: schema_ref() };
    let Some(mut json) = walk.value(&tree, schema_ref(), &Path::default(), Place::default()) else {
        return findings.conclude(()).and_then(|()| Err(whole(text, "invalid spec", "a map")));
    };
    set_default_memory(&mut json);
    // The walk has checked or replaced every value, so its result is always a spec.
    let spec: Spec = serde_json::from_value(json).map_err(|error| whole(text, &error.to_string(), ""))?;
    rules::check(&spec, &mut findings);
    findings.conclude(spec)
}

/// Sets the only default that depends on another value: the smallest memory that Fargate offers for the CPU units.
fn set_default_memory(spec: &mut Json) {
    let services = spec.get_mut("services").and_then(Json::as_object_mut);
    for service in
        services.into_iter().flat_map(|services| services.values_mut()).filter_map(Json::as_object_mut)
    {
        let cpu = service.get("cpu").and_then(Json::as_u64).and_then(|cpu| u32::try_from(cpu).ok());
        if let Some(memory) = cpu.and_then(smallest_memory) {
            service.entry("memory").or_insert_with(|| json!(memory));
        }
    }
}

/// A problem of the whole file.
fn whole(text: &str, message: &str, expected: &str) -> SpecErrors {
    at(text, Place::default(), (message.to_owned(), expected.to_owned()))
}

fn at(text: &str, place: Place, (message, expected): (String, String)) -> SpecErrors {
    SpecErrors::new(vec![File(text).problem(place, &Path::default(), message, expected)], 0)
}

/// The text in the bytes, if a spec can contain it.
fn decode(bytes: &[u8]) -> Result<&str, SpecErrors> {
    if bytes.len() > LONGEST_SPEC {
        return Err(whole(
            "",
            &format!("the file has {} bytes", bytes.len()),
            &format!("at most {LONGEST_SPEC}"),
        ));
    }
    // A byte order mark, or ASCII with a zero byte beside each character.
    let wide = bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        || matches!(bytes, [0, second, 0, fourth, ..] if *second != 0 && *fourth != 0)
        || matches!(bytes, [first, 0, third, 0, ..] if *first != 0 && *third != 0);
    if wide {
        return Err(whole("", "the file is in UTF-16", "UTF-8"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .unwrap_or("");
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let place = Place { start: valid.len(), end: valid.len() };
            let message = format!("the byte 0x{byte:02X} is not UTF-8");
            return Err(at(valid, place, (message, "UTF-8".into())));
        }
    };
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if let Some((start, control)) =
        text.char_indices().find(|(_, c)| c.is_control() && !"\t\n\r\u{85}".contains(*c))
    {
        let place = Place { start, end: start + control.len_utf8() };
        let message = format!("invalid control character U+{:04X}", u32::from(control));
        return Err(at(text, place, (message, "a text file; is this the right file?".into())));
    }
    let is_blank = |line: &str| line.is_empty() || line.starts_with('#') || line == "---" || line == "...";
    if text.lines().map(str::trim).all(is_blank) {
        return Err(whole(text, "the spec is empty", "at least `stack: NAME`"));
    }
    Ok(text)
}
