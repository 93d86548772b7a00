//! The storage of an instance: its size, its type, and the limit of its automatic growth.

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use aws_sdk_rds::types::{DbInstance, PendingModifiedValues};
use stackdrop_specs::Database;

use super::settings::{Difference, Setting, View, shown, size};
use super::status;
use crate::contract::component::Work;

/// The storage type of every instance.
pub(super) const STORAGE_TYPE: &str = "gp3";
/// From this size on, in GiB, gp3 has IOPS and a throughput of its own, which a change of the size must name. Below it, they
/// must not be named. Source: "gp3 storage" in the RDS user guide; API reference, `ModifyDBInstance`, `AllocatedStorage`.
const STRIPED: i32 = 400;
/// The smallest values from that size on.
const IOPS: i32 = 12_000;
const THROUGHPUT: i32 = 500;

/// A change of the storage, as RDS wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    size: Option<i32>,
    retyped: bool,
    iops: Option<i32>,
    throughput: Option<i32>,
}

impl Wanted {
    fn new(db: &DbInstance, to: Option<i32>, retyped: bool) -> Self {
        let is_striped = to.unwrap_or(allocated(db)) >= STRIPED;
        // Higher values that somebody bought are kept.
        let kept = |actual: Option<i32>, least: i32| is_striped.then(|| actual.unwrap_or(least).max(least));
        let (iops, throughput) = (db.iops(), db.storage_throughput());
        Self {
            size: to,
            retyped,
            iops: kept(iops.filter(|_| !retyped), IOPS),
            throughput: kept(throughput.filter(|_| !retyped), THROUGHPUT),
        }
    }

    pub(super) fn add_to(&self, call: ModifyDBInstanceFluentBuilder) -> ModifyDBInstanceFluentBuilder {
        // The builder's setters replace a value: two differences of the storage set the same IOPS.
        let call = if self.retyped { call.storage_type(STORAGE_TYPE) } else { call };
        let call = match self.size {
            Some(size) => call.allocated_storage(size),
            None => call,
        };
        match (self.iops, self.throughput) {
            (Some(iops), Some(throughput)) => call.iops(iops).storage_throughput(throughput),
            _ => call,
        }
    }
}

/// The size of the storage in GiB; while RDS is changing it, the new size.
fn allocated(db: &DbInstance) -> i32 {
    let pending = db.pending_modified_values().and_then(PendingModifiedValues::allocated_storage);
    pending.filter(|_| !status::is_available(db)).or(db.allocated_storage()).unwrap_or_default()
}

/// The differences in size and type. More storage than in the spec is not a difference: it may have grown by itself.
pub(super) fn differences(spec: &Database, db: &DbInstance, view: View) -> Vec<Difference> {
    let mut all = Vec::new();
    let (actual, desired) = (allocated(db), size(spec.storage));
    let grows = desired > actual;
    let pending = db.pending_modified_values().and_then(PendingModifiedValues::storage_type);
    let pending = pending.filter(|_| view == View::Planned);
    let storage_type = pending.or(db.storage_type()).filter(|actual| *actual != STORAGE_TYPE);
    // One call sets both, so the IOPS follow from the new size.
    let to = grows.then_some(desired);
    if grows {
        let setting = Setting::Storage(Wanted::new(db, to, storage_type.is_some()));
        all.push(Difference::new("storage", actual, desired, setting));
    }
    if let Some(from) = storage_type {
        let setting = Setting::Storage(Wanted::new(db, to, true));
        all.push(Difference::new("storageType", from, STORAGE_TYPE, setting));
    }
    all
}

/// Whether RDS accepts a limit: at least a tenth more than is allocated. Source: RDS's message "The maximum allocated storage
/// must be increased by at least 10 percent" (ministryofjustice/cloud-platform-environments#24422).
fn accepts_ceiling(ceiling: i32, allocated: i32) -> bool {
    i64::from(ceiling) * 10 >= i64::from(allocated) * 11
}

