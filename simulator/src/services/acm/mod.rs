//! Certificate Manager: certificates that are requested, validated by DNS, and used by listeners.

mod access;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Service, route53, unknown};
use crate::clock::Clock;
use crate::incident::Incident;
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{self, Tags, World};

pub(crate) static SERVICE: Service = Service {
    advance,
    inventory,
    can_fail: &["RequestCertificate"],
    severe_incidents: &[
        Incident {
            name: "certificate-untagged",
            what: "Somebody removes the stack's tag from the certificate",
            cause: |world, stack| {
                change(world, stack, |certificate| drop(certificate.tags.remove("stackdrop:stack")))
            },
        },
        Incident {
            name: "certificate-revoked",
            what: "AWS revokes the certificate",
            cause: |world, stack| change(world, stack, |certificate| certificate.status = Status::Revoked),
        },
    ],
    ..Service::json("acm", "1.1", "CertificateManager", act, access::access)
};

/// The state of this service: certificates by ARN.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    certificates: BTreeMap<String, Certificate>,
}

#[derive(Debug, Clone)]
struct Certificate {
    arn: String,
    /// The domain and its alternative names, without duplicates, in the order of the request.
    domains: Vec<String>,
    key_algorithm: String,
    /// The request's idempotency token.
    token: Option<String>,
    tags: Tags,
    created: Duration,
    status: Status,
    /// How long validation takes once all its records are in sync.
    validation: Duration,
    /// Whether validation will fail instead.
    fails: bool,
    /// The ARNs of the load balancers that use it, each with the end of its use, if it has ended.
    users: BTreeMap<String, Option<Duration>>,
    /// Whether it existed before the simulation.
    seeded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    Issued { at: Duration },
    Failed,
    TimedOut,
    Revoked,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING_VALIDATION",
            Self::Issued { .. } => "ISSUED",
            Self::Failed => "FAILED",
            Self::TimedOut => "VALIDATION_TIMED_OUT",
            Self::Revoked => "REVOKED",
        }
    }
}

/// For how many seconds after its request a certificate is unknown to other calls.
const UNKNOWN_SECONDS: f64 = 0.5;
/// How many seconds pass until `DescribeCertificate` shows the validation record. Terraform waits for it (up to five
/// minutes, usually some seconds).
const RECORD_SECONDS: f64 = 3.0;
/// How many seconds pass until a request that fails is `FAILED`.
const DECLINED_SECONDS: f64 = 10.0;
/// For how many seconds a new certificate is unknown to Elastic Load Balancing (`CertificateNotFound`, which
/// Terraform retries).
const SPREAD_SECONDS: f64 = 1.0;
/// "If ACM is unable to validate the domain name within 72 hours, the request times out" (user guide).
const TIMEOUT: Duration = Duration::from_hours(72);
/// "The idempotency token times out after one hour" (SDK text).
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// Certificates are valid for 13 months.
const VALIDITY: Duration = Duration::from_hours(395 * 24);
/// The most tags and names of a certificate (AWS's default quota), and the most certificates of an account.
const TAGS: usize = 50;
const NAMES: usize = 10;
const QUOTA: usize = 2500;

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "RequestCertificate" => request(world, params),
        "DescribeCertificate" => describe(world, params),
        "ListCertificates" => list(world, params),
        "ListTagsForCertificate" => list_tags(world, params),
        "AddTagsToCertificate" => add_tags(world, params),
        "RemoveTagsFromCertificate" => remove_tags(world, params),
        "DeleteCertificate" => delete(world, params),
        _ => Err(unknown("acm", operation)),
    }
}

fn advance(world: &mut World) {
    let declined = world.latency.seconds(DECLINED_SECONDS);
    let now = world.now;
    let pending = world.states.acm.certificates.values().filter(|each| each.status == Status::Pending);
    let changes: Vec<(String, Status)> = pending
        .filter_map(|certificate| {
            let status = if certificate.fails {
                (certificate.created + declined <= now).then_some(Status::Failed)
            } else {
                validated_at(world, certificate)
                    .filter(|at| *at <= now && *at < certificate.created + TIMEOUT)
                    .map(|at| Status::Issued { at })
                    .or_else(|| (certificate.created + TIMEOUT <= now).then_some(Status::TimedOut))
            };
            Some((certificate.arn.clone(), status?))
        })
        .collect();
    for (arn, status) in changes {
        if let Some(certificate) = world.states.acm.certificates.get_mut(&arn) {
            certificate.status = status;
        }
    }
    for certificate in world.states.acm.certificates.values_mut() {
        certificate.users.retain(|_, until| until.is_none_or(|until| until > now));
    }
}

