//! A case: one fault at one call.

use std::collections::BTreeMap;
use std::fmt;

use stackdrop::Rehearsal;
use stackdrop::rehearsal::{Checkpoint, announces};
use stackdrop_simulator::{Call, Ending, Fault, FaultKind, When, can_fail};

/// How many times the SDK attempts a call (its standard retry mode).
const SDK_ATTEMPTS: usize = 3;

/// One fault at one call.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The call in the undisturbed run.
    pub(crate) call: Call,
    pub(crate) name: &'static str,
    pub(crate) kind: FaultKind,
    lasts: Persistence,
}

#[derive(Debug, Clone, Copy)]
enum Persistence {
    Once,
    /// Until the SDK gives up.
    UntilSdkGivesUp,
    /// In every call of this action of this component.
    WholeAction,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} #{} of {}", self.name, self.call.name(), self.call.occurrence, self.call.caller)
    }
}

/// The cases of these calls. Without `MATRIX`, a read that one action repeats, such as the poll of a wait, has cases only
/// for its first and its last call: the calls in between see the same account.
pub(crate) fn cases(calls: &[Call], kinds: impl Fn(&Call) -> Vec<Case>) -> Vec<Case> {
    let of = |call: &Call| (call.caller.clone(), call.name());
    let mut ends: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for call in calls {
        ends.entry(of(call)).or_insert((call.number, call.number)).1 = call.number;
    }
    let repeated = |call: &Call| {
        let (first, last) = ends[&of(call)];
        !call.writes && call.number != first && call.number != last
    };
    let all = std::env::var_os("MATRIX").is_some();
    calls.iter().filter(|call| all || !repeated(call)).flat_map(kinds).collect()
}

/// Faults that must not change the result: transient ones, and all faults of announcements, which a deployment ignores.
pub(crate) fn transient(call: &Call) -> Vec<Case> {
    let case = |name, kind, lasts| Case { call: call.clone(), name, kind, lasts };
    let mut cases = vec![
        case("throttled", FaultKind::Throttled, Persistence::UntilSdkGivesUp),
        case("server error", FaultKind::ServerError, Persistence::UntilSdkGivesUp),
        case("lost before", FaultKind::LostBefore, Persistence::Once),
        case("lost after", FaultKind::LostAfter, Persistence::Once),
        case("killed", FaultKind::Killed, Persistence::Once),
        case("timed out", FaultKind::Hangs, Persistence::Once),
    ];
    if !call.writes {
        // A read has no effect, so "lost after" equals "lost before".
        cases.retain(|case| case.name != "lost after");
    }
    if announces(call) {
        cases.extend(refusals(call));
    }
    cases
}

/// Faults that make the deployment fail.
pub(crate) fn persistent(call: &Call) -> Vec<Case> {
    if announces(call) {
        return Vec::new();
    }
    let mut cases = Vec::from(refusals(call));
    let case = |name, kind| Case { call: call.clone(), name, kind, lasts: Persistence::WholeAction };
    if can_fail_later(call) {
        cases.push(case("resource fails", FaultKind::ResourceFails));
    }
    if let Some(code) = quota(&call.service, &call.operation) {
        cases.push(case("quota reached", refused(code, "You have reached the limit of your account")));
    }
    cases
}

fn refusals(call: &Call) -> [Case; 2] {
    let case = |name, kind| Case { call: call.clone(), name, kind, lasts: Persistence::WholeAction };
    [
        case("access denied", FaultKind::AccessDenied),
        case("fails from here on", refused("RefusedByTest", "the test says no")),
    ]
}

fn refused(code: &str, message: &str) -> FaultKind {
    FaultKind::Refused { code: code.into(), message: message.into() }
}

/// The same faults for an update, whose rollback runs the same actions. Only two kinds persist into the rollback: "fails
/// from here on", and the errors that the SDK retries as throttling.
pub(crate) fn persistent_until_noticed(call: &Call) -> Vec<Case> {
    let repeated = |case: &Case| match &case.kind {
        FaultKind::Refused { code, .. } => code.starts_with("LimitExceeded"),
        _ => false,
    };
    let mut cases = persistent(call);
    for case in cases.iter_mut().filter(|case| case.name != "fails from here on" && !repeated(case)) {
        case.lasts = Persistence::Once;
    }
    cases
}

fn can_fail_later(call: &Call) -> bool {
    // A call that AWS refused in the undisturbed run creates nothing that could fail.
    can_fail(&call.service, &call.operation) && call.ending == Ending::Done
}

