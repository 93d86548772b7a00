//! `CreateDBInstance`.

use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use stackdrop_figures::MULTI_AZ_FACTOR;

use super::catalogue;
use super::checks;
use super::instance::{Birth, Instance, Node, Secret, Settings};
use super::parameter_groups::default_name;
use super::query::identifier;
use super::subnet_groups::{self, Member, SubnetGroup};
use super::{contradiction, document, events, invalid, linked_role, tagging, windows};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::{ec2, secrets};
use crate::world::{Tags, World};

/// RDS's default quotas.
const INSTANCES: usize = 40;
const STORAGE_GIBIBYTES: u64 = 100_000;

/// The first backup of an empty database is short: at most this many seconds of the total.
const BACKUP_SECONDS: f64 = 45.0;
/// When RDS creates the secret of the master password.
const SECRET_SECONDS: f64 = 60.0;

/// The refusal while RDS does not see its service-linked role. Source: aws-samples/eks-workshop-v2#1609.
const LINKED_ROLE_UNSEEN: &str = "Unable to create the resource. Verify that you have permission to create service linked \
     role. Otherwise wait and try again later";

/// Words that cannot be a master user's name: those reserved by RDS, and reserved words of SQL.
const RESERVED_USERS: [&str; 12] = [
    "admin",
    "public",
    "rds_iam",
    "rds_password",
    "rds_replication",
    "rds_superuser",
    "rdsadmin",
    "rdsrepladmin",
    "rdstopmgr",
    "rds_ad",
    "rds_reserved",
    "rdswriteforwarduser",
];
/// Names of databases that always exist or are reserved.
const RESERVED_DATABASES: [&str; 5] = ["admin", "db", "rdsadmin", "template0", "template1"];
/// PostgreSQL's reserved words (its manual, appendix C).
const RESERVED_WORDS: &str = "all analyse analyze and any array as asc asymmetric both case cast check collate column \
    constraint create current_catalog current_date current_role current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign from grant group having in initially \
    intersect into lateral leading limit localtime localtimestamp not null offset on only or order placing primary \
    references returning select session_user some symmetric system_user table then to trailing true union unique user \
    using variadic when where window with";

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let id = identifier("DBInstanceIdentifier", &params.required("DBInstanceIdentifier")?, 63)?;
    let wanted = Wanted::read(world, params)?;
    let tags = tagging::read(params)?;
    params.done()?;
    begin(world, &id, wanted, tags)
}

/// Starts the creation of an instance, empty or from a snapshot.
pub(super) fn begin(world: &mut World, id: &str, wanted: Wanted, tags: Tags) -> Result<Reply, Refusal> {
    if world.states.rds.instances.contains_key(id) {
        return Err(Refusal::new("DBInstanceAlreadyExists", "DB instance already exists"));
    }
    check_quotas(world, wanted.settings.storage)?;
    linked_role::check(world, LINKED_ROLE_UNSEEN)?;
    let nodes = wanted
        .places
        .iter()
        .map(|place| attach(world, place, &wanted.settings))
        .collect::<Result<Vec<Node>, Refusal>>()?;
    let birth = birth(world, &wanted.settings, wanted.timing);
    let secret = wanted.password_kept_with.map(|kms_key| keep_password(world, id, kms_key));
    let resource_id = resource_id(world, id);
    let instance = Instance {
        resource_id,
        settings: wanted.settings,
        master_username: wanted.master_username,
        db_name: wanted.db_name,
        subnet_group: wanted.subnet_group,
        nodes,
        kms_key: wanted.kms_key,
        secret,
        protected: wanted.protected,
        copies_tags: wanted.copies_tags,
        minor_upgrades: wanted.minor_upgrades,
        max_storage: wanted.max_storage,
        backup_window: wanted.backup_window,
        backups_since: birth.creating_until,
        maintenance_window: wanted.maintenance_window,
        lifecycle_support: wanted.lifecycle_support,
        tags,
        made_at: world.now,
        birth,
        awaits_reboot: false,
        phases: Vec::new(),
        work: None,
        waiting: None,
        storage_locked_until: Duration::ZERO,
        condition: None,
        blocks_upgrade: false,
        deletion: None,
    };
    announce(world, id, &instance);
    world.states.rds.instances.insert(id.to_owned(), instance);
    document::reply(world, id)
}