/// When validation completes: some time after the last of its records was in sync.
fn validated_at(world: &World, certificate: &Certificate) -> Option<Duration> {
    let mut from = certificate.created + world.latency.seconds(RECORD_SECONDS);
    for domain in &certificate.domains {
        let (name, value) = validation_record(&world.account, domain);
        from = from.max(route53::in_sync_since(world, &name, "CNAME", &value)?);
    }
    Some(from + certificate.validation)
}

/// The validation record of a domain. It is always the same for one account, and a wildcard has that of its parent
/// domain ("DNS validation" in the user guide).
fn validation_record(account: &str, domain: &str) -> (String, String) {
    let base = domain.strip_prefix("*.").unwrap_or(domain);
    let digest = hex::encode(Sha256::digest(format!("{account}/{base}")));
    let (name, value) = digest.split_at(32);
    (format!("_{name}.{base}."), format!("_{value}.{}.acm-validations.aws.", &digest[..10]))
}

/// What Elastic Load Balancing reads of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct CertificateFacts {
    pub(crate) issued: bool,
}

/// A certificate of this region as Elastic Load Balancing knows it, if it exists.
pub(crate) fn certificate(world: &World, arn: &str) -> Option<CertificateFacts> {
    let certificate = find(world, arn).ok()?;
    if arn.split(':').nth(3) != Some(world.region.as_str()) {
        return None;
    }
    match certificate.status {
        Status::Issued { at }
            if world.now < at + world.latency.seconds(SPREAD_SECONDS) && !certificate.seeded =>
        {
            None
        }
        status => Some(CertificateFacts { issued: matches!(status, Status::Issued { .. }) }),
    }
}

/// Marks a certificate as used, or no longer used, by a load balancer. A certificate in use cannot be deleted; ACM
/// notices the end of a use a little later.
pub(crate) fn set_in_use(world: &mut World, arn: &str, by: &str, in_use: bool) {
    let until = (!in_use).then(|| world.gone("acm_certificate_dns_validated"));
    if let Some(certificate) = world.states.acm.certificates.get_mut(arn) {
        certificate.users.insert(by.to_owned(), until);
    }
}

/// Puts an issued certificate into the account.
pub(crate) fn seed_certificate(world: &mut World, arn: &str, names: &[String], is_issued: bool) {
    let status = if is_issued { Status::Issued { at: Duration::ZERO } } else { Status::TimedOut };
    let certificate = Certificate {
        arn: arn.to_owned(),
        domains: names.to_vec(),
        key_algorithm: "RSA_2048".into(),
        token: None,
        tags: Tags::new(),
        created: Duration::ZERO,
        status,
        validation: Duration::ZERO,
        fails: false,
        users: BTreeMap::new(),
        seeded: true,
    };
    world.states.acm.certificates.insert(arn.to_owned(), certificate);
}

/// Changes the certificates that a stack requested. Returns their ARNs.
fn change(world: &mut World, stack: &str, change: impl Fn(&mut Certificate)) -> Vec<String> {
    let all = world.states.acm.certificates.values_mut();
    let of_stack = all.filter(|each| each.tags.get("stackdrop:stack").is_some_and(|value| value == stack));
    of_stack
        .map(|each| {
            change(each);
            each.arn.clone()
        })
        .collect()
}

/// The names of the validation records of the certificates that a stack requested.
pub(crate) fn validation_names(world: &World, stack: &str) -> Vec<String> {
    let all = world.states.acm.certificates.values();
    let of_stack = all.filter(|each| each.tags.get("stackdrop:stack").is_some_and(|value| value == stack));
    let domains = of_stack.flat_map(|each| &each.domains);
    domains.map(|domain| validation_record(&world.account, domain).0).collect()
}

