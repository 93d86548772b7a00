//! The one table of the workflow: the order of the components, their waits and their deletion.
//!
//! Everything else follows from it: `statemachine/deploy.asl.json` is generated from this table and compared with it by a
//! test, as are the function, log group and role of each component in `template.yaml`.

use std::time::Duration;

use crate::deployment::component_names::{
    DATABASE, EGRESS, INSTANCE, LOAD_BALANCER, NETWORK, SECURITY_GROUPS, SERVICE,
};

/// How a step waits: while the function answers `Pending` it is invoked again, at a fixed interval, up to a limit. While it
/// answers `Stalled`, the limit is [`STALLED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The interval.
    pub every: Duration,
    /// The limit.
    pub at_most: Duration,
}

/// A wait with its interval in seconds; [`Every::for_minutes`] gives its limit.
const fn every(seconds: u64) -> Every {
    Every(Duration::from_secs(seconds))
}

struct Every(Duration);

impl Every {
    const fn for_minutes(self, minutes: u64) -> Wait {
        Wait { every: self.0, at_most: Duration::from_secs(minutes * 60) }
    }
}

/// What the workflow does with one component.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The component's name.
    pub component: &'static str,
    /// What its step creates, in plain words: the state's comment.
    pub creates: &'static str,
    /// The components that must be ready before this one is applied.
    pub needs: &'static [Need],
    /// What is applied early, after another component. `None`: nothing.
    pub prepare: Option<Prepare>,
    /// Applying it, until the next component can be applied.
    pub apply: Wait,
    /// The wait until it is stable, after all components have been applied. `None`: it is stable once it is applied.
    pub stable: Option<Wait>,
    /// Why it is applied once more before that wait. `None`: it is not.
    pub reapply: Option<&'static str>,
    /// The field of its outputs that says whether it is applied once more after that wait, when all components are stable, and
    /// the comment of that state. `None`: it is not.
    pub finish: Option<(&'static str, &'static str)>,
    /// When it is pruned and deleted.
    pub removal: Removal,
    /// What pruning deletes: the state's comment.
    pub prunes: &'static str,
}

/// What is applied of a component before its turn.
#[derive(Debug, Clone, Copy)]
pub struct Prepare {
    /// The component after which it is applied.
    pub after: &'static str,
    /// What it creates, and why early: the state's comment.
    pub creates: &'static str,
    /// The wait.
    pub wait: Wait,
}

/// A component that must be ready before another one is applied.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// Its name.
    pub component: &'static str,
    /// Why: the comment of the waiting state.
    pub why: &'static str,
    /// The wait.
    pub wait: Wait,
    /// The field of its outputs that says whether the wait is needed, and the comment of that choice. `None`: always.
    pub only_if: Option<(&'static str, &'static str)>,
    /// How the component is applied once more before that, if it has to be. `None`: never.
    pub again: Option<Again>,
}

/// A component that is applied once more before another one that needs it.
#[derive(Debug, Clone, Copy)]
pub struct Again {
    /// The names of the choice and of the state.
    pub states: (&'static str, &'static str),
    /// The field of the component's outputs that says whether it is needed, and the comment of that choice.
    pub only_if: (&'static str, &'static str),
    /// What it does: the state's comment.
    pub why: &'static str,
    /// The wait.
    pub wait: Wait,
}

/// When a component is pruned and deleted.
#[derive(Debug, Clone, Copy)]
pub enum Removal {
    /// In parallel with the others; the limit of the wait.
    Parallel(Wait),
    /// After the others, one at a time, because the others use it.
    Last(Wait),
}

