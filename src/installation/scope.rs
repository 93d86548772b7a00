//! Resolves parameters, conditions and references of a template.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::Template;

/// The largest depth of references; a deeper one is a cycle.
const DEPTH_MAX: usize = 40;

/// Where a template is installed, and with which parameters.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The name of the CloudFormation stack.
    pub stack: &'a str,
    /// The account ID.
    pub account: &'a str,
    /// The region.
    pub region: &'a str,
    /// The partition: `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: &'a str,
    /// The values of parameters; the others have their defaults.
    pub parameters: &'a BTreeMap<String, String>,
}

/// A template with the place where it is installed.
#[derive(Debug)]
pub(super) struct Scope<'t> {
    template: &'t Template,
    pub(super) place: Place<'t>,
    depth: Cell<usize>,
}

impl<'t> Scope<'t> {
    pub(super) fn new(template: &'t Template, place: Place<'t>) -> Result<Self> {
        for (name, value) in place.parameters {
            let declared = template.entry("Parameters", name);
            let declared = declared.with_context(|| format!("the template has no parameter {name}"))?;
            let allowed = declared.get("AllowedValues").and_then(Value::as_array);
            if allowed
                .is_some_and(|allowed| !allowed.iter().any(|allowed| text(allowed).as_ref() == Some(value)))
            {
                bail!("{value} is not an allowed value of the parameter {name}");
            }
        }
        Ok(Self { template, place, depth: Cell::new(0) })
    }

    /// The logical IDs of the resources of a type whose conditions hold.
    pub(super) fn resources(&self, kind: &str) -> Result<Vec<&'t str>> {
        let mut names = Vec::new();
        for (name, resource) in self.template.section("Resources") {
            if resource.get("Type").is_some_and(|found| found == kind) && self.exists(resource)? {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn exists(&self, resource: &Value) -> Result<bool> {
        match resource.get("Condition") {
            None => Ok(true),
            Some(name) => self.named_condition(name),
        }
    }

    /// A resource of the template, unresolved.
    ///
    /// # Errors
    /// If the template has no such resource, or its condition does not hold.
    pub(super) fn resource(&self, name: &str) -> Result<&'t Value> {
        let resource = self.template.entry("Resources", name);
        let resource = resource.with_context(|| format!("the template has no resource {name}"))?;
        if self.exists(resource)? {
            Ok(resource)
        } else {
            bail!("the condition of the resource {name} does not hold")
        }
    }

    /// The properties of a resource, resolved.
    pub(super) fn properties(&self, name: &str) -> Result<Value> {
        let Some(properties) = self.unresolved(name)? else { return Ok(Map::new().into()) };
        let resolved = self.value(properties).with_context(|| format!("in {name}"))?;
        Ok(resolved.unwrap_or_default())
    }

    /// One property of a resource, resolved; `None` if the resource does not have it.
    pub(super) fn property(&self, name: &str, property: &str) -> Result<Option<Value>> {
        let value = self.unresolved(name)?.and_then(|properties| properties.get(property));
        let Some(value) = value else { return Ok(None) };
        self.value(value).with_context(|| format!("in {name}: {property}"))
    }

    fn unresolved(&self, name: &str) -> Result<Option<&'t Value>> {
        Ok(self.resource(name)?.get("Properties"))
    }

    /// Resolves a value; `None` for `AWS::NoValue`.
    pub(super) fn value(&self, value: &Value) -> Result<Option<Value>> {
        match value {
            Value::Object(entries) => match function(entries) {
                Some((name, argument)) => self.call(name, argument),
                None => self.object(entries).map(Some),
            },
            Value::Array(values) => {
                let mut resolved = Vec::new();
                for (place, value) in values.iter().enumerate() {
                    resolved.extend(self.value(value).with_context(|| place.to_string())?);
                }
                Ok(Some(resolved.into()))
            }
            plain => Ok(Some(plain.clone())),
        }
    }