fn inventory(world: &World, items: &mut Vec<Item>) {
    for each in world.states.acm.certificates.values().filter(|each| !each.seeded) {
        items.push(
            Item::new("AWS::CertificateManager::Certificate", &each.arn, &each.tags).named(each.domain()),
        );
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidParameterException", message)
}

/// The refusal of a value that does not match the form in the service model.
fn unfit(value: &str, member: &str, constraint: &str) -> Refusal {
    Refusal::new(
        "ValidationException",
        format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
        ),
    )
}

fn find<'a>(world: &'a World, arn: &str) -> Result<&'a Certificate, Refusal> {
    let is_known = |each: &&Certificate| {
        each.seeded || each.created + world.latency.seconds(UNKNOWN_SECONDS) <= world.now
    };
    world.states.acm.certificates.get(arn).filter(is_known).ok_or_else(|| {
        Refusal::new("ResourceNotFoundException", format!("Could not find certificate {arn}."))
    })
}

/// The ARN of the certificate that a request names.
fn named(params: &Params) -> Result<String, Refusal> {
    let arn = params.required("CertificateArn")?;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "acm", _, account, rest]
            if account.len() == 12 && rest.strip_prefix("certificate/").is_some_and(|id| !id.is_empty()) =>
        {
            Ok(arn)
        }
        _ => Err(Refusal::new("InvalidArnException", format!("{arn} is not a valid certificate ARN"))),
    }
}

/// Reads a list of tags, with ACM's checks.
fn read_tags(params: &Params) -> Result<Tags, Refusal> {
    let tags = world::tags(params, "Tags", "Key", "Value")
        .map_err(|refusal| Refusal::new("InvalidTagException", refusal.message))?;
    check_tag_count(&tags)?;
    Ok(tags)
}

fn check_tag_count(tags: &Tags) -> Result<(), Refusal> {
    if tags.len() > TAGS {
        return Err(Refusal::new(
            "TooManyTagsException",
            format!("A certificate can have at most {TAGS} tags"),
        ));
    }
    Ok(())
}

/// Whether a name is a valid domain name for a certificate: at least two labels, with `*` only as the first.
fn is_domain(name: &str) -> bool {
    let base = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && base.contains('.') && base.split('.').all(label)
}

struct Wanted {
    domains: Vec<String>,
    token: Option<String>,
    key_algorithm: String,
    tags: Tags,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let domain = params.required("DomainName")?;
        let method = params.text("ValidationMethod");
        let alternatives = params.list("SubjectAlternativeNames");
        let token = params.text("IdempotencyToken");
        let key_algorithm = params.text("KeyAlgorithm").unwrap_or_else(|| "RSA_2048".into());
        if let Some(options) = params.section("Options") {
            options.text("CertificateTransparencyLoggingPreference");
        }
        let tags = read_tags(params)?;
        params.done()?;
        let mut domains: Vec<String> = Vec::new();
        for name in std::iter::once(domain).chain(alternatives) {
            if !is_domain(&name) {
                return Err(unfit(
                    &name,
                    "domainName",
                    "Member must satisfy regular expression pattern for domain names",
                ));
            }
            let name = name.to_ascii_lowercase();
            if !domains.contains(&name) {
                domains.push(name);
            }
        }
        // "The first domain name you enter cannot exceed 64 octets" (SDK text).
        if domains.first().is_some_and(|first| first.len() > 64) {
            return Err(invalid("The first domain name can be no longer than 64 characters."));
        }
        if domains.len() > NAMES {
            return Err(Refusal::new(
                "LimitExceededException",
                format!("Error: you have reached your limit of {NAMES} domain names for a certificate."),
            ));
        }
        check_token(token.as_deref())?;
        // Other methods send e-mails to the domain's owners.
        if method.as_deref() != Some("DNS") {
            return Err(invalid("The simulator validates domains by DNS only"));
        }
        if !["RSA_2048", "EC_prime256v1", "EC_secp384r1"].contains(&key_algorithm.as_str()) {
            return Err(invalid(format!("The key algorithm {key_algorithm} cannot be requested")));
        }
        Ok(Self { domains, token, key_algorithm, tags })
    }

    fn is(&self, other: &Certificate) -> bool {
        self.domains == other.domains && self.key_algorithm == other.key_algorithm && self.tags == other.tags
    }
}