/// The error code of an operation whose quota is reached (the operation's page in the service's API reference).
fn quota(service: &str, operation: &str) -> Option<&'static str> {
    Some(match (service, operation) {
        ("ec2", "CreateVpc") => "VpcLimitExceeded",
        ("ec2", "CreateSubnet") => "SubnetLimitExceeded",
        ("ec2", "CreateInternetGateway") => "InternetGatewayLimitExceeded",
        ("ec2", "CreateRouteTable") => "RouteTableLimitExceeded",
        ("ec2", "CreateRoute") => "RouteLimitExceeded",
        ("ec2", "CreateSecurityGroup") => "SecurityGroupLimitExceeded",
        ("ec2", "AuthorizeSecurityGroupIngress" | "AuthorizeSecurityGroupEgress") => {
            "RulesPerSecurityGroupLimitExceeded"
        }
        ("ec2", "AllocateAddress") => "AddressLimitExceeded",
        ("ec2", "CreateNatGateway") => "NatGatewayLimitExceeded",
        ("ec2", "CreateFlowLogs") => "FlowLogsLimitExceeded",
        ("ec2", "CreateVpcEndpoint") => "VpcEndpointLimitExceeded",
        ("ec2", "RunInstances") => "VcpuLimitExceeded",
        ("rds", "CreateDBSubnetGroup") => "DBSubnetGroupQuotaExceeded",
        ("rds", "CreateDBParameterGroup") => "DBParameterGroupQuotaExceeded",
        ("rds", "CreateDBInstance" | "RestoreDBInstanceFromDBSnapshot") => "InstanceQuotaExceeded",
        ("rds", "ModifyDBInstance") => "StorageQuotaExceeded",
        ("wafv2", "AssociateWebACL") => "WAFLimitsExceededException",
        ("elasticloadbalancing", "CreateLoadBalancer") => "TooManyLoadBalancers",
        ("elasticloadbalancing", "CreateTargetGroup") => "TooManyTargetGroups",
        ("elasticloadbalancing", "CreateListener") => "TooManyListeners",
        ("elasticloadbalancing", "CreateRule") => "TooManyRules",
        ("iam", "CreateRole" | "CreateInstanceProfile" | "PutRolePolicy" | "AttachRolePolicy") => {
            "LimitExceeded"
        }
        ("logs", "CreateLogGroup")
        | ("application-autoscaling", "RegisterScalableTarget" | "PutScalingPolicy") => {
            "LimitExceededException"
        }
        ("scheduler", "CreateSchedule") => "ServiceQuotaExceededException",
        _ => return None,
    })
}

impl Case {
    /// The fault, for a run that resumes from `checkpoint`.
    pub(crate) fn fault(&self, call_log: &[Call], checkpoint: &Checkpoint) -> Fault {
        let same = |other: &&Call| {
            (&other.service, &other.operation, &other.caller)
                == (&self.call.service, &self.call.operation, &self.call.caller)
        };
        let nth = call_log[checkpoint.calls()..=self.call.number].iter().filter(same).count();
        let when = match self.lasts {
            Persistence::Once => When::Only(nth),
            Persistence::UntilSdkGivesUp => When::Span(nth, SDK_ATTEMPTS),
            Persistence::WholeAction => When::From(nth),
        };
        Fault::at(&self.call.service, &self.call.operation, when, self.kind.clone()).during(self.action())
    }

    /// The action: `/network/apply` of `deployment-1/network/apply`.
    pub(crate) fn action(&self) -> &str {
        self.call.caller.find('/').map_or("", |place| &self.call.caller[place..])
    }

    /// `Ok` if the fault struck the intended call.
    pub(crate) fn check_struck(&self, rehearsal: &Rehearsal) -> Result<(), String> {
        let account = rehearsal.account();
        let (strikes, call_log) = (account.strikes(), account.call_log());
        let strike =
            strikes.iter().find(|strike| strike.call == self.call.number && strike.kind == self.kind);
        let hit = &call_log[strike.ok_or("the fault did not strike")?.call];
        if (hit.name(), &hit.caller) == (self.call.name(), &self.call.caller) {
            Ok(())
        } else {
            Err(format!("the fault struck {} of {}", hit.name(), hit.caller))
        }
    }

    /// Whether the same call fails again in the rollback.
    pub(crate) fn fails_again(&self) -> bool {
        matches!(self.lasts, Persistence::WholeAction)
    }

    /// Whether the fault denies a read that a deployment can do without: it reports the value as unknown.
    pub(crate) fn is_optional_read(&self) -> bool {
        let is_advisory = self.call.service == "servicequotas"
            || ["DescribeSecret", "GetRole"].contains(&self.call.operation.as_str());
        self.name == "access denied" && is_advisory
    }

    /// Whether the call belongs to an action that waits until every resource is deleted.
    pub(crate) fn awaits_deletion(&self) -> bool {
        self.action().ends_with("/await-deletion")
    }

    /// The function that makes the call. Functions of components have the component's name.
    pub(crate) fn component(&self) -> &str {
        self.call.caller.split('/').nth(1).unwrap_or_default()
    }

    /// The error code that AWS returned for the call.
    pub(crate) fn code(&self, rehearsal: &Rehearsal) -> Option<String> {
        match &rehearsal.account().call_log()[self.call.number].ending {
            Ending::Refused(code) => Some(code.clone()),
            _ => None,
        }
    }
}
