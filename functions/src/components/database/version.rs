//! PostgreSQL's versions: the differences between an instance and the spec, the target of an upgrade, and the end of RDS's
//! support.

use aws_sdk_rds::types::{
    DbEngineVersion, DbInstance, DbMajorEngineVersion, LifecycleSupportName, PendingModifiedValues,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use stackdrop_specs::Database;

use super::instance::LOGICAL_ID;
use super::settings::{Difference, Setting, View, WAITS};
use super::{instance, parameter_group, status};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::deployment::plan::Plan;
use crate::deployment::state::Trigger;

/// The engine's name.
pub(super) const POSTGRES: &str = "postgres";
/// The value of `EngineLifecycleSupport` without paid Extended Support. Source: API reference, `CreateDBInstance`.
pub(super) const NO_EXTENDED_SUPPORT: &str = "open-source-rds-extended-support-disabled";

/// The major version: the number before the first dot.
pub(super) fn major(version: &str) -> u32 {
    number(version.split('.').next())
}

/// The minor version, if there is one. RDS sometimes appends a suffix, such as `16.3-R2`.
pub(super) fn minor(version: &str) -> Option<u32> {
    version.split_once('.').map(|(_, minor)| number(Some(minor)))
}

fn number(text: Option<&str>) -> u32 {
    let digits: String = text.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// The differences in the version, and in the parameter group of the major version. RDS upgrades minor versions by itself, so
/// a newer one than the spec's is not a difference, nor is one that waits for the maintenance window.
pub(super) fn differences(work: &Work<'_>, spec: &Database, db: &DbInstance, view: View) -> Vec<Difference> {
    let queued = db.pending_modified_values().and_then(PendingModifiedValues::engine_version);
    let is_available = status::is_available(db);
    // An upgrade in progress counts as done; one that waits for the window does not.
    let actual = queued.filter(|_| !is_available).or(db.engine_version()).unwrap_or_default();
    let group = parameter_group::name(work, spec);
    let desired = major(&spec.version);
    let mut all = Vec::new();
    let upgrades_major = desired > major(actual);
    let upgrades_minor = desired == major(actual) && minor(&spec.version) > minor(actual).or(Some(u32::MAX));
    if upgrades_major || upgrades_minor {
        let setting = Setting::Version { version: spec.version.clone(), major: upgrades_major };
        all.push(Difference::new("version", actual, &spec.version, setting));
    } else if let Some(queued) = queued.filter(|queued| {
        is_available && view == View::Planned && desired == major(actual) && major(queued) > desired
    }) {
        let setting = Setting::KeepVersion { version: actual.to_owned(), group: group.clone() };
        all.push(Difference::new("version", format!("{queued} {WAITS}"), actual, setting));
    }
    // An upgrade in progress also changes the group, and a version that cannot be downgraded keeps its group.
    let is_upgrading = queued.is_some() && !is_available;
    if desired >= major(actual) && !is_upgrading && !instance::uses(db, &group) {
        let from = db.db_parameter_groups().iter().filter_map(|group| group.db_parameter_group_name());
        let from = from.collect::<Vec<_>>().join(", ");
        let setting = Setting::ParameterGroup(group.clone());
        all.push(Difference::new("parameterGroup", from, group, setting));
    }
    all
}

/// The differences, with the full version to which a major version alone upgrades the instance. RDS would take the major
/// version's default minor version, which can be older than the actual version allows (terraform-aws-modules/terraform-aws-rds#627).
pub(super) async fn with_full_target(
    work: &Work<'_>,
    db: &DbInstance,
    mut differences: Vec<Difference>,
) -> Result<Vec<Difference>, StepError> {
    let actual = db.engine_version().unwrap_or_default();
    for difference in &mut differences {
        let Setting::Version { version, .. } = &mut difference.setting else { continue };
        if minor(version).is_some() {
            continue;
        }
        // RDS lists retired versions, which instances may still have, only on request.
        let call = work.aws.rds().describe_db_engine_versions().engine(POSTGRES).engine_version(actual);
        let known: Vec<DbEngineVersion> = call
            .include_all(true)
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .doing(format!("listing the versions to which RDS can upgrade PostgreSQL {actual}"))?;
        if let Some(target) = newest_target(&known, actual, version) {
            target.clone_into(&mut difference.change.to);
            target.clone_into(version);
        }
    }
    Ok(differences)
}

/// The newest version that matches the desired one among those to which RDS can upgrade the actual one.
pub(super) fn newest_target<'v>(
    versions: &'v [DbEngineVersion],
    actual: &str,
    desired: &str,
) -> Option<&'v str> {
    let from = versions.iter().find(|known| known.engine_version() == Some(actual))?;
    let targets = from.valid_upgrade_target().iter().filter_map(|target| target.engine_version());
    targets.filter(|target| is_meant(desired, target)).max_by_key(|target| numbers(target))
}

/// Whether a desired version, which may be a major version alone, means a version of RDS.
pub(super) fn is_meant(desired: &str, version: &str) -> bool {
    if desired.contains('.') { version == desired } else { version.split('.').next() == Some(desired) }
}