fn check_quotas(world: &World, storage: u32) -> Result<(), Refusal> {
    let instances = &world.states.rds.instances;
    if instances.len() >= INSTANCES {
        return Err(Refusal::new(
            "InstanceQuotaExceeded",
            format!("Cannot create more than {INSTANCES} DB instances"),
        ));
    }
    let allocated: u64 = instances.values().map(|instance| u64::from(instance.settings.storage)).sum();
    if allocated + u64::from(storage) > STORAGE_GIBIBYTES {
        return Err(Refusal::new(
            "StorageQuotaExceeded",
            format!("Cannot allocate more than {STORAGE_GIBIBYTES} GiB of storage in all DB instances"),
        ));
    }
    Ok(())
}

/// Creates the interface of a host in a subnet.
pub(super) fn attach(world: &mut World, place: &Member, settings: &Settings) -> Result<Node, Refusal> {
    let attachment = ec2::Attachment {
        subnet: &place.id,
        groups: &settings.groups,
        description: "RDSNetworkInterface",
        requester: "amazon-rds",
        kind: "interface",
        public: settings.public,
    };
    let attached = ec2::attach_interface(world, &attachment)
        .map_err(|refusal| Refusal::new("InvalidVPCNetworkStateFault", refusal.message))?;
    Ok(Node { interface: attached.interface, subnet: place.id.clone(), zone: place.zone.clone() })
}

/// The times of the creation's steps. The latency model's value is the total until `available`.
fn birth(world: &mut World, settings: &Settings, timing: &str) -> Birth {
    let whole = world.latency.create(timing);
    let whole = if settings.multi_az { whole.mul_f64(MULTI_AZ_FACTOR) } else { whole };
    let backup = if settings.backup_days > 0 {
        world.latency.seconds(BACKUP_SECONDS).min(whole.mul_f64(0.2))
    } else {
        Duration::ZERO
    };
    let now = world.now;
    Birth {
        endpoint_at: now + whole.mul_f64(0.7),
        creating_until: now + whole.saturating_sub(backup),
        available_at: now + whole,
        fails_at: world.fail_creation.then(|| now + whole.mul_f64(0.6)),
    }
}

fn announce(world: &mut World, id: &str, instance: &Instance) {
    let Birth { creating_until, available_at, fails_at, .. } = instance.birth;
    if let Some(at) = fails_at {
        let message = "The DB instance has failed due to an incompatible configuration or an underlying storage issue. \
                       Begin a point-in-time-restore for the DB instance.";
        events::add(world, id, at, "failure", message);
        return;
    }
    events::add(world, id, creating_until, "creation", "DB instance created");
    if instance.settings.backup_days > 0 {
        events::add(world, id, creating_until, "backup", "Backing up DB instance");
        events::add(world, id, available_at, "backup", "Finished DB Instance backup");
    }
}

/// Creates the secret of a managed master password.
pub(super) fn keep_password(world: &mut World, id: &str, kms_key: String) -> Secret {
    let number = world.number();
    let owner = world.arn("rds", &format!("db:{id}"));
    let name = format!("rds!db-{}", uuid(&format!("{owner}/{number}")));
    let arn = secrets::create_managed(world, "rds", &owner, &name);
    Secret { arn, kms_key, active_at: world.now + world.latency.seconds(SECRET_SECONDS) }
}

fn uuid(seed: &str) -> String {
    let hash = hex::encode(Sha256::digest(seed));
    [&hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32]].join("-")
}

/// AWS's own ID of an instance: it differs for each use of an identifier.
fn resource_id(world: &mut World, id: &str) -> String {
    let number = world.number();
    let hash = hex::encode_upper(Sha256::digest(format!("{}/{id}/{number}", world.account)));
    format!("db-{}", &hash[..26])
}

