//! Variants of an allowed request that lack what makes the request legitimate.

use stackdrop_simulator::{AccessRequest, Principal};

use super::arn::{self, Parts};
use super::policies::{AttachedTo, PolicyUnderTest, read};

/// How a variant differs from the request that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// The resource carries no tags.
    NoResourceTag,
    /// The call sends no tags.
    NoRequestTag,
    /// The call tags an existing resource, and could so claim another owner's resource.
    NoCreateAction,
    /// The resource has another name and no tags.
    OthersName,
    /// One part of the resource's name or path differs.
    OthersNamePart,
    OthersAccount,
    OthersRegion,
    /// The action takes no resource, and the call sends no tag: the policy does not limit it.
    NoResource,
    /// A service acts for a resource in another account.
    SourceInOthersAccount,
    /// A service acts for another resource of the account.
    OthersSource,
    NoEventSource,
    /// The role belongs to another stack than the one in the call's tags.
    OthersStack,
    /// The call removes the tag that says to which stack the role belongs.
    NoStackTagAfterwards,
    /// The role has no permissions boundary, or the call creates it without one.
    NoBoundary,
    OthersKeyValue,
    PlainHttp,
    OthersService,
    /// Another role of the account puts an object among the records.
    OthersRole,
}

/// A request that differs from an allowed one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variant {
    pub(super) principal: Principal,
    pub(super) request: AccessRequest,
    pub(super) change: Change,
}

/// The variants that a policy denies.
pub(super) fn denied(policy: &PolicyUnderTest<'_>) -> Vec<Variant> {
    let today = read(&policy.statements);
    let mut denied = of_policy(policy);
    denied.retain(|variant| !policy.allows_by(&today, &variant.principal, &variant.request));
    denied
}

/// The variants of the requests that a policy decides, each once.
pub(super) fn of_policy(policy: &PolicyUnderTest<'_>) -> Vec<Variant> {
    let each = policy.requests.iter().flat_map(|(principal, request)| {
        let mut variants = Variants { principal, request, all: Vec::new() };
        variants.of_tags();
        variants.of_sources();
        variants.of_values();
        match policy.attached_to {
            AttachedTo::Caller => variants.of_resources(),
            AttachedTo::Resource => variants.of_roles(),
        }
        variants.all
    });
    let mut all: Vec<Variant> = each.collect();
    all.sort();
    all.dedup();
    all
}

/// The type of a request's resource in the Service Authorization Reference; `*` for an action without one.
pub(super) fn resource_type(request: &AccessRequest) -> &str {
    if request.kind.is_empty() { "*" } else { &request.kind }
}

/// Whether the request creates a resource with a stack's tag.
pub(super) fn creates_tagged(request: &AccessRequest) -> bool {
    const VERBS: [&str; 7] = ["Allocate", "Authorize", "Create", "Register", "Request", "Restore", "Run"];
    let operation = request.action.split(':').nth(1).unwrap();
    let creates = VERBS.iter().any(|verb| operation.starts_with(verb)) && operation != "CreateTags";
    let tags_new = request.keys.iter().any(|(key, _)| key.ends_with(":CreateAction"));
    (creates || tags_new) && request.keys.get(STACK_IN_REQUEST).is_some()
}

const STACK_IN_REQUEST: &str = "aws:RequestTag/stackdrop:stack";

struct Variants<'r> {
    principal: &'r Principal,
    request: &'r AccessRequest,
    all: Vec<Variant>,
}

