//! Preflight checks of the database: the versions, classes, sizes and zones that RDS offers.
//!
//! They run only if the plan creates the instance or changes one of these.

use std::collections::BTreeSet;

use aws_sdk_rds::types::{DbEngineVersion, DbInstance, OrderableDbInstanceOption};
use stackdrop_specs::Database;

use super::instance::LOGICAL_ID;
use super::observed::Observed;
use super::settings::{self, Setting, View, size};
use super::status;
use super::storage::STORAGE_TYPE;
use super::version::{POSTGRES, is_meant, major, newest_target, numbers};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::zones::zone_names;
use crate::deployment::plan::Plan;

/// Plans the problems for which RDS would reject the spec.
pub(super) async fn plan(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let instance = observed.instance.as_ref().filter(|instance| !status::is_deleting(instance));
    let Some(requested) = requested(work, spec, instance) else { return Ok(()) };
    let versions = find_versions(work).await?;
    let version = if requested.version {
        match desired_version(&versions, spec, instance) {
            Ok(version) => version.to_owned(),
            Err((why, fix)) => {
                plan.problem(LOGICAL_ID, why, fix);
                return Ok(());
            }
        }
    } else {
        instance.and_then(DbInstance::engine_version).unwrap_or(&spec.version).to_owned()
    };
    let is_bare = instance.is_none() && !spec.version.contains('.');
    let default = if is_bare { find_default(work, &spec.version).await? } else { None };
    let version = default.unwrap_or(version);
    // RDS offers nothing for a version that it has retired, but still changes the instances of that version.
    if !versions.iter().any(|known| known.engine_version() == Some(&version) && is_offered(known)) {
        return Ok(());
    }
    let (options, zones) =
        tokio::try_join!(find_options(work, &version, &spec.class), find_zones(work, instance))?;
    for (why, fix) in refusals(spec, &version, &options, &zones) {
        plan.problem(LOGICAL_ID, why, fix);
    }
    Ok(())
}

/// What the plan requests from RDS.
#[derive(Debug, Clone, Copy)]
struct Requested {
    /// Whether it requests a version: for the creation, or an upgrade.
    version: bool,
}

fn requested(work: &Work<'_>, spec: &Database, instance: Option<&DbInstance>) -> Option<Requested> {
    let Some(instance) = instance else { return Some(Requested { version: true }) };
    let differences = settings::differences(work, spec, instance, View::Planned);
    let any = |is: fn(&Setting) -> bool| differences.iter().any(|difference| is(&difference.setting));
    let version = any(|setting| matches!(setting, Setting::Version { .. }));
    let rest = any(|setting| {
        matches!(
            setting,
            Setting::Class(_) | Setting::Storage(_) | Setting::MaxStorage(_) | Setting::MultiAz(true)
        )
    });
    (version || rest).then_some(Requested { version })
}

async fn find_versions(work: &Work<'_>) -> Result<Vec<DbEngineVersion>, StepError> {
    // Instances keep versions that RDS has retired, and must be upgraded from them.
    let call = work.aws.rds().describe_db_engine_versions().engine(POSTGRES).include_all(true);
    let pages = call.into_paginator().items();
    pages.send().try_collect().await.doing("listing RDS's PostgreSQL versions")
}

/// The version that the spec means, if RDS creates it, or can upgrade the instance to it; otherwise why not, and how to fix it.
fn desired_version<'v>(
    versions: &'v [DbEngineVersion],
    spec: &Database,
    instance: Option<&DbInstance>,
) -> Result<&'v str, (String, String)> {
    let mut known: Vec<&str> = versions
        .iter()
        .filter(|version| is_offered(version))
        .filter_map(DbEngineVersion::engine_version)
        .collect();
    known.sort_by_key(|version| numbers(version));
    let desired = &spec.version;
    let Some(version) = known.iter().copied().rfind(|version| is_meant(desired, version)) else {
        let same_major: Vec<&str> =
            known.iter().copied().filter(|version| major(version) == major(desired)).collect();
        let majors: BTreeSet<u32> = known.iter().map(|version| major(version)).collect();
        let majors = majors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let choice = if same_major.is_empty() { majors } else { same_major.join(", ") };
        return Err((
            format!("RDS has no PostgreSQL {desired} (database.version)"),
            format!("set database.version to one that it has: {choice}"),
        ));
    };
    let Some(actual) = instance.and_then(DbInstance::engine_version) else { return Ok(version) };
    let from = versions.iter().find(|known| known.engine_version() == Some(actual));
    // RDS no longer lists the current version: leave the decision to RDS.
    let Some(from) = from else { return Ok(version) };
    if let Some(target) = newest_target(versions, actual, desired) {
        return Ok(target);
    }
    let targets = from.valid_upgrade_target().iter().filter_map(|target| target.engine_version());
    Err((
        format!("database.version cannot be changed from {actual} to {desired} in one step"),
        format!(
            "set database.version to one that RDS can upgrade to first: {}",
            targets.collect::<Vec<_>>().join(", ")
        ),
    ))
}