/// The checked parameters of the request.
pub(super) struct Wanted {
    /// The latency model's name of how it is created.
    pub(super) timing: &'static str,
    pub(super) settings: Settings,
    pub(super) master_username: String,
    pub(super) db_name: Option<String>,
    pub(super) subnet_group: String,
    pub(super) places: Vec<Member>,
    pub(super) kms_key: Option<String>,
    /// The key of the secret, if RDS manages the master password.
    pub(super) password_kept_with: Option<String>,
    pub(super) protected: bool,
    pub(super) copies_tags: bool,
    pub(super) minor_upgrades: bool,
    pub(super) max_storage: Option<u32>,
    pub(super) backup_window: String,
    pub(super) maintenance_window: String,
    pub(super) lifecycle_support: String,
}

impl Wanted {
    fn read(world: &World, params: &Params) -> Result<Self, Refusal> {
        let engine = params.required("Engine")?;
        if engine != "postgres" {
            return Err(invalid(format!("Invalid DB engine: only postgres is simulated, not {engine}")));
        }
        check_fixed(params)?;
        let backup_window = params.text("PreferredBackupWindow").unwrap_or_else(|| windows::BACKUP.into());
        let maintenance_window =
            params.text("PreferredMaintenanceWindow").unwrap_or_else(|| windows::MAINTENANCE.into());
        windows::check(&backup_window, &maintenance_window)?;
        let (subnet_group, group) = subnet_group(world, params)?;
        let settings = settings(world, params, group)?;
        let lifecycle_support = lifecycle_support(params)?;
        catalogue::check_creation(world, settings.version, &lifecycle_support)?;
        let zone = params.text("AvailabilityZone");
        let places = places(world, group, &settings, zone.as_deref())?;
        let max_storage = checks::number(params, "MaxAllocatedStorage")?;
        if let Some(max) = max_storage {
            checks::max_storage(max, settings.storage, &settings.storage_type)?;
        }
        Ok(Self {
            timing: "rds_postgres_single_az",
            places,
            subnet_group,
            max_storage,
            master_username: master_username(params)?,
            db_name: params.text("DBName").map(checked_db_name).transpose()?,
            kms_key: kms_key(world, params)?,
            password_kept_with: password(world, params)?,
            protected: params.flag("DeletionProtection")?.unwrap_or(false),
            copies_tags: params.flag("CopyTagsToSnapshot")?.unwrap_or(false),
            minor_upgrades: params.flag("AutoMinorVersionUpgrade")?.unwrap_or(true),
            lifecycle_support,
            backup_window,
            maintenance_window,
            settings,
        })
    }
}

/// Parameters with only one supported value.
fn check_fixed(params: &Params) -> Result<(), Refusal> {
    let fixed = [
        ("LicenseModel", "postgresql-license"),
        ("NetworkType", "IPV4"),
        ("BackupTarget", "region"),
        ("DatabaseInsightsMode", "standard"),
        ("MonitoringInterval", "0"),
    ];
    for (key, only) in fixed {
        if let Some(other) = params.text(key).filter(|value| value != only) {
            return Err(invalid(format!("Invalid {key}: {other}. The simulator knows {only} only")));
        }
    }
    Ok(())
}

pub(super) fn lifecycle_support(params: &Params) -> Result<String, Refusal> {
    const SUPPORTS: [&str; 2] =
        ["open-source-rds-extended-support", "open-source-rds-extended-support-disabled"];
    let support = params.text("EngineLifecycleSupport").unwrap_or_else(|| SUPPORTS[0].into());
    if SUPPORTS.contains(&support.as_str()) {
        Ok(support)
    } else {
        Err(invalid(format!("Invalid EngineLifecycleSupport: {support}")))
    }
}

pub(super) fn subnet_group<'w>(
    world: &'w World,
    params: &Params,
) -> Result<(String, &'w SubnetGroup), Refusal> {
    let name = params.text("DBSubnetGroupName").ok_or_else(|| {
        // RDS would use the default VPC; this account has none.
        Refusal::new(
            "InvalidSubnet",
            "No default subnet detected in VPC. Please contact AWS Support to recreate the default Subnets",
        )
    })?;
    let group = subnet_groups::find(world, &name)?;
    Ok((name.to_ascii_lowercase(), group))
}

