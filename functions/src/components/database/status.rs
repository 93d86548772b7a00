//! What the status of an instance means for a deployment.
//!
//! Source: "Viewing Amazon RDS DB instance status" in the RDS user guide.

use aws_sdk_rds::types::DbInstance;

use super::observed;
use crate::aws::error::StepError;
use crate::contract::component::Work;

/// What RDS does with an instance, or what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It accepts connections and changes, also while RDS optimizes its storage.
    Available,
    /// RDS is working on it, and will make it available.
    Working,
    /// RDS is stopping it.
    Stopping,
    /// Somebody stopped it.
    Stopped,
    /// It stays as it is until somebody acts.
    Stuck,
    /// RDS is deleting it.
    Deleting,
}

/// The status that RDS reports.
pub(super) fn status(db: &DbInstance) -> &str {
    db.db_instance_status().unwrap_or_default()
}

/// The state of an instance.
pub(super) fn of(db: &DbInstance) -> State {
    let growing = db.pending_modified_values().is_some_and(|pending| pending.allocated_storage().is_some());
    match status(db) {
        "available" | "storage-optimization" | "storage-config-upgrade" | "storage-initialization" => {
            State::Available
        }
        "stopping" => State::Stopping,
        "stopped" => State::Stopped,
        "deleting" => State::Deleting,
        "storage-full" if growing => State::Working,
        "storage-full" | "failed" | "insufficient-capacity" | "restore-error" => State::Stuck,
        status
            if status.starts_with("incompatible-")
                || status.starts_with("inaccessible-encryption-credentials") =>
        {
            State::Stuck
        }
        _ => State::Working,
    }
}

/// Whether the instance accepts connections and changes.
pub(super) fn is_available(db: &DbInstance) -> bool {
    of(db) == State::Available
}

/// Whether the instance is being deleted.
pub(super) fn is_deleting(db: &DbInstance) -> bool {
    of(db) == State::Deleting
}

/// Whether RDS refuses another change of the storage, because it still optimizes the storage after the last change.
pub(super) fn locks_storage(db: &DbInstance) -> bool {
    status(db) == "storage-optimization"
}

/// Why the deployment cannot use an instance that nobody makes available.
pub(super) async fn unhealthy(work: &Work<'_>, id: &str, db: &DbInstance) -> StepError {
    let why = format!("{}{}", reports(work, id, db).await, advice(db));
    StepError::Unhealthy { what: format!("RDS instance {id}"), why }
}

/// The status and RDS's newest events, as sentences.
pub(super) async fn reports(work: &Work<'_>, id: &str, db: &DbInstance) -> String {
    format!("it is {}. {}", status(db), newest_events(work, id).await)
}

/// RDS's newest events, as sentences.
pub(super) async fn newest_events(work: &Work<'_>, id: &str) -> String {
    let events = observed::find_events(work, id).await;
    // The status alone is reason enough to fail: an error of this call must not hide it.
    let events = events.unwrap_or_else(|error| vec![error.chain()]);
    let events = events.into_iter().map(|event| format!("{}.", event.trim_end_matches('.')));
    let events: Vec<String> = events.collect();
    format!("RDS reports: {}", if events.is_empty() { "no events.".into() } else { events.join(" ") })
}

/// How to fix the state, as sentences that begin with a space.
pub(super) fn advice(db: &DbInstance) -> &'static str {
    match status(db) {
        "storage-full" => " Set a larger database.storage, and deploy.",
        "insufficient-capacity" => {
            " AWS has no capacity for this class here: wait, or set another database.class."
        }
        "incompatible-network" => " Check that the database subnets have free IP addresses.",
        "incompatible-parameters" => {
            " Somebody set a parameter that this class does not support: reset the parameter in the parameter group, and \
             reboot the instance."
        }
        "incompatible-restore" | "failed" | "restore-error" => {
            " Restore the data from a backup; RDS cannot repair the instance."
        }
        "stopped" => " Somebody stopped it: deploy again, which starts it.",
        "deleting" => " Somebody deletes it.",
        status if status.starts_with("inaccessible-encryption-credentials") => {
            " Its KMS key cannot be used: enable the key in KMS, and start the instance (`aws rds start-db-instance`)."
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_status_is_available_in_progress_or_needs_somebody() {
        let db = |status: &str| DbInstance::builder().db_instance_status(status).build();
        for available in
            ["available", "storage-optimization", "storage-config-upgrade", "storage-initialization"]
        {
            assert_eq!(of(&db(available)), State::Available, "{available}");
        }
        for working in [
            "backing-up",
            "configuring-enhanced-monitoring",
            "configuring-iam-database-auth",
            "configuring-log-exports",
            "converting-to-vpc",
            "creating",
            "delete-precheck",
            "maintenance",
            "modifying",
            "moving-to-vpc",
            "rebooting",
            "renaming",
            "resetting-master-credentials",
            "starting",
            "upgrading",
        ] {
            assert_eq!(of(&db(working)), State::Working, "{working}");
        }
        for stuck in [
            "failed",
            "inaccessible-encryption-credentials",
            "inaccessible-encryption-credentials-recoverable",
            "incompatible-network",
            "incompatible-option-group",
            "incompatible-parameters",
            "incompatible-restore",
            "insufficient-capacity",
            "restore-error",
            "storage-full",
        ] {
            assert_eq!(of(&db(stuck)), State::Stuck, "{stuck}");
        }
        assert_eq!(of(&db("stopped")), State::Stopped);
        assert_eq!(of(&db("deleting")), State::Deleting);
    }
}
