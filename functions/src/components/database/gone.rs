//! A database that was there and is gone. Stackdrop replaces it by an empty one only if somebody agrees to that by its name, and
//! by an older one only if somebody names the snapshot.

use aws_sdk_rds::types::{DbInstanceAutomatedBackup, DbSnapshot, Filter};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use stackdrop_specs::Database;

use super::instance::{LOGICAL_ID, identifier};
use super::observed::Observed;
use super::status;
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;

/// Why there is no database, and what a person can do.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) why: String,
    pub(super) fix: String,
}

impl From<Gone> for StepError {
    fn from(gone: Gone) -> Self {
        Self::Gone(format!("{}; {}", gone.why, gone.fix))
    }
}

/// The database that the last good deployment had, if it does not exist and must not be created.
pub(super) async fn find(
    work: &Work<'_>,
    spec: &Database,
    observed: &Observed,
) -> Result<Option<Gone>, StepError> {
    let exists = observed.instance.as_ref().is_some_and(|db| !status::is_deleting(db));
    // The plan names the other owner.
    let is_taken = observed.not_owned.iter().any(|(logical_id, _)| *logical_id == LOGICAL_ID);
    if exists || is_taken || may_be_created(work, spec) {
        return Ok(None);
    }
    let id = identifier(work);
    let (snapshots, backups) = tokio::try_join!(find_snapshots(work, &id), find_backups(work, &id))?;
    let (snapshot, backup) = (newest_snapshot(&snapshots), newest_backup(&backups));
    let state = if observed.instance.is_some() { "is being deleted" } else { "is gone: somebody deleted it" };
    let why = format!("the database {id} {state}; {}", remaining(snapshot, backup));
    Ok(Some(Gone { why, fix: fix(work, spec, &id, snapshot, backup) }))
}

/// Whether a database may be created: the stack had none, somebody agreed to lose its data, or names a snapshot. The baseline's
/// own snapshot is no such decision: it is older than the data that is lost.
fn may_be_created(work: &Work<'_>, spec: &Database) -> bool {
    let baseline = work.deployment.baseline.as_ref().and_then(|baseline| baseline.spec.database.as_ref());
    let Some(baseline) = baseline else { return true };
    let is_agreed = work.deployment.consent.empty_database.as_ref() == Some(&identifier(work));
    is_agreed || (spec.restore_from.is_some() && spec.restore_from != baseline.restore_from)
}

/// The snapshots of the instances that had the identifier. The parameter for an identifier "must match the identifier of an
/// existing `DBInstance`" (API reference, `DescribeDBSnapshots`), the filter need not.
async fn find_snapshots(work: &Work<'_>, id: &str) -> Result<Vec<DbSnapshot>, StepError> {
    let call = work.aws.rds().describe_db_snapshots().filters(of_instance(id));
    let pages = call.into_paginator().items().send();
    pages.try_collect().await.doing(format!("looking for snapshots of RDS instance {id}"))
}

async fn find_backups(work: &Work<'_>, id: &str) -> Result<Vec<DbInstanceAutomatedBackup>, StepError> {
    let call = work.aws.rds().describe_db_instance_automated_backups().filters(of_instance(id));
    let pages = call.into_paginator().items().send();
    pages.try_collect().await.doing(format!("looking for automated backups of RDS instance {id}"))
}

fn of_instance(id: &str) -> Filter {
    Filter::builder().name("db-instance-id").values(id).build()
}

/// The newest snapshot that can be restored, or will be: RDS does not say when one began that it still takes.
fn newest_snapshot(snapshots: &[DbSnapshot]) -> Option<&DbSnapshot> {
    let usable =
        snapshots.iter().filter(|it| ["available", "creating"].contains(&it.status().unwrap_or_default()));
    usable.max_by_key(|it| it.snapshot_create_time().map_or(i128::MAX, DateTime::as_nanos))
}

fn newest_backup(backups: &[DbInstanceAutomatedBackup]) -> Option<(&str, &DateTime)> {
    let ends = backups.iter().filter_map(|backup| {
        Some((backup.db_instance_automated_backups_arn()?, backup.restore_window()?.latest_time()?))
    });
    ends.max_by_key(|(_, latest)| latest.as_nanos())
}

