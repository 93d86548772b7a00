//! What exists in an account before a deployment: the resources that a spec refers to and those of Stackdrop's
//! installation.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::account::Account;
use crate::authorization::{InvalidPolicy, Policy};
use crate::services::{
    acm, ec2, ecr, ecs, iam, quotas, rds, route53, s3, scheduler, secrets, sns, ssm, wafv2,
};
use crate::world::{Tags, World};

/// A resource that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    /// A versioned bucket.
    Bucket {
        /// Its name.
        name: String,
    },
    /// An issued certificate.
    Certificate {
        /// Its ARN.
        arn: String,
        /// Its domain name.
        domain: String,
    },
    /// A certificate with several names, issued or not.
    CertificateOf {
        /// Its ARN.
        arn: String,
        /// Its names, the domain name first.
        names: Vec<String>,
        /// Whether it is issued; otherwise its validation timed out.
        is_issued: bool,
    },
    /// A public hosted zone that is delegated to Route 53.
    HostedZone {
        /// Its id, such as `Z0123456789ABCDEFGHIJ`.
        id: String,
        /// Its name, such as `example.com`.
        name: String,
    },
    /// A secret in Secrets Manager.
    Secret {
        /// Its ARN.
        arn: String,
    },
    /// A secret in Secrets Manager with tags or a customer key.
    SecretOf {
        /// Its ARN.
        arn: String,
        /// Its tags.
        tags: BTreeMap<String, String>,
        /// The ARN of the customer key that encrypts it, if any.
        kms_key: Option<String>,
    },
    /// A manual snapshot of a PostgreSQL database that does not exist.
    DatabaseSnapshot {
        /// Its name.
        name: String,
        /// The version of PostgreSQL.
        version: String,
        /// The ARN of the key that encrypts it, if any.
        kms_key: Option<String>,
        /// Its tags.
        tags: BTreeMap<String, String>,
    },
    /// A parameter in Systems Manager.
    Parameter {
        /// Its ARN.
        arn: String,
        /// Its tags.
        tags: BTreeMap<String, String>,
        /// The customer key that encrypts it: its ARN, or `alias/aws/ssm`; without one, it is a plain text.
        kms_key: Option<String>,
    },
    /// An image in the account's private ECR registry, with its repository.
    Image {
        /// The image, as a task definition names it.
        image: String,
    },
    /// A pull-through cache rule of the account's private ECR registry: the registry can fetch any image from another
    /// one.
    PullThroughCache {
        /// The prefix of the repositories' names, such as `docker-hub`.
        prefix: String,
    },
    /// A web ACL of AWS WAF for load balancers, without rules.
    WebAcl {
        /// Its ARN.
        arn: String,
    },
    /// An SNS topic.
    Topic {
        /// Its ARN.
        arn: String,
        /// The ARN of the customer key that encrypts its messages, if any.
        key: Option<String>,
    },
    /// A schedule group of EventBridge Scheduler.
    ScheduleGroup {
        /// Its name.
        name: String,
    },
    /// A service quota.
    Quota {
        /// The service's code, such as `vpc`.
        service: String,
        /// The quota's code, such as `L-F678F1CE`.
        code: String,
        /// The quota's value.
        value: u32,
    },
    /// An instance type that a zone does not have.
    NotOffered {
        /// The type, such as `t4g.small`.
        instance_type: String,
        /// The zone, such as `eu-central-1a`.
        zone: String,
    },
    /// The customer key that encrypts the account's disks by default.
    DefaultEbsKey {
        /// Its ARN.
        arn: String,
    },
    /// A zone that AWS lists, but in which it creates no subnets.
    ZoneWithoutSubnets {
        /// The zone's name.
        zone: String,
    },
    /// A zone in which AWS has no capacity for instances.
    ZoneWithoutCapacity {
        /// The zone's name.
        zone: String,
    },
    /// A zone without interface endpoints for a service.
    ZoneWithoutEndpoints {
        /// The service by the last part of its name, such as `ecr.api`.
        service: String,
        /// The zone's name.
        zone: String,
    },
    /// A VPC that another account shares with this one.
    SharedVpc,
    /// An Elastic IP address that AWS manages for a service, or from a range that the account brought.
    UncountedAddress,
    /// An image that no registry has: its tasks never start.
    NoSuchImage {
        /// The image, as a task definition names it.
        image: String,
    },
    /// An image whose container exits at once.
    CrashingImage {
        /// The image, as a task definition names it.
        image: String,
        /// The exit code.
        exit_code: i32,
    },
    /// An image whose container runs for a while, passes its health checks, and then exits.
    ImageCrashingAfter {
        /// The image, as a task definition names it.
        image: String,
        /// The exit code.
        exit_code: i32,
        /// For how many seconds it runs.
        seconds: u32,
    },
    /// An image for a CPU architecture that its tasks do not have.
    ImageOfOtherArchitecture {
        /// The image, as a task definition names it.
        image: String,
    },
    /// An image whose container runs but never passes a health check.
    UnhealthyImage {
        /// The image, as a task definition names it.
        image: String,
    },
}