impl Variants<'_> {
    fn add(&mut self, change: Change, apply: impl FnOnce(&mut AccessRequest)) {
        let mut request = self.request.clone();
        apply(&mut request);
        if request != *self.request {
            self.all.push(Variant { principal: self.principal.clone(), request, change });
        }
    }

    fn of_tags(&mut self) {
        let is_tagged = self.request.keys.get("aws:ResourceTag/stackdrop:stack").is_some();
        if is_tagged {
            self.add(Change::NoResourceTag, |request| {
                request.keys.retain(|key| !key.contains(":ResourceTag/"));
            });
        }
        // A tagged resource can get other tags; a new resource must get the stack's tag.
        if !is_tagged || creates_tagged(self.request) {
            self.add(Change::NoRequestTag, without_request_tags);
        }
        self.add(Change::NoCreateAction, |request| request.keys.retain(|key| !key.contains(":CreateAction")));
        if self.request.action.starts_with("iam:") {
            self.of_roles_in_iam(is_tagged);
        }
    }

    fn of_roles_in_iam(&mut self, is_tagged: bool) {
        if is_tagged && self.request.keys.get(STACK_IN_REQUEST).is_some() {
            self.add(Change::OthersStack, |request| {
                request.keys.set_all("aws:ResourceTag/stackdrop:stack", [OTHERS.to_owned()]);
            });
        }
        if self.request.action.starts_with("iam:Untag") {
            self.add(Change::NoStackTagAfterwards, |request| {
                request.keys.set_all("aws:TagKeys", ["team".to_owned(), "stackdrop:stack".to_owned()]);
            });
        }
        self.add(Change::NoBoundary, |request| request.keys.retain(|key| key != "iam:PermissionsBoundary"));
    }

    fn of_sources(&mut self) {
        if self.request.keys.get("aws:SourceAccount").is_some() {
            self.add(Change::SourceInOthersAccount, |request| {
                request.keys.set_all("aws:SourceAccount", [OTHERS_ACCOUNT.to_owned()]);
                let project = format!("arn:aws:codebuild:eu-central-1:{OTHERS_ACCOUNT}:project/other");
                request.keys.set_all("aws:SourceArn", [project]);
            });
        }
        let sources = self.request.keys.get("aws:SourceArn");
        if let Some(source) = sources.and_then(|sources| sources.first()) {
            let other = source.rsplit_once([':', '/']).unwrap().0.to_owned() + "/other";
            self.add(Change::OthersSource, |request| request.keys.set_all("aws:SourceArn", [other]));
        }
        self.add(Change::NoEventSource, |request| request.keys.retain(|key| key != "events:source"));
        if let Principal::Service { .. } = self.principal {
            let principal = Principal::Service { name: "codebuild.amazonaws.com".into() };
            let request = self.request.clone();
            self.all.push(Variant { principal, request, change: Change::OthersService });
        }
    }

    fn of_values(&mut self) {
        for (key, other) in OTHERS_VALUES {
            if self.request.keys.get(key).is_some() {
                self.add(Change::OthersKeyValue, |request| request.keys.set_all(key, [other.to_owned()]));
            }
        }
        self.add(Change::PlainHttp, |request| {
            request.keys.set_all("aws:SecureTransport", ["false".to_owned()]);
        });
    }

    fn of_roles(&mut self) {
        let is_record =
            self.request.resource.contains(":::stackdrop-") && self.request.resource.contains("/stacks/");
        if self.request.action == "s3:PutObject" && is_record {
            let arn = format!("arn:aws:iam::123456789012:role/{OTHERS}");
            let mut request = self.request.clone();
            request.keys.set_all("aws:PrincipalArn", [arn.clone()]);
            let principal = Principal::Role { arn, session: OTHERS.into() };
            self.all.push(Variant { principal, request, change: Change::OthersRole });
        }
    }

    fn of_resources(&mut self) {
        let arn = self.request.resource.as_str();
        if arn == "*" && !self.request.keys.iter().any(|(key, _)| key.contains(":RequestTag/")) {
            let (principal, request) = (self.principal.clone(), self.request.clone());
            self.all.push(Variant { principal, request, change: Change::NoResource });
        }
        let parts = Parts::of(arn);
        let places = [
            (Change::OthersRegion, parts.region, "ap-south-1"),
            (Change::OthersAccount, parts.account, OTHERS_ACCOUNT),
        ];
        for (change, range, other) in places {
            let Some(range) = range else { continue };
            self.add(change, |request| request.resource = arn::with(arn, &range, other));
        }
        for range in &parts.names {
            let name = &arn[range.clone()];
            for other in [OTHERS.to_owned(), format!("{OTHERS}-{name}"), format!("{name}-{OTHERS}")] {
                self.add(Change::OthersNamePart, |request| request.resource = arn::with(arn, range, &other));
            }
        }
        self.add(Change::OthersName, |request| {
            for range in parts.names.iter().rev() {
                request.resource.replace_range(range.clone(), OTHERS);
            }
            request.keys.retain(|key| !key.contains(":ResourceTag/") && key != "ec2:Owner");
        });
    }
}

fn without_request_tags(request: &mut AccessRequest) {
    request.keys.retain(|key| !key.contains(":RequestTag/") && key != "aws:TagKeys");
}

/// A name that matches no pattern in the template.
const OTHERS: &str = "other-owner";

const OTHERS_ACCOUNT: &str = "999999999999";

/// For each condition key that distinguishes resources or services, a value that Stackdrop never sends.
const OTHERS_VALUES: [(&str, &str); 15] = [
    ("aws:ResourceTag/aws:rds:primaryDBInstanceArn", "arn:aws:rds:eu-central-1:123456789012:db:other"),
    ("application-autoscaling:service-namespace", "dynamodb"),
    ("ec2:CreateAction", "CreateImage"),
    ("ec2:Owner", OTHERS_ACCOUNT),
    ("ecs:CreateAction", "RunTask"),
    ("elasticloadbalancing:CreateAction", "CreateTrustStore"),
    ("events:source", "other.source"),
    ("iam:AWSServiceName", "spot.amazonaws.com"),
    ("iam:PassedToService", "lambda.amazonaws.com"),
    ("iam:PermissionsBoundary", "arn:aws:iam::aws:policy/AdministratorAccess"),
    ("iam:PolicyARN", "arn:aws:iam::aws:policy/AdministratorAccess"),
    ("kms:GrantIsForAWSResource", "false"),
    ("kms:ViaService", "s3.eu-central-1.amazonaws.com"),
    ("route53:ChangeResourceRecordSetsRecordTypes", "MX"),
    ("secretsmanager:RotateImmediately", "true"),
];