fn check_token(token: Option<&str>) -> Result<(), Refusal> {
    let Some(token) = token else { return Ok(()) };
    if !(1..=32).contains(&token.len()) {
        return Err(unfit(token, "idempotencyToken", "Member must have length less than or equal to 32"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(unfit(token, "idempotencyToken", r"Member must satisfy regular expression pattern: \w+"));
    }
    Ok(())
}

fn request(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let wanted = Wanted::read(params)?;
    let earlier = world.states.acm.certificates.values().find(|each| {
        wanted.token.is_some() && each.token == wanted.token && each.created + TOKEN_LIFETIME > world.now
    });
    match earlier {
        Some(earlier) if wanted.is(earlier) => return Ok(json!({ "CertificateArn": earlier.arn }).into()),
        // AWS does not document this case. Using one token for two different requests is a mistake.
        Some(_) => {
            return Err(invalid("The idempotency token was used before for a request with other parameters"));
        }
        None => {}
    }
    if world.states.acm.certificates.len() >= QUOTA {
        return Err(Refusal::new(
            "LimitExceededException",
            format!("Error: you have reached your limit of {QUOTA} certificates."),
        ));
    }
    let number = world.number();
    let arn = world.arn("acm", &format!("certificate/{number:08x}-0000-4000-8000-{number:012x}"));
    let validation = world.latency.create("acm_certificate_dns_validated");
    let certificate = Certificate {
        arn: arn.clone(),
        domains: wanted.domains,
        key_algorithm: wanted.key_algorithm,
        token: wanted.token,
        tags: wanted.tags,
        created: world.now,
        status: Status::Pending,
        validation,
        fails: world.fail_creation,
        users: BTreeMap::new(),
        seeded: false,
    };
    world.states.acm.certificates.insert(arn.clone(), certificate);
    Ok(json!({ "CertificateArn": arn }).into())
}

impl Certificate {
    fn domain(&self) -> &str {
        self.domains.first().map_or("", String::as_str)
    }

    fn validations(&self, world: &World) -> Value {
        let shown = self.seeded || self.created + world.latency.seconds(RECORD_SECONDS) <= world.now;
        let status = match self.status {
            Status::Pending => "PENDING_VALIDATION",
            Status::Issued { .. } | Status::Revoked => "SUCCESS",
            Status::Failed | Status::TimedOut => "FAILED",
        };
        self.domains
            .iter()
            .map(|domain| {
                let (name, value) = validation_record(&world.account, domain);
                let mut validation = json!({
                    "DomainName": domain,
                    "ValidationDomain": domain,
                    "ValidationStatus": status,
                    "ValidationMethod": "DNS",
                });
                if shown {
                    validation["ResourceRecord"] = json!({ "Name": name, "Type": "CNAME", "Value": value });
                }
                validation
            })
            .collect()
    }

    fn document(&self, world: &World) -> Value {
        let mut document = json!({
            "CertificateArn": self.arn,
            "DomainName": self.domain(),
            "SubjectAlternativeNames": self.domains,
            "DomainValidationOptions": self.validations(world),
            "Subject": format!("CN={}", self.domain()),
            "Issuer": "Amazon",
            "CreatedAt": Clock::epoch_seconds(self.created),
            "Status": self.status.name(),
            "KeyAlgorithm": self.key_algorithm,
            "SignatureAlgorithm": "SHA256WITHRSA",
            "InUseBy": self.users.keys().collect::<Vec<_>>(),
            "Type": "AMAZON_ISSUED",
            "RenewalEligibility": if self.users.is_empty() { "INELIGIBLE" } else { "ELIGIBLE" },
            "Options": { "CertificateTransparencyLoggingPreference": "ENABLED", "Export": "DISABLED" },
        });
        match self.status {
            Status::Issued { at } => {
                document["IssuedAt"] = json!(Clock::epoch_seconds(at));
                document["NotBefore"] = json!(Clock::epoch_seconds(at));
                document["NotAfter"] = json!(Clock::epoch_seconds(at + VALIDITY));
            }
            Status::Failed => document["FailureReason"] = json!("ADDITIONAL_VERIFICATION_REQUIRED"),
            Status::Revoked => document["RevocationReason"] = json!("KEY_COMPROMISE"),
            Status::Pending | Status::TimedOut => {}
        }
        document
    }

    fn summary(&self) -> Value {
        let mut summary = json!({
            "CertificateArn": self.arn,
            "DomainName": self.domain(),
            "SubjectAlternativeNameSummaries": self.domains,
            "HasAdditionalSubjectAlternativeNames": false,
            "Status": self.status.name(),
            "Type": "AMAZON_ISSUED",
            "KeyAlgorithm": self.key_algorithm,
            "InUse": !self.users.is_empty(),
            "RenewalEligibility": if self.users.is_empty() { "INELIGIBLE" } else { "ELIGIBLE" },
            "CreatedAt": Clock::epoch_seconds(self.created),
        });
        if let Status::Issued { at } = self.status {
            summary["IssuedAt"] = json!(Clock::epoch_seconds(at));
            summary["NotBefore"] = json!(Clock::epoch_seconds(at));
            summary["NotAfter"] = json!(Clock::epoch_seconds(at + VALIDITY));
        }
        summary
    }
}

fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = named(params)?;
    params.done()?;
    Ok(json!({ "Certificate": find(world, &arn)?.document(world) }).into())
}

fn list(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let statuses = params.list("CertificateStatuses");
    // "Default filtering returns only RSA_1024 and RSA_2048 certificates" (SDK text).
    let mut algorithms = vec!["RSA_1024".to_owned(), "RSA_2048".to_owned()];
    if let Some(includes) = params.section("Includes") {
        let sent = includes.list("keyTypes");
        if !sent.is_empty() {
            algorithms = sent;
        }
    }
    let size = params.int("MaxItems")?.unwrap_or(1000);
    let token = params.text("NextToken");
    params.done()?;
    let known =
        ["PENDING_VALIDATION", "ISSUED", "INACTIVE", "EXPIRED", "VALIDATION_TIMED_OUT", "REVOKED", "FAILED"];
    if let Some(wrong) = statuses.iter().find(|status| !known.contains(&status.as_str())) {
        return Err(unfit(wrong, "certificateStatuses", "Member must satisfy enum value set"));
    }
    let size = usize::try_from(size).ok().filter(|size| (1..=1000).contains(size));
    let size = size.ok_or_else(|| Refusal::new("InvalidArgsException", "MaxItems must be from 1 to 1000"))?;
    let from: usize = match token {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| Refusal::new("InvalidArgsException", format!("The token {token} is not valid")))?,
    };
    let found: Vec<&Certificate> = world
        .states
        .acm
        .certificates
        .values()
        .filter(|each| find(world, &each.arn).is_ok())
        .filter(|each| statuses.is_empty() || statuses.iter().any(|status| each.status.name() == status))
        .filter(|each| algorithms.contains(&each.key_algorithm))
        .collect();
    let end = from.saturating_add(size);
    let next = (end < found.len()).then(|| end.to_string());
    let page: Vec<Value> = found.into_iter().skip(from).take(size).map(Certificate::summary).collect();
    let mut document = json!({ "CertificateSummaryList": page });
    if let Some(next) = next {
        document["NextToken"] = json!(next);
    }
    Ok(document.into())
}