/// Permissions that exist from the start.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicySeed {
    /// A role of the installation: no deployment creates or deletes it.
    Role {
        /// Its ARN, with its path.
        arn: String,
        /// Its trust policy.
        trust: Value,
        /// Its inline policies, by name.
        policies: Vec<(String, Value)>,
        /// The ARNs of its managed policies.
        attached: Vec<String>,
        /// The ARN of its permissions boundary.
        boundary: Option<String>,
    },
    /// A customer managed policy.
    ManagedPolicy {
        /// Its ARN.
        arn: String,
        /// Its document.
        document: Value,
    },
    /// The policy of a bucket, topic, queue or key.
    ResourcePolicy {
        /// The resource's ARN.
        arn: String,
        /// Its document.
        document: Value,
    },
}

impl Account {
    /// Adds a resource to the account.
    pub fn seed(&self, seed: &Seed) {
        self.with(|world| place(world, seed));
    }

    /// Adds permissions to the account.
    ///
    /// # Errors
    /// If a document is not a policy, or has an element that the simulator does not support.
    pub fn seed_policy(&self, seed: &PolicySeed) -> Result<(), InvalidPolicy> {
        self.with(|world| match seed {
            PolicySeed::Role { arn, trust, policies, attached, boundary } => {
                iam::seed_role(world, arn, trust, policies, attached, boundary.as_deref())
            }
            PolicySeed::ManagedPolicy { arn, document } => iam::seed_policy(world, arn, document),
            PolicySeed::ResourcePolicy { arn, document } => {
                world.authorization.put_resource_policy(arn, Policy::read(document)?);
                Ok(())
            }
        })
    }
}

fn place(world: &mut World, seed: &Seed) {
    match seed {
        Seed::Bucket { name } => s3::seed_bucket(world, name),
        Seed::Certificate { arn, domain } => {
            acm::seed_certificate(world, arn, std::slice::from_ref(domain), true);
        }
        Seed::CertificateOf { arn, names, is_issued } => acm::seed_certificate(world, arn, names, *is_issued),
        Seed::HostedZone { id, name } => route53::seed_zone(world, id, name),
        Seed::Secret { arn } => secrets::seed(world, arn, &Tags::new(), None),
        Seed::SecretOf { arn, tags, kms_key } => secrets::seed(world, arn, tags, kms_key.as_deref()),
        Seed::DatabaseSnapshot { name, version, kms_key, tags } => {
            rds::seed_snapshot(world, name, version, kms_key.as_deref(), tags);
        }
        Seed::Parameter { arn, tags, kms_key } => ssm::seed(world, arn, tags, kms_key.as_deref()),
        Seed::Image { image } => ecr::seed(world, image),
        Seed::PullThroughCache { prefix } => ecr::seed_cache(world, prefix),
        Seed::WebAcl { arn } => wafv2::seed(world, arn),
        Seed::Topic { arn, key } => sns::seed_topic(world, arn, key.as_deref()),
        Seed::ScheduleGroup { name } => scheduler::seed_group(world, name),
        Seed::Quota { service, code, value } => quotas::seed(world, service, code, *value),
        Seed::NotOffered { instance_type, zone } => ec2::seed_not_offered(world, instance_type, zone),
        Seed::ZoneWithoutSubnets { zone } => {
            ec2::seed_lack(world, ec2::Lack::Subnets { zone: zone.clone() });
        }
        Seed::ZoneWithoutCapacity { zone } => {
            ec2::seed_lack(world, ec2::Lack::Capacity { zone: zone.clone() });
        }
        Seed::ZoneWithoutEndpoints { service, zone } => {
            let (service, zone) = (service.clone(), zone.clone());
            ec2::seed_lack(world, ec2::Lack::EndpointService { service, zone });
        }
        Seed::SharedVpc => ec2::seed_shared_vpc(world),
        Seed::UncountedAddress => ec2::seed_uncounted_address(world),
        Seed::DefaultEbsKey { arn } => ec2::seed_default_key(world, arn),
        Seed::NoSuchImage { image } => ecs::seed_image(world, image, ecs::ImageView::Missing),
        Seed::CrashingImage { image, exit_code } => {
            ecs::seed_image(world, image, ecs::ImageView::Crashes(ecs::Crash::at_once(*exit_code)));
        }
        Seed::ImageCrashingAfter { image, exit_code, seconds } => {
            let crash = ecs::Crash { code: *exit_code, after_seconds: *seconds, line: None };
            ecs::seed_image(world, image, ecs::ImageView::Crashes(crash));
        }
        Seed::ImageOfOtherArchitecture { image } => {
            ecs::seed_image(world, image, ecs::ImageView::Crashes(ecs::Crash::wrong_architecture()));
        }
        Seed::UnhealthyImage { image } => ecs::seed_image(world, image, ecs::ImageView::Unhealthy),
    }
}