fn settings(world: &World, params: &Params, group: &SubnetGroup) -> Result<Settings, Refusal> {
    let version = catalogue::resolve(world, params.text("EngineVersion").as_deref())?;
    let class = params.required("DBInstanceClass")?;
    catalogue::wanted_class(&class)?;
    let storage = checks::number(params, "AllocatedStorage")?
        .ok_or_else(|| invalid("The parameter AllocatedStorage must be provided and must not be blank."))?;
    let iops = checks::number(params, "Iops")?;
    let default_type = if iops.is_some() { "io1" } else { "gp2" };
    let parameter_group = match params.text("DBParameterGroupName") {
        Some(name) => checks::parameter_group(world, &name, version)?,
        None => default_name(catalogue::major(version)),
    };
    let option_group = format!("default:postgres-{}", catalogue::major(version));
    if let Some(other) = params.text("OptionGroupName").filter(|name| *name != option_group) {
        return Err(
            Refusal::new("OptionGroupNotFoundFault", format!("Option group not found: {other}")).status(404)
        );
    }
    let public = params.flag("PubliclyAccessible")?;
    if public == Some(true) {
        checks::public(world, group)?;
    }
    // "If the subnets are part of a VPC that has an internet gateway attached to it, the DB instance is public" (API reference).
    let public = public.unwrap_or_else(|| ec2::has_internet_gateway(world, &group.vpc));
    let mut settings = Settings {
        class,
        version,
        storage,
        storage_type: params.text("StorageType").unwrap_or_else(|| default_type.into()),
        iops,
        throughput: checks::number(params, "StorageThroughput")?,
        backup_days: checks::backup_days(checks::number(params, "BackupRetentionPeriod")?.unwrap_or(1))?,
        multi_az: params.flag("MultiAZ")?.unwrap_or(false),
        groups: checks::groups(world, &group.vpc, params.list("VpcSecurityGroupIds"))?,
        parameter_group,
        port: checks::port(checks::number(params, "Port")?.unwrap_or(5432))?,
        public,
        iam_authentication: params.flag("EnableIAMDatabaseAuthentication")?.unwrap_or(false),
        insights_days: insights(params)?,
        log_exports: checks::log_exports(params.list("EnableCloudwatchLogsExports"))?,
        certificate: params
            .text("CACertificateIdentifier")
            .map_or(Ok(checks::CERTIFICATES[0].to_owned()), checks::certificate)?,
    };
    checks::storage(&settings)?;
    (settings.iops, settings.throughput) = checks::baseline(&settings);
    Ok(settings)
}

fn insights(params: &Params) -> Result<Option<u32>, Refusal> {
    let on = params.flag("EnablePerformanceInsights")?.unwrap_or(false);
    let days = checks::number(params, "PerformanceInsightsRetentionPeriod")?;
    params.ignore("PerformanceInsightsKMSKeyId"); // it encrypts data that does not exist here
    match (on, days) {
        (true, days) => checks::insights_days(days.unwrap_or(7)).map(Some),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(contradiction(
            "PerformanceInsightsRetentionPeriod cannot be specified when Performance Insights is disabled",
        )),
    }
}