/// Whether RDS still creates instances of a version.
fn is_offered(version: &DbEngineVersion) -> bool {
    version.status() != Some("deprecated")
}

/// RDS's default minor version of a major version: the one that it takes if a creation names only the major version.
async fn find_default(work: &Work<'_>, major: &str) -> Result<Option<String>, StepError> {
    let call = work.aws.rds().describe_db_engine_versions().engine(POSTGRES).engine_version(major);
    let pages = call.default_only(true).into_paginator().items().send();
    let found: Vec<DbEngineVersion> =
        pages.try_collect().await.doing(format!("looking for the default version of PostgreSQL {major}"))?;
    Ok(found.into_iter().find_map(|version| version.engine_version))
}

async fn find_options(
    work: &Work<'_>,
    version: &str,
    class: &str,
) -> Result<Vec<OrderableDbInstanceOption>, StepError> {
    let call = work.aws.rds().describe_orderable_db_instance_options().engine(POSTGRES).vpc(true);
    let pages = call.engine_version(version).db_instance_class(class).into_paginator().items();
    pages.send().try_collect().await.doing(format!("looking for the offers of database class {class}"))
}

/// The zones of the database subnets: of the existing ones, or those that a new network will use, the first ones by name.
async fn find_zones(work: &Work<'_>, instance: Option<&DbInstance>) -> Result<BTreeSet<String>, StepError> {
    if let Some(group) = instance.and_then(DbInstance::db_subnet_group) {
        let zones = group.subnets().iter().filter_map(|subnet| subnet.subnet_availability_zone()?.name());
        return Ok(zones.map(str::to_owned).collect());
    }
    if let Some(network) = &work.outputs.network {
        let ids = network.database_subnets.values().cloned().collect();
        let call = work.aws.ec2().describe_subnets().set_subnet_ids(Some(ids)).send().await;
        if let Some(response) =
            call.unless(&["InvalidSubnetID.NotFound"]).doing("reading the database subnets")?
        {
            let zones = response.subnets().iter().filter_map(|subnet| subnet.availability_zone());
            return Ok(zones.map(str::to_owned).collect());
        }
    }
    Ok(zone_names(work).await?.into_iter().collect())
}