/// The components in the order in which they are applied. They are deleted in reverse.
pub const PARTS: [Part; 7] = [
    Part {
        component: NETWORK,
        creates: "Creates or updates the VPC, subnets, internet gateway, route tables and S3 endpoint",
        needs: &[],
        prepare: None,
        apply: every(2).for_minutes(5),
        stable: None,
        reapply: None,
        finish: None,
        removal: Removal::Last(every(5).for_minutes(20)),
        prunes: "Deletes the subnets of zones that the spec no longer has",
    },
    Part {
        component: SECURITY_GROUPS,
        creates: "Creates or updates the security groups and their rules",
        needs: &[],
        prepare: None,
        apply: every(1).for_minutes(5),
        stable: None,
        reapply: None,
        finish: None,
        removal: Removal::Last(every(5).for_minutes(20)),
        prunes: "Deletes the security groups that nothing uses any more",
    },
    Part {
        component: DATABASE,
        creates: "Creates or updates the PostgreSQL instance; does not wait until it is available",
        needs: &[],
        prepare: None,
        apply: every(1).for_minutes(20),
        stable: Some(every(5).for_minutes(75)),
        reapply: None,
        finish: None,
        removal: PARALLEL,
        prunes: PRUNES,
    },
    Part {
        component: LOAD_BALANCER,
        creates: "Creates or updates the certificate, load balancer, target groups and listeners; does not wait until it is active",
        needs: &[],
        prepare: None,
        apply: every(2).for_minutes(75),
        stable: Some(every(1).for_minutes(20)),
        reapply: None,
        finish: Some((
            "staged",
            "Sends requests to the target groups of new services, whose tasks are healthy now",
        )),
        removal: PARALLEL,
        prunes: PRUNES,
    },
    Part {
        component: EGRESS,
        creates: "Creates or updates the NAT gateways or interface endpoints; does not wait until they are available",
        needs: &[],
        prepare: None,
        apply: every(1).for_minutes(15),
        // It is stable before the instance is applied.
        stable: None,
        reapply: None,
        finish: None,
        removal: PARALLEL,
        prunes: PRUNES,
    },
    Part {
        component: INSTANCE,
        creates: "Creates or updates the EC2 instance and its role; does not wait until it is running",
        needs: &[Need {
            component: EGRESS,
            why: "Waits until the NAT gateways or endpoints are available: without them, an instance or task retries for minutes",
            wait: every(2).for_minutes(15),
            only_if: None,
            again: None,
        }],
        prepare: None,
        apply: every(1).for_minutes(10),
        stable: Some(every(3).for_minutes(20)),
        reapply: Some(
            "Attaches the instance profile if the instance started without it, which EC2 does not report",
        ),
        finish: None,
        removal: PARALLEL,
        prunes: PRUNES,
    },
    Part {
        component: SERVICE,
        creates: "Creates or updates the log groups, roles, cluster, task definitions, ECS services and scaling",
        needs: &[Need {
            component: DATABASE,
            why: "Waits until the database is available and its endpoint is known",
            wait: every(5).for_minutes(75),
            only_if: Some(("awaited", "Skips the wait unless a service uses the database")),
            again: Some(RESTORE),
        }],
        prepare: Some(Prepare {
            after: DATABASE,
            creates: "Creates or updates the log groups, roles and cluster of the services: ECS sees a new role some seconds late",
            wait: every(1).for_minutes(5),
        }),
        apply: every(1).for_minutes(15),
        stable: Some(every(3).for_minutes(40)),
        reapply: None,
        finish: None,
        removal: PARALLEL,
        prunes: "Deletes what only the previous tasks needed: services, revisions, access to secrets and images",
    },
];

/// The end of a restore. RDS makes the first backup before the instance is available, which takes hours for a large database
/// (hashicorp/terraform-provider-aws#44104).
const RESTORE: Again = Again {
    states: ("RestoreFinished", "FinishRestore"),
    only_if: ("restoring", "Continues if the database was not restored from a snapshot"),
    why: "Waits until the database is restored, then lets RDS manage its password and sets what else the snapshot had otherwise",
    wait: every(15).for_minutes(6 * 60),
};

/// The removal of what is neither network nor security group.
const PARALLEL: Removal = Removal::Parallel(every(5).for_minutes(60));
/// The usual comment of a pruning state.
const PRUNES: &str = "Deletes what the spec no longer has, and waits until it is deleted";

/// The wait for a plan: AWS may still be applying an earlier change.
pub const PLAN: Wait = every(2).for_minutes(2);
/// The wait for another deployment of the same stack.
pub const ADMIT: Wait = every(10).for_minutes(4 * 60);
/// The wait for a reply to be read.
pub const READ_REPLY: Wait = every(2).for_minutes(2);
/// The wait for the conclusion of a deployment.
pub const CONCLUDE: Wait = every(5).for_minutes(5);

/// The wait for a change of the database's password: first for RDS to be available, then about a minute for the change
/// (Secrets Manager user guide, "Managed rotation").
pub const ROTATE: Wait = every(5).for_minutes(75);
/// The wait for ECS to accept the restart of services.
pub const RESTART: Wait = every(1).for_minutes(5);
/// The wait until restarted services are stable.
pub const AWAIT_RESTART: Wait = every(3).for_minutes(40);

/// How long a step may be without progress: AWS shows neither the desired state nor anything in progress. RDS shows an
/// accepted change some seconds late; for a new IAM role, a deployer that was tested on AWS waits 48 s (go-to-k/cdkd,
/// `retry.ts`). Whatever a person must do should be known within two minutes, the invocations included.
///
/// Step Functions counts the attempts over the whole step, and progress in between does not reset the count. So what a step spends
/// before AWS's progress is missing after it: a few seconds, as a test shows (`tests/stack/waits.rs`).
pub const STALLED: Duration = Duration::from_secs(80);
/// The factor by which the interval grows meanwhile.
pub const STALLED_BACKOFF: f64 = 1.5;
/// The longest interval meanwhile, unless the step's own is longer.
pub const STALLED_INTERVAL: Duration = Duration::from_secs(5);

/// How long somebody may take to approve a plan.
pub const APPROVAL: Duration = Duration::from_hours(3 * 24);
/// How long a whole deployment may take: an approval, then every wait at its limit.
pub const DEPLOYMENT: Duration = Duration::from_hours(8 * 24);
/// How long a step waits for its function: longer than Lambda lets it run, so that no function is running when its step
/// has failed.
pub const INVOCATION: Duration = Duration::from_secs(150);