/// The subnets of the primary and the standby, in zones that offer the class.
pub(super) fn places(
    world: &World,
    group: &SubnetGroup,
    settings: &Settings,
    zone: Option<&str>,
) -> Result<Vec<Member>, Refusal> {
    if settings.multi_az && zone.is_some() {
        return Err(contradiction(
            "Requesting a specific availability zone is not valid for Multi-AZ instances.",
        ));
    }
    if let Some(zone) = zone.filter(|zone| group.subnets.iter().all(|member| member.zone != *zone)) {
        return Err(Refusal::new(
            "InvalidVPCNetworkStateFault",
            format!("The DB subnet group doesn't have a subnet in the availability zone {zone}"),
        ));
    }
    let class = catalogue::wanted_class(&settings.class)?;
    let usable = |member: &&Member| {
        class.is_in(&member.zone) && ec2::subnet(world, &member.id).is_some_and(|subnet| subnet.available)
    };
    let mut seen = BTreeSet::new();
    let mut places: Vec<Member> = group
        .subnets
        .iter()
        .filter(usable)
        .filter(|member| zone.is_none_or(|zone| member.zone == zone))
        .filter(|member| seen.insert(member.zone.clone()))
        .cloned()
        .collect();
    places.sort_by(|a, b| a.zone.cmp(&b.zone));
    let needed = if settings.multi_az { 2 } else { 1 };
    if places.len() < needed {
        return Err(Refusal::new(
            "InsufficientDBInstanceCapacity",
            format!(
                "Cannot create a database instance because no subnets in the subnet group exist in AZs with sufficient \
                 capacity for VPC and storage type: {} for {}",
                settings.storage_type, settings.class
            ),
        ));
    }
    places.truncate(needed);
    Ok(places)
}

/// The subnet of a standby.
pub(super) fn standby_place(
    world: &World,
    group: &SubnetGroup,
    settings: &Settings,
) -> Result<Vec<Member>, Refusal> {
    let settings = Settings { multi_az: true, ..settings.clone() };
    places(world, group, &settings, None)
}

fn master_username(params: &Params) -> Result<String, Refusal> {
    let name = params
        .text("MasterUsername")
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("The parameter MasterUsername must be provided and must not be blank."))?;
    let legal = name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !legal {
        return Err(invalid(
            "The parameter MasterUsername must begin with a letter, contain only alphanumeric characters and underscores, and have at most 63 of them",
        ));
    }
    let lower = name.to_ascii_lowercase();
    let reserved = RESERVED_USERS.contains(&lower.as_str())
        || lower.starts_with("pg_")
        || RESERVED_WORDS.split_whitespace().any(|word| word == lower);
    if reserved {
        return Err(invalid(format!(
            "MasterUsername {name} cannot be used as it is a reserved word used by the engine"
        )));
    }
    Ok(name)
}

fn checked_db_name(name: String) -> Result<String, Refusal> {
    let legal = (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !legal {
        return Err(invalid("DBName must begin with a letter and contain only alphanumeric characters."));
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED_DATABASES.contains(&lower.as_str())
        || RESERVED_WORDS.split_whitespace().any(|word| word == lower)
    {
        return Err(invalid(format!("DBName {name} cannot be used. It is a reserved word for this engine")));
    }
    Ok(name)
}

/// RDS's default key.
pub(super) fn default_key(world: &World, alias: &str) -> String {
    world.arn("kms", &format!("key/{}", uuid(&format!("{}/{alias}", world.account))))
}

fn kms_key(world: &World, params: &Params) -> Result<Option<String>, Refusal> {
    let encrypted = params.flag("StorageEncrypted")?;
    match (encrypted.unwrap_or(false), params.text("KmsKeyId")) {
        (true, key) => Ok(Some(key.unwrap_or_else(|| default_key(world, "aws/rds")))),
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(contradiction("KmsKeyId can only be specified when StorageEncrypted is true"))
        }
    }
}

/// The management of the master password: the key of its secret, if RDS manages it.
fn password(world: &World, params: &Params) -> Result<Option<String>, Refusal> {
    let managed = params.flag("ManageMasterUserPassword")?.unwrap_or(false);
    let key = params.text("MasterUserSecretKmsKeyId");
    match (managed, params.text("MasterUserPassword")) {
        (true, Some(_)) => Err(contradiction(
            "You can't specify MasterUserPassword for an instance with ManageMasterUserPassword enabled.",
        )),
        (true, None) => Ok(Some(key.unwrap_or_else(|| default_key(world, "aws/secretsmanager")))),
        (false, _) if key.is_some() => Err(contradiction(
            "MasterUserSecretKmsKeyId can only be specified when ManageMasterUserPassword is enabled.",
        )),
        (false, Some(password)) => checks::password(&password).map(|()| None),
        (false, None) => {
            Err(invalid("The parameter MasterUserPassword must be provided and must not be blank."))
        }
    }
}