/// The difference in the limit of automatic growth.
pub(super) fn ceiling(work: &Work<'_>, spec: &Database, db: &DbInstance) -> Option<Difference> {
    let (actual, allocated) = (db.max_allocated_storage(), allocated(db));
    let Some(desired) = spec.max_storage.map(size) else {
        // A limit equal to the size turns automatic growth off.
        let off = allocated.max(size(spec.storage));
        return actual
            .filter(|actual| *actual > allocated)
            .map(|actual| Difference::new("maxStorage", actual, "(none)", Setting::MaxStorage(off)));
    };
    // Storage that has grown to the limit cannot grow further, whether RDS still shows the limit or not.
    let is_reached = !accepts_ceiling(desired, allocated) && actual.is_none_or(|actual| actual <= allocated);
    let refused = work.deployment.rolling_back && !accepts_ceiling(desired, allocated);
    (actual != Some(desired) && !is_reached && !refused)
        .then(|| Difference::new("maxStorage", shown(actual), desired, Setting::MaxStorage(desired)))
}

/// The changes of the storage that RDS refuses: why, and how to fix it.
pub(super) fn refusals(
    work: &Work<'_>,
    spec: &Database,
    baseline: Option<&Database>,
    db: &DbInstance,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let (actual, desired) = (allocated(db), size(spec.storage));
    // The storage may have grown by itself, or RDS rounded it up (by at most a tenth): then the spec does not reduce it.
    let may_have_grown_to = spec.max_storage.unwrap_or(spec.storage + spec.storage.div_ceil(10));
    let shrinks = match baseline {
        Some(baseline) => spec.storage < baseline.storage,
        None => size(may_have_grown_to) < actual,
    };
    if desired < actual && shrinks {
        all.push((
            format!(
                "database.storage cannot be reduced from {actual} to {desired} GiB: RDS does not support it"
            ),
            format!("set database.storage to {actual} or more"),
        ));
    }
    let fields: Vec<String> =
        differences(spec, db, View::Planned).into_iter().map(|difference| difference.change.field).collect();
    if status::locks_storage(db) && !fields.is_empty() {
        all.push((
            format!(
                "RDS cannot change the {} yet: it still optimizes the storage of {actual} GiB after its last change",
                fields.join(" and ")
            ),
            "deploy again once the RDS instance is `available`, which can take hours".to_owned(),
        ));
    }
    if let Some(Difference { setting: Setting::MaxStorage(limit), .. }) = ceiling(work, spec, db)
        && spec.max_storage.is_some()
        && !accepts_ceiling(limit, actual.max(desired))
    {
        let least = (actual.max(desired) * 11 + 9) / 10;
        all.push((
            format!(
                "database.maxStorage cannot be set to {limit} GiB: RDS has allocated {actual} GiB, and the limit must be at \
                 least a tenth more"
            ),
            format!("set database.maxStorage to {least} or more"),
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iops_are_named_from_400_gib_on_and_those_of_another_type_are_not_kept() {
        let db = |gib: i32, kind: &str, iops: i32| {
            let db = DbInstance::builder().db_instance_status("available").allocated_storage(gib);
            db.storage_type(kind).iops(iops).storage_throughput(1000).build()
        };
        for (db, storage, wanted) in [
            // Higher values of the same type, which somebody bought, stay.
            (db(20, STORAGE_TYPE, 14_000), 399, (Some(399), false, None, None)),
            (db(20, STORAGE_TYPE, 14_000), 400, (Some(400), false, Some(14_000), Some(1000))),
            (db(400, "io2", 20_000), 400, (None, true, Some(IOPS), Some(THROUGHPUT))),
            (db(399, "io2", 20_000), 399, (None, true, None, None)),
        ] {
            let text = format!(
                "stack: shop\ndatabase: {{ version: '16', class: db.t4g.small, storage: {storage}, name: a }}"
            );
            let spec = stackdrop_specs::Spec::read(text.as_bytes()).unwrap().database.unwrap();
            let (size, retyped, iops, throughput) = wanted;
            let found: Vec<Setting> =
                differences(&spec, &db, View::Planned).into_iter().map(|it| it.setting).collect();
            assert_eq!(found, [Setting::Storage(Wanted { size, retyped, iops, throughput })], "{storage}");
        }
    }
}