/// What remains of the data.
fn remaining(snapshot: Option<&DbSnapshot>, backup: Option<(&str, &DateTime)>) -> String {
    let snapshot = snapshot.map(|snapshot| {
        let made = snapshot.snapshot_create_time().map_or_else(|| "being taken".to_owned(), date);
        format!("the newest snapshot is {} ({made})", snapshot.db_snapshot_identifier().unwrap_or_default())
    });
    let backup = backup.map(|(_, latest)| format!("the automated backups end at {}", date(latest)));
    match (snapshot, backup) {
        (None, None) => "RDS has no snapshot and no automated backup of it".to_owned(),
        (snapshot, backup) => snapshot.into_iter().chain(backup).collect::<Vec<_>>().join(", "),
    }
}

fn date(time: &DateTime) -> String {
    let text = time.fmt(Format::DateTime).unwrap_or_default();
    // Without fractions of a second.
    text.split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned() + "Z"
}

fn fix(
    work: &Work<'_>,
    spec: &Database,
    id: &str,
    snapshot: Option<&DbSnapshot>,
    backup: Option<(&str, &DateTime)>,
) -> String {
    let snapshot = snapshot.and_then(DbSnapshot::db_snapshot_identifier);
    let restored = snapshot.filter(|name| spec.restore_from.as_deref() != Some(*name));
    let mut ways = Vec::new();
    if let Some(name) = restored {
        ways.push(format!("set database.restoreFrom: {name}"));
    } else if let Some((arn, _)) = backup.filter(|_| snapshot.is_none()) {
        ways.push(format!(
            "restore the backup to another instance (`aws rds restore-db-instance-to-point-in-time \
             --source-db-instance-automated-backups-arn {arn}`), take a snapshot of that instance, and set \
             database.restoreFrom to it"
        ));
    }
    let file = work.deployment.source.key.rsplit('/').next().unwrap_or_default();
    let command = format!("`stackdrop deploy {file} --empty-database {id}`");
    ways.push(match &spec.restore_from {
        Some(same) => format!("restore {same} again ({command})"),
        None => format!("begin with an empty database ({command})"),
    });
    ways.join(", or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, status: &str, made: Option<i64>) -> DbSnapshot {
        let snapshot = DbSnapshot::builder().db_snapshot_identifier(name).status(status);
        snapshot.set_snapshot_create_time(made.map(DateTime::from_secs)).build()
    }

    #[test]
    fn the_newest_snapshot_is_one_that_can_be_restored() {
        let newest = |all: &[DbSnapshot]| {
            newest_snapshot(all).and_then(DbSnapshot::db_snapshot_identifier).map(str::to_owned)
        };
        let (old, new) = (snapshot("old", "available", Some(1)), snapshot("new", "available", Some(2)));
        let failed = snapshot("failed", "failed", Some(3));
        assert_eq!(newest(&[new.clone(), old.clone(), failed.clone()]).as_deref(), Some("new"));
        assert_eq!(newest(&[new, snapshot("now", "creating", None), old]).as_deref(), Some("now"));
        assert_eq!(newest(&[failed]), None);
    }

    #[test]
    fn the_newest_backup_is_the_one_that_ends_last() {
        use aws_sdk_rds::types::RestoreWindow;
        let backup = |arn: &str| DbInstanceAutomatedBackup::builder().db_instance_automated_backups_arn(arn);
        let ending = |arn: &str, latest: i64| {
            let window = RestoreWindow::builder().latest_time(DateTime::from_secs(latest)).build();
            backup(arn).restore_window(window).build()
        };
        let all = [ending("older", 1), ending("newest", 3), ending("old", 2), backup("being-taken").build()];
        assert_eq!(newest_backup(&all).map(|(arn, _)| arn), Some("newest"));
        assert_eq!(newest_backup(&all[3..]), None);
    }

    #[test]
    fn what_remains_is_named_with_its_time() {
        let (backup, made) = (DateTime::from_secs(1_767_225_600), Some(1_767_229_200));
        assert_eq!(
            remaining(Some(&snapshot("last", "available", made)), Some(("arn", &backup))),
            "the newest snapshot is last (2026-01-01T01:00:00Z), the automated backups end at 2026-01-01T00:00:00Z"
        );
        assert_eq!(
            remaining(Some(&snapshot("last", "creating", None)), None),
            "the newest snapshot is last (being taken)"
        );
        assert_eq!(remaining(None, None), "RDS has no snapshot and no automated backup of it");
    }
}