/// A version's numbers, for sorting.
pub(super) fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| number(Some(part))).collect()
}

/// When RDS's standard support of a major version ends, if RDS says so.
pub(super) async fn support_end(work: &Work<'_>, major: u32) -> Result<Option<DateTime>, StepError> {
    let call = work.aws.rds().describe_db_major_engine_versions().engine(POSTGRES);
    let call = call.major_engine_version(major.to_string()).into_paginator().items().send();
    let majors: Vec<_> =
        call.try_collect().await.doing(format!("reading how long RDS supports PostgreSQL {major}"))?;
    Ok(end_of_standard_support(&majors))
}

/// Extended Support, which costs extra, ends later.
fn end_of_standard_support(majors: &[DbMajorEngineVersion]) -> Option<DateTime> {
    let mut lifecycles = majors.iter().flat_map(DbMajorEngineVersion::supported_engine_lifecycles);
    let standard = lifecycles.find(|lifecycle| {
        lifecycle.lifecycle_support_name() == Some(&LifecycleSupportName::OpenSourceRdsStandardSupport)
    });
    standard.and_then(|lifecycle| lifecycle.lifecycle_support_end_date().copied())
}

/// Warns half a year before RDS's standard support of the instance's version ends, or refuses a new instance after it.
pub(super) async fn plan_support(
    work: &Work<'_>,
    spec: &Database,
    db: Option<&DbInstance>,
    plan: &mut Plan,
) -> Result<(), StepError> {
    const NOTICE_SECONDS: i64 = 180 * 86_400;
    // Nobody reads the warnings of a scheduled deployment that finds nothing to do, as most do.
    if db.is_some() && work.deployment.trigger == Trigger::Schedule {
        return Ok(());
    }
    let major =
        major(&spec.version).max(db.and_then(DbInstance::engine_version).map(major).unwrap_or_default());
    let Some(end) = support_end(work, major).await? else { return Ok(()) };
    let remaining = end.secs() - work.deployment.admitted_at();
    if remaining > NOTICE_SECONDS {
        return Ok(());
    }
    let date = end.fmt(Format::DateTime).unwrap_or_default();
    let date = date.split('T').next().unwrap_or_default().to_owned();
    let fix = "set database.version to a newer major version";
    if remaining < 0 && db.is_none() {
        let why = format!(
            "RDS ended its standard support of PostgreSQL {major} on {date}, and creates no such instance"
        );
        plan.problem(LOGICAL_ID, why, fix);
        return Ok(());
    }
    let then = match db.and_then(DbInstance::engine_lifecycle_support) {
        Some(lifecycle) if lifecycle != NO_EXTENDED_SUPPORT => {
            "charges Extended Support for each vCPU and hour"
        }
        _ => "upgrades the instance by itself, in a maintenance window",
    };
    plan.warn(LOGICAL_ID, format!("RDS supports PostgreSQL {major} until {date}, and then {then}"), fix);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_sorted_by_their_numbers() {
        let mut versions = vec!["16.10", "16.9", "9.6.24", "16.3-R2"];
        versions.sort_by_key(|version| numbers(version));
        assert_eq!(versions, ["9.6.24", "16.3-R2", "16.9", "16.10"]);
    }

    #[test]
    fn the_end_of_the_standard_support_counts_in_whatever_order_rds_lists_it() {
        use aws_sdk_rds::types::SupportedEngineLifecycle;
        use aws_sdk_rds::types::builders::DbMajorEngineVersionBuilder;
        let with = |major: DbMajorEngineVersionBuilder, name: LifecycleSupportName, end: i64| {
            let end = DateTime::from_secs(end);
            let lifecycle = SupportedEngineLifecycle::builder().lifecycle_support_name(name);
            major.supported_engine_lifecycles(lifecycle.lifecycle_support_end_date(end).build())
        };
        let extended = with(
            DbMajorEngineVersion::builder(),
            LifecycleSupportName::OpenSourceRdsExtendedSupport,
            2_000_000_000,
        );
        assert_eq!(end_of_standard_support(&[extended.clone().build()]), None);
        let both = with(extended, LifecycleSupportName::OpenSourceRdsStandardSupport, 1_900_000_000);
        assert_eq!(end_of_standard_support(&[both.build()]), Some(DateTime::from_secs(1_900_000_000)));
    }

    #[test]
    fn a_major_version_alone_means_the_newest_version_that_rds_can_upgrade_to() {
        use aws_sdk_rds::types::UpgradeTarget;
        let target = |version: &str| UpgradeTarget::builder().engine_version(version).build();
        let actual = DbEngineVersion::builder().engine_version("16.13");
        let actual = ["16.14", "17.9", "17.10", "18.3"]
            .into_iter()
            .fold(actual, |known, version| known.valid_upgrade_target(target(version)));
        let known = [actual.build()];
        assert_eq!(newest_target(&known, "16.13", "17"), Some("17.10"));
        assert_eq!(newest_target(&known, "16.13", "17.9"), Some("17.9"));
        assert_eq!(newest_target(&known, "16.13", "17.6"), None);
    }
}
