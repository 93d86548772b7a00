//! DB parameter groups and their parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::parameters::{self, Apply, Parameter};
use super::query::{Filters, Page, identifier};
use super::{catalogue, contradiction, invalid, tagging, visible};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// RDS's default quota.
const GROUPS: usize = 50;
/// Source: API reference, `ModifyDBParameterGroup`: "A maximum of 20 parameters can be modified in a single request."
const AT_ONCE: usize = 20;

#[derive(Debug, Clone)]
pub(super) struct ParameterGroup {
    pub(super) major: u32,
    description: String,
    /// The values that differ from the family's defaults, with their apply methods.
    changed: BTreeMap<String, (String, String)>,
    pub(super) tags: Tags,
    pub(super) made_at: Duration,
}

impl ParameterGroup {
    /// A value that differs from the family's default.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.changed.get(name).map(|(value, _)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &str, value: &str, method: &str) {
        self.changed.insert(name.to_owned(), (value.to_owned(), method.to_owned()));
    }

    /// Resets all parameters to the family's defaults.
    pub(super) fn clear(&mut self) {
        self.changed.clear();
    }
}

/// The name of RDS's default group for a major version.
pub(super) fn default_name(major: u32) -> String {
    format!("default.postgres{major}")
}

/// The major version of a default group.
fn default_major(name: &str) -> Option<u32> {
    let major = name.strip_prefix("default.postgres")?.parse().ok()?;
    catalogue::MAJORS.contains(&major).then_some(major)
}

/// The major version of a group.
pub(super) fn major_of(world: &World, name: &str) -> Result<u32, Refusal> {
    match default_major(name) {
        Some(major) => Ok(major),
        None => find(world, name).map(|group| group.major),
    }
}

fn find<'w>(world: &'w World, name: &str) -> Result<&'w ParameterGroup, Refusal> {
    let group = world.states.rds.parameter_groups.get(&name.to_ascii_lowercase());
    group.filter(|group| visible(world, group.made_at)).ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> Refusal {
    Refusal::new("DBParameterGroupNotFound", format!("DBParameterGroup not found: {name}")).status(404)
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = identifier("DBParameterGroupName", &params.required("DBParameterGroupName")?, 255)?;
    let family = params.required("DBParameterGroupFamily")?;
    let description = params.required("Description")?;
    let tags = tagging::read(params)?;
    params.done()?;
    let major = family
        .strip_prefix("postgres")
        .and_then(|major| major.parse().ok())
        .filter(|major| catalogue::MAJORS.contains(major))
        .ok_or_else(|| {
            invalid(format!("ParameterGroupFamily {family} is not a valid parameter group family"))
        })?;
    if world.states.rds.parameter_groups.contains_key(&name) {
        return Err(Refusal::new(
            "DBParameterGroupAlreadyExists",
            format!("Parameter group {name} already exists"),
        ));
    }
    if world.states.rds.parameter_groups.len() >= GROUPS {
        return Err(Refusal::new(
            "DBParameterGroupQuotaExceeded",
            format!("Cannot create more than {GROUPS} parameter groups"),
        ));
    }
    let group = ParameterGroup { major, description, changed: BTreeMap::new(), tags, made_at: world.now };
    let document = document(world, &name, major, &group.description);
    world.states.rds.parameter_groups.insert(name, group);
    Ok(json!({ "DBParameterGroup": document }).into())
}

fn document(world: &World, name: &str, major: u32, description: &str) -> Value {
    json!({
        "DBParameterGroupName": name,
        "DBParameterGroupFamily": format!("postgres{major}"),
        "Description": description,
        "DBParameterGroupArn": world.arn("rds", &format!("pg:{name}")),
    })
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.text("DBParameterGroupName").map(|name| name.to_ascii_lowercase());
    Filters::read(params, &[])?; // "This parameter isn't currently supported."
    let page = Page::read(params)?;
    params.done()?;
    if let Some(name) = &name {
        major_of(world, name)?;
    }
    // RDS creates the default group of a family with the first instance that uses it.
    let used = |major: u32| {
        let default = default_name(major);
        world.states.rds.instances.values().any(|instance| instance.settings.parameter_group == default)
    };
    let defaults =
        catalogue::MAJORS.into_iter().map(|major| (default_name(major), major)).filter(|(default, major)| {
            match &name {
                Some(name) => name == default,
                None => used(*major),
            }
        });
    let defaults = defaults.map(|(default, major)| {
        document(world, &default, major, &format!("Default parameter group for postgres{major}"))
    });
    let own =
        world.states.rds.parameter_groups.iter().filter(|(id, group)| {
            visible(world, group.made_at) && name.as_ref().is_none_or(|name| name == *id)
        });
    let own = own.map(|(id, group)| document(world, id, group.major, &group.description));
    let (groups, marker) = page.cut(defaults.chain(own).collect());
    Ok(json!({ "DBParameterGroups/DBParameterGroup": groups, "Marker": marker }).into())
}

/// A parameter in a change or a reset.
struct Change {
    parameter: &'static Parameter,
    value: Option<String>,
    method: String,
}

fn read_changes(params: &Params, with_value: bool) -> Result<Vec<Change>, Refusal> {
    let changes: Vec<Change> = params
        .structs("Parameters")
        .iter()
        .map(|change| {
            let name = change.required("ParameterName")?;
            let parameter = parameters::find(&name)
                .ok_or_else(|| invalid(format!("Could not find parameter with name: {name}")))?;
            let value = change.text("ParameterValue");
            let method = change.required("ApplyMethod")?;
            check_method(parameter, &method)?;
            if with_value && !value.as_ref().is_some_and(|value| parameter.takes(value)) {
                return Err(invalid(format!(
                    "Invalid parameter value: {} for: {name} allowed values are: {}",
                    value.unwrap_or_default(),
                    parameter.allowed().unwrap_or_default()
                )));
            }
            Ok(Change { parameter, value, method })
        })
        .collect::<Result<_, _>>()?;
    if changes.len() > AT_ONCE {
        return Err(invalid(format!("Cannot modify more than {AT_ONCE} parameters at once")));
    }
    Ok(changes)
}