/// Everything that RDS does not offer: why, and how to fix it.
fn refusals(
    spec: &Database,
    version: &str,
    options: &[OrderableDbInstanceOption],
    zones: &BTreeSet<String>,
) -> Vec<(String, String)> {
    let class = &spec.class;
    let Some(option) = options.iter().find(|option| option.storage_type() == Some(STORAGE_TYPE)) else {
        return vec![(
            format!("RDS does not offer database.class {class} for PostgreSQL {version} in this region"),
            format!(
                "set database.class to one that `aws rds describe-orderable-db-instance-options --engine \
                 {POSTGRES} --engine-version {version}` lists"
            ),
        )];
    };
    let mut all = Vec::new();
    let offered: BTreeSet<&str> = option.availability_zones().iter().filter_map(|zone| zone.name()).collect();
    let usable = zones.iter().filter(|zone| offered.contains(zone.as_str())).count();
    let needed = if spec.multi_az { 2 } else { 1 };
    if usable < needed {
        let list = |zones: Vec<&str>| zones.join(", ");
        all.push((
            format!(
                "RDS offers database.class {class} in {}, and {needed} of the zones of the database subnets ({}) \
                 must have it",
                list(offered.into_iter().collect()),
                list(zones.iter().map(String::as_str).collect())
            ),
            "set another database.class".to_owned(),
        ));
    }
    if spec.multi_az && option.multi_az_capable() == Some(false) {
        all.push((
            format!("RDS offers no standby for database.class {class}"),
            "set another database.class, or database.multiAz: false".to_owned(),
        ));
    }
    let (least, most) = (option.min_storage_size(), option.max_storage_size());
    let sizes = [("storage", Some(spec.storage)), ("maxStorage", spec.max_storage)];
    for (field, desired) in sizes.into_iter().filter_map(|(field, desired)| Some((field, desired?))) {
        if least.is_some_and(|least| size(desired) < least) || most.is_some_and(|most| size(desired) > most) {
            let (least, most) = (least.unwrap_or_default(), most.unwrap_or(i32::MAX));
            all.push((
                format!("RDS offers database.class {class} with {least} to {most} GiB, not {desired}"),
                format!("set database.{field} to a value from {least} to {most}"),
            ));
        }
    }
    if spec.max_storage.is_some() && option.supports_storage_autoscaling() == Some(false) {
        all.push((
            format!("database.class {class} does not support storage autoscaling"),
            "remove database.maxStorage, or set another database.class".to_owned(),
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use aws_sdk_rds::types::AvailabilityZone;
    use aws_sdk_rds::types::builders::OrderableDbInstanceOptionBuilder;

    use super::*;

    fn spec(more: &str) -> Database {
        let text = format!("stack: shop\ndatabase: {{ version: '17', class: db.m5.large, name: a{more} }}");
        stackdrop_specs::Spec::read(text.as_bytes()).unwrap().database.unwrap()
    }

    /// An offer in two zones.
    fn offer(zones: [&str; 2]) -> OrderableDbInstanceOptionBuilder {
        let zone = |name: &str| AvailabilityZone::builder().name(name).build();
        let offer = OrderableDbInstanceOption::builder().storage_type(STORAGE_TYPE);
        let offer = offer.min_storage_size(20).max_storage_size(65_536);
        zones.into_iter().fold(offer, |offer, name| offer.availability_zones(zone(name)))
    }

    #[test]
    fn a_standby_needs_a_class_that_two_of_the_zones_have() {
        let option = offer(["eu-central-1a", "eu-central-1c"]).build();
        let zones = ["eu-central-1a", "eu-central-1b"].map(str::to_owned).into();
        let refused = |more: &str| refusals(&spec(more), "17.7", std::slice::from_ref(&option), &zones);
        assert_eq!(refused(""), Vec::new());
        let [(why, _)] = &refused(", multiAz: true")[..] else { panic!("one refusal") };
        assert!(why.contains("in eu-central-1a, eu-central-1c, and 2 of the zones"), "{why}");
    }

    #[test]
    fn each_limit_of_an_offer_is_a_problem_only_for_a_spec_beyond_it() {
        let zones = ["a", "b"];
        let no_standby = || offer(zones).multi_az_capable(false);
        let small = || offer(zones).max_storage_size(100);
        let fixed = || offer(zones).supports_storage_autoscaling(false);
        for (offer, more, expected) in [
            (offer(zones), ", multiAz: true, maxStorage: 100", None),
            (no_standby(), "", None),
            (no_standby(), ", multiAz: true", Some("set another database.class, or database.multiAz: false")),
            (offer(zones).min_storage_size(50), ", storage: 49", Some("50 to 65536 GiB, not 49")),
            (offer(zones).min_storage_size(50), ", storage: 50", None),
            (small(), ", storage: 80, maxStorage: 100", None),
            (small(), ", storage: 101", Some("set database.storage to a value from 20 to 100")),
            (small(), ", maxStorage: 101", Some("set database.maxStorage to a value from 20 to 100")),
            (fixed(), "", None),
            (
                fixed(),
                ", maxStorage: 100",
                Some("does not support storage autoscaling; remove database.maxStorage"),
            ),
            (offer(zones).storage_type("io2"), "", Some("RDS does not offer database.class db.m5.large")),
        ] {
            let zones = zones.map(str::to_owned).into();
            let refused = refusals(&spec(more), "17.7", &[offer.build()], &zones);
            let refused: Vec<String> = refused.iter().map(|(why, fix)| format!("{why}; {fix}")).collect();
            assert_eq!(refused.len(), usize::from(expected.is_some()), "{more}: {refused:?}");
            let is_told = expected.is_none_or(|expected| refused[0].contains(expected));
            assert!(is_told, "{expected:?}: {refused:?}");
        }
    }
}