    fn object(&self, entries: &Map<String, Value>) -> Result<Value> {
        let mut resolved = Map::new();
        for (key, value) in entries {
            if let Some(value) = self.value(value).with_context(|| key.clone())? {
                resolved.insert(key.clone(), value);
            }
        }
        Ok(resolved.into())
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Option<Value>> {
        match (name, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => Ok(None),
            ("Ref", Value::String(name)) => self.referred(name).map(Some),
            ("Fn::GetAtt", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(resource), Value::String(attribute)] => {
                    self.deeper(|| self.attribute(resource, attribute)).map(|text| Some(text.into()))
                }
                _ => bail!("{name} {argument} is not supported"),
            },
            ("Fn::Sub", Value::String(text)) => {
                self.substituted(text, &Map::new()).map(|text| Some(text.into()))
            }
            ("Fn::Sub", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(text), Value::Object(names)] => {
                    self.substituted(text, names).map(|text| Some(text.into()))
                }
                _ => bail!("{name} {argument} is not supported"),
            },
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [condition, yes, no] => self.value(if self.named_condition(condition)? { yes } else { no }),
                _ => bail!("{name} {argument} is not supported"),
            },
            ("Fn::Join", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(between), values] => Ok(Some(self.texts(values)?.join(between).into())),
                _ => bail!("{name} {argument} is not supported"),
            },
            ("Fn::Split", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(between), whole] => {
                    let whole = self.text(whole)?;
                    Ok(Some(whole.split(between.as_str()).map(Value::from).collect()))
                }
                _ => bail!("{name} {argument} is not supported"),
            },
            ("Fn::Select", Value::Array(parts)) => match parts.as_slice() {
                [index, Value::Array(values)] => {
                    let index = text(index).and_then(|index| index.parse::<usize>().ok());
                    let chosen = index.and_then(|index| values.get(index));
                    self.value(chosen.with_context(|| format!("{name} {argument} selects nothing"))?)
                }
                _ => bail!("{name} {argument} is not supported"),
            },
            _ => bail!("{name} {argument} is not supported"),
        }
    }

    /// The value of `Ref`.
    fn referred(&self, name: &str) -> Result<Value> {
        let Place { stack, account, region, partition, .. } = self.place;
        match name {
            "AWS::StackName" => return Ok(stack.into()),
            "AWS::AccountId" => return Ok(account.into()),
            "AWS::Region" => return Ok(region.into()),
            "AWS::Partition" => return Ok(partition.into()),
            "AWS::URLSuffix" => return Ok("amazonaws.com".into()),
            _ => {}
        }
        if let Some(parameter) = self.template.entry("Parameters", name) {
            let given = self.place.parameters.get(name).map(|given| Value::from(given.as_str()));
            let value = given.or_else(|| parameter.get("Default").cloned());
            let value = value.with_context(|| format!("the parameter {name} has no value"))?;
            let is_list = parameter.get("Type").is_some_and(|kind| kind == "CommaDelimitedList");
            return if is_list { entries(name, &value) } else { Ok(value) };
        }
        self.deeper(|| self.reference(name)).map(Value::from)
    }

    /// Follows a reference, unless it is too deep.
    fn deeper<T>(&self, follow: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.depth.get() >= DEPTH_MAX {
            bail!("a reference refers to itself");
        }
        self.depth.set(self.depth.get() + 1);
        let found = follow();
        self.depth.set(self.depth.get() - 1);
        found
    }

    /// The text of `Fn::Sub`, with its `${…}` replaced.
    fn substituted(&self, template: &str, names: &Map<String, Value>) -> Result<String> {
        let mut result = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').with_context(|| format!("${{ without }} in {template}"))?;
            result.push_str(before);
            result.push_str(&self.replacement(name.trim(), names).with_context(|| format!("in {template}"))?);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }

    fn replacement(&self, name: &str, names: &Map<String, Value>) -> Result<String> {
        if let Some(literal) = name.strip_prefix('!') {
            return Ok(format!("${{{literal}}}"));
        }
        if let Some(value) = names.get(name) {
            return self.text(value);
        }
        match name.split_once('.') {
            Some((resource, attribute)) => self.deeper(|| self.attribute(resource, attribute)),
            None => self.text(&self.referred(name)?),
        }
    }

    /// Resolves a value that must be a text.
    fn text(&self, value: &Value) -> Result<String> {
        let resolved = self.value(value)?;
        resolved.as_ref().and_then(text).ok_or_else(|| anyhow!("{value} is not a text"))
    }

    /// Resolves a value that must be a list of texts.
    fn texts(&self, value: &Value) -> Result<Vec<String>> {
        let resolved = self.value(value)?;
        let values =
            resolved.as_ref().and_then(Value::as_array).with_context(|| format!("{value} is not a list"))?;
        values.iter().map(|value| text(value).with_context(|| format!("{value} is not a text"))).collect()
    }

    /// Whether a condition of the template holds, by its name.
    fn named_condition(&self, name: &Value) -> Result<bool> {
        let condition = name.as_str().and_then(|name| self.template.entry("Conditions", name));
        let condition = condition.with_context(|| format!("the template has no condition {name}"))?;
        self.deeper(|| self.condition(condition)).with_context(|| format!("in the condition {name}"))
    }

    fn condition(&self, condition: &Value) -> Result<bool> {
        let Some((name, argument)) = condition.as_object().and_then(function) else {
            bail!("{condition} is not a condition");
        };
        let all = || argument.as_array().into_iter().flatten().map(|condition| self.condition(condition));
        match (name, argument) {
            ("Condition", name) => self.named_condition(name),
            ("Fn::Equals", Value::Array(sides)) => match sides.as_slice() {
                [left, right] => Ok(self.text(left)? == self.text(right)?),
                _ => bail!("{condition} must have two operands"),
            },
            ("Fn::Not", Value::Array(negated)) if negated.len() == 1 => Ok(!self.condition(&negated[0])?),
            ("Fn::And", _) => Ok(all().collect::<Result<Vec<bool>>>()?.into_iter().all(|holds| holds)),
            ("Fn::Or", _) => Ok(all().collect::<Result<Vec<bool>>>()?.into_iter().any(|holds| holds)),
            _ => bail!("the condition {condition} is not supported"),
        }
    }
}

/// The value of a parameter of the type `CommaDelimitedList`. CloudFormation removes spaces around the entries; of an empty
/// text it makes a list with an empty entry.
fn entries(name: &str, value: &Value) -> Result<Value> {
    let text = text(value).with_context(|| format!("the parameter {name} is not a text"))?;
    Ok(text.split(',').map(|entry| Value::from(entry.trim())).collect())
}

/// The intrinsic function of an object. An object whose only key is `Condition` is a function only if its value is a
/// text: a policy statement can have that key too.
fn function(entries: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = entries.iter().next().filter(|_| entries.len() == 1)?;
    (name == "Ref" || name == "Condition" && argument.is_string() || name.starts_with("Fn::"))
        .then_some((name.as_str(), argument))
}

/// A text, number or boolean as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
