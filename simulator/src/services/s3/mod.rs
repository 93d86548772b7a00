//! S3: versioned buckets with conditional writes, strongly consistent as S3 is.
//!
//! Source of the rules: the S3 API reference and user guide ("How S3 Versioning works", "Conditional writes",
//! "Working with delete markers", "Checking object integrity").

mod access;
mod buckets;
mod listing;
mod objects;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ErrorForm, Service, unknown};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::rates::Rate;
use crate::world::World;

use objects::Version;

pub(crate) static SERVICE: Service = Service {
    throttling: ErrorForm::new("SlowDown", "Please reduce your request rate.", 503),
    rate: |_| Rate::new("all", 1000.0, 500.0),
    largest_body: LARGEST_OBJECT,
    causes_events: true,
    ..Service::rest_xml("s3", "http://s3.amazonaws.com/doc/2006-03-01/", wire::route, act, access::access)
};

/// The largest object in bytes. S3 itself takes 5 GB, which would not fit into memory.
pub(crate) const LARGEST_OBJECT: usize = 64 << 20;

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Clone)]
struct Bucket {
    made_at: Duration,
    versioning: Versioning,
    /// Whether its policy allows load balancers and flow logs to write to it. The buckets that exist from the start do; a new
    /// bucket has no policy, and the simulator cannot give it one.
    admits_logs: bool,
    /// The versions of each key, newest last; every key has at least one.
    objects: BTreeMap<String, Vec<Version>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versioning {
    /// Versioning was never enabled.
    Never,
    Enabled,
    Suspended,
}

impl Bucket {
    fn new(made_at: Duration, versioning: Versioning) -> Self {
        Self { made_at, versioning, admits_logs: false, objects: BTreeMap::new() }
    }
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "ListBuckets" => buckets::list(world, params),
        "CreateBucket" => buckets::create(world, params),
        "DeleteBucket" => buckets::delete(world, params),
        "HeadBucket" => buckets::head(world, params),
        "GetBucketLocation" => buckets::location(world, params),
        "PutBucketVersioning" => buckets::put_versioning(world, params),
        "GetBucketVersioning" => buckets::get_versioning(world, params),
        "PutObject" => objects::put(world, params),
        "GetObject" | "HeadObject" => objects::get(world, params),
        "DeleteObject" => objects::delete(world, params),
        "ListObjectsV2" => listing::objects(world, params),
        "ListObjectVersions" => listing::versions(world, params),
        _ => Err(unknown("s3", operation)),
    }
}

/// The name of the request's bucket, if it exists.
fn bucket_name(world: &World, params: &Params) -> Result<String, Refusal> {
    let name = params.required("Bucket")?;
    match params.text("x-amz-expected-bucket-owner") {
        Some(owner) if owner != world.account => {
            Err(Refusal::new("AccessDenied", "Access Denied").status(403))
        }
        _ => Ok(name),
    }
}

impl State {
    fn bucket(&mut self, name: &str) -> Result<&mut Bucket, Refusal> {
        self.buckets
            .get_mut(name)
            .ok_or_else(|| Refusal::new("NoSuchBucket", "The specified bucket does not exist").status(404))
    }
}

/// Adds an empty, versioned bucket.
pub(crate) fn seed_bucket(world: &mut World, name: &str) {
    let bucket = Bucket { admits_logs: true, ..Bucket::new(world.now, Versioning::Enabled) };
    world.states.s3.buckets.entry(name.to_owned()).or_insert(bucket);
}

/// Whether a bucket exists.
pub(crate) fn exists(world: &World, name: &str) -> bool {
    world.states.s3.buckets.contains_key(name)
}

/// Whether a bucket exists and allows load balancers and flow logs to write to it.
pub(crate) fn admits_logs(world: &World, name: &str) -> bool {
    world.states.s3.buckets.get(name).is_some_and(|bucket| bucket.admits_logs)
}

// There is no inventory: buckets contain Stackdrop's own records, which outlive every stack, and belong to the
// installation.
