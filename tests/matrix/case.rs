//! One fault at one call: which there are, and whether it struck.

use std::collections::BTreeMap;
use std::fmt;

use stackdrop::Rehearsal;
use stackdrop::rehearsal::{Checkpoint, announces};
use stackdrop_simulator::{Call, Ending, Fault, FaultKind, When, can_fail};

/// How often the SDK tries a call by itself (its standard retry mode).
const SDK_ATTEMPTS: usize = 3;

/// One fault at one call.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The call, in the undisturbed run.
    pub(crate) call: Call,
    pub(crate) name: &'static str,
    pub(crate) kind: FaultKind,
    lasts: Lasts,
}

#[derive(Debug, Clone, Copy)]
enum Lasts {
    Once,
    /// Until the SDK has given up.
    SdkGivesUp,
    /// As long as this action of this component is asked for.
    Action,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} #{} of {}", self.name, self.call.name(), self.call.occurrence, self.call.caller)
    }
}

/// The cases of these calls. Without `MATRIX`, of the reads that one action repeats (a wait asks every few seconds)
/// only the first and the last: what is in between sees the same account.
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

/// Faults that must not show: they pass, or strike an announcement, without which a deployment goes on.
pub(crate) fn passing(call: &Call) -> Vec<Case> {
    let case = |name, kind, lasts| Case { call: call.clone(), name, kind, lasts };
    let mut cases = vec![
        case("throttled", FaultKind::Throttled, Lasts::SdkGivesUp),
        case("server error", FaultKind::ServerError, Lasts::SdkGivesUp),
        case("lost before", FaultKind::LostBefore, Lasts::Once),
        case("lost after", FaultKind::LostAfter, Lasts::Once),
        case("killed", FaultKind::Killed, Lasts::Once),
        case("timed out", FaultKind::Hangs, Lasts::Once),
    ];
    if !call.writes {
        // A read has no effect: lost after is lost before.
        cases.retain(|case| case.name != "lost after");
    }
    if announces(call) {
        cases.extend(refusals(call));
    }
    cases
}

/// Faults that last: what was to be done fails.
pub(crate) fn lasting(call: &Call) -> Vec<Case> {
    if announces(call) {
        return Vec::new();
    }
    let mut cases = Vec::from(refusals(call));
    let case = |name, kind| Case { call: call.clone(), name, kind, lasts: Lasts::Action };
    if has_a_failed_state(call) {
        cases.push(case("resource fails", FaultKind::ResourceFails));
    }
    if let Some(code) = quota(&call.service, &call.operation) {
        cases.push(case("quota reached", refused(code, "You have reached the limit of your account")));
    }
    cases
}

fn refusals(call: &Call) -> [Case; 2] {
    let case = |name, kind| Case { call: call.clone(), name, kind, lasts: Lasts::Action };
    [
        case("access denied", FaultKind::AccessDenied),
        case("fails from here on", refused("RefusedByTest", "the test says no")),
    ]
}

fn refused(code: &str, message: &str) -> FaultKind {
    FaultKind::Refused { code: code.into(), message: message.into() }
}

/// The same faults, where what is taken back afterwards is done by the same actions: only one goes on through that, and
/// what the SDK takes for throttling and repeats.
pub(crate) fn lasting_until_noticed(call: &Call) -> Vec<Case> {
    let repeated = |case: &Case| match &case.kind {
        FaultKind::Refused { code, .. } => code.starts_with("LimitExceeded"),
        _ => false,
    };
    let mut cases = lasting(call);
    for case in cases.iter_mut().filter(|case| case.name != "fails from here on" && !repeated(case)) {
        case.lasts = Lasts::Once;
    }
    cases
}

fn has_a_failed_state(call: &Call) -> bool {
    // A call that AWS refused in the undisturbed run creates nothing that could fail.
    can_fail(&call.service, &call.operation) && call.ending == Ending::Done
}

/// The code with which an operation says that a quota is reached (its page in the service's API reference).
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
        ("ec2", "CreateVpcEndpoint") => "VpcEndpointLimitExceeded",
        ("ec2", "RunInstances") => "VcpuLimitExceeded",
        ("rds", "CreateDBSubnetGroup") => "DBSubnetGroupQuotaExceeded",
        ("rds", "CreateDBParameterGroup") => "DBParameterGroupQuotaExceeded",
        ("rds", "CreateDBInstance") => "InstanceQuotaExceeded",
        ("rds", "ModifyDBInstance") => "StorageQuotaExceeded",
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
    /// The fault, to be armed where the run goes on from `checkpoint`.
    pub(crate) fn fault(&self, ledger: &[Call], checkpoint: &Checkpoint) -> Fault {
        let same = |other: &&Call| {
            (&other.service, &other.operation, &other.caller)
                == (&self.call.service, &self.call.operation, &self.call.caller)
        };
        let nth = ledger[checkpoint.calls()..=self.call.number].iter().filter(same).count();
        let when = match self.lasts {
            Lasts::Once => When::Only(nth),
            Lasts::SdkGivesUp => When::Span(nth, SDK_ATTEMPTS),
            Lasts::Action => When::From(nth),
        };
        Fault::at(&self.call.service, &self.call.operation, when, self.kind.clone()).during(self.action())
    }

    /// `/network/ensure` of `deployment-1/network/ensure`.
    pub(crate) fn action(&self) -> &str {
        self.call.caller.find('/').map_or("", |place| &self.call.caller[place..])
    }

    /// Whether it struck the very call that it was meant for.
    pub(crate) fn struck(&self, rehearsal: &Rehearsal) -> Result<(), String> {
        let account = rehearsal.account();
        let (strikes, ledger) = (account.strikes(), account.call_log());
        let strike =
            strikes.iter().find(|strike| strike.call == self.call.number && strike.kind == self.kind);
        let hit = &ledger[strike.ok_or("it did not strike where it was meant to")?.call];
        if (hit.name(), &hit.caller) == (self.call.name(), &self.call.caller) {
            Ok(())
        } else {
            Err(format!("it struck {} of {}", hit.name(), hit.caller))
        }
    }

    /// Whether the same call fails again when what was done is taken back.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.lasts, Lasts::Action)
    }

    /// Whether a read is denied without which a deployment may go on: what it would have told is told as unknown.
    pub(crate) fn may_be_unheeded(&self) -> bool {
        let is_advisory = self.call.service == "servicequotas"
            || ["DescribeSecret", "GetRole"].contains(&self.call.operation.as_str());
        self.name == "access denied" && is_advisory
    }

    /// Whether the call is made by an action that is asked until nothing is left.
    pub(crate) fn clears(&self) -> bool {
        self.action().ends_with("/await-deletion")
    }

    /// The function that makes the call: the component, of a component's.
    pub(crate) fn component(&self) -> &str {
        self.call.caller.split('/').nth(1).unwrap_or_default()
    }

    /// What AWS said to the call that it struck.
    pub(crate) fn code(&self, rehearsal: &Rehearsal) -> Option<String> {
        match &rehearsal.account().call_log()[self.call.number].ending {
            Ending::Refused(code) => Some(code.clone()),
            _ => None,
        }
    }
}