fn list_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = named(params)?;
    params.done()?;
    let tags = &find(world, &arn)?.tags;
    let tags: Value = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(json!({ "Tags": tags }).into())
}

fn add_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = named(params)?;
    let new = read_tags(params)?;
    params.done()?;
    let mut tags = find(world, &arn)?.tags.clone();
    tags.extend(new);
    check_tag_count(&tags)?;
    if let Some(certificate) = world.states.acm.certificates.get_mut(&arn) {
        certificate.tags = tags;
    }
    Ok(Reply::empty())
}

/// "If you specify a value, the tag is removed only if it has that value" (SDK text).
fn remove_tags(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = named(params)?;
    let mut gone = Vec::new();
    for tag in params.structs("Tags") {
        gone.push((tag.required("Key")?, tag.text("Value")));
    }
    params.done()?;
    find(world, &arn)?;
    if let Some(certificate) = world.states.acm.certificates.get_mut(&arn) {
        certificate.tags.retain(|key, value| {
            !gone.iter().any(|(name, only)| name == key && only.as_ref().is_none_or(|only| only == value))
        });
    }
    Ok(Reply::empty())
}

fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = named(params)?;
    params.done()?;
    if !find(world, &arn)?.users.is_empty() {
        return Err(Refusal::new("ResourceInUseException", format!("Certificate {arn} is in use.")));
    }
    world.states.acm.certificates.remove(&arn);
    Ok(Reply::empty())
}