fn check_method(parameter: &Parameter, method: &str) -> Result<(), Refusal> {
    match (parameter.apply, method) {
        (Apply::Fixed, _) => Err(invalid(format!("The parameter {} cannot be modified", parameter.name))),
        (Apply::Static, "immediate") => {
            Err(contradiction("cannot use immediate apply method for static parameter"))
        }
        (_, "immediate" | "pending-reboot") => Ok(()),
        _ => Err(invalid(format!("Invalid apply method: {method}"))),
    }
}

/// The group that a call changes.
fn find_changeable<'w>(world: &'w mut World, name: &str) -> Result<&'w mut ParameterGroup, Refusal> {
    if default_major(name).is_some() {
        return Err(invalid(format!("Modifying default DBParameterGroup is not allowed: {name}")));
    }
    find(world, name)?;
    world.states.rds.parameter_groups.get_mut(name).ok_or_else(|| not_found(name))
}

/// Marks the instances for which a change takes effect with their next reboot.
fn await_reboot(world: &mut World, name: &str, changes: bool) {
    for instance in world.states.rds.instances.values_mut() {
        if changes && instance.settings.parameter_group == name {
            instance.awaits_reboot = true;
        }
    }
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("DBParameterGroupName")?.to_ascii_lowercase();
    let changes = read_changes(params, true)?;
    params.done()?;
    let group = find_changeable(world, &name)?;
    if changes.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter Parameters"));
    }
    let late = changes.iter().any(|change| change.method == "pending-reboot");
    for change in changes {
        let value = change.value.unwrap_or_default();
        group.changed.insert(change.parameter.name.to_owned(), (value, change.method));
    }
    await_reboot(world, &name, late);
    Ok(json!({ "DBParameterGroupName": name }).into())
}

pub(super) fn reset(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("DBParameterGroupName")?.to_ascii_lowercase();
    let all = params.flag("ResetAllParameters")?.unwrap_or(false);
    let changes = read_changes(params, false)?;
    params.done()?;
    if all != changes.is_empty() {
        return Err(contradiction(
            "Parameters to reset must be named unless ResetAllParameters is specified",
        ));
    }
    let group = find_changeable(world, &name)?;
    let is_static = |name: &str| parameters::find(name).is_some_and(|it| it.apply == Apply::Static);
    let late = if all {
        let late = group.changed.keys().any(|name| is_static(name));
        group.changed.clear();
        late
    } else {
        for change in &changes {
            group.changed.remove(change.parameter.name);
        }
        changes.iter().any(|change| change.method == "pending-reboot")
    };
    await_reboot(world, &name, late);
    Ok(json!({ "DBParameterGroupName": name }).into())
}

pub(super) fn describe_parameters(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("DBParameterGroupName")?.to_ascii_lowercase();
    let source = params.text("Source");
    let filters = Filters::read(params, &["parameter-name"])?;
    let page = Page::read(params)?;
    params.done()?;
    if let Some(other) =
        source.as_ref().filter(|s| !["user", "system", "engine-default"].contains(&s.as_str()))
    {
        return Err(invalid(format!("Invalid source: {other}")));
    }
    let major = major_of(world, &name)?;
    let empty = BTreeMap::new();
    let changed = world.states.rds.parameter_groups.get(&name).map_or(&empty, |group| &group.changed);
    let documents = parameters::ALL.iter().filter_map(|parameter| {
        let set = changed.get(parameter.name);
        let own = parameter.default(major);
        // RDS sets `user` only for a value that differs from the family's default (terraform-provider-aws#23335).
        let from = match (set, own) {
            (Some((value, _)), own) if own != Some(value.as_str()) => "user",
            (Some(_), _) | (None, Some(_)) => "system",
            (None, None) => "engine-default",
        };
        let wanted =
            source.as_ref().is_none_or(|source| source == from) && filters.pass(|_| Some(parameter.name));
        wanted.then(|| {
            json!({
                "ParameterName": parameter.name,
                "ParameterValue": set.map(|(value, _)| value.as_str()).or(own),
                "Description": parameter.description,
                "Source": from,
                "ApplyType": if parameter.apply == Apply::Dynamic { "dynamic" } else { "static" },
                "DataType": parameter.data_type(),
                "AllowedValues": parameter.allowed(),
                "IsModifiable": parameter.apply != Apply::Fixed,
                "ApplyMethod": set.map_or("pending-reboot", |(_, method)| method),
            })
        })
    });
    let (documents, marker) = page.cut(documents.collect());
    Ok(json!({ "Parameters/Parameter": documents, "Marker": marker }).into())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let name = params.required("DBParameterGroupName")?.to_ascii_lowercase();
    params.done()?;
    let in_use = |message: String| Err(Refusal::new("InvalidDBParameterGroupState", message));
    if default_major(&name).is_some() {
        return in_use(format!("Default DBParameterGroup cannot be deleted: {name}"));
    }
    find(world, &name)?;
    if world.states.rds.instances.values().any(|instance| instance.uses(&name)) {
        return in_use(format!(
            "One or more database instances are still members of this parameter group {name}, so the group cannot be deleted"
        ));
    }
    world.states.rds.parameter_groups.remove(&name);
    Ok(Reply::empty())
}
