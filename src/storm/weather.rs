//! What happens in a storm, drawn from its seed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use stackdrop_simulator::{Caller, Fault, FaultKind, Item, When, as_caller};
use stackdrop_statemachine::{Abort, Status};
use tokio::task::JoinSet;

use super::specs::Variant;
use super::{Last, STACKS};
use crate::rehearsal::{Deployed, Rehearsal};

/// Calls that faults may strike: the ones that a stack's life consists of, and those that records and locks are made of.
const STRUCK: [(&str, &str); 40] = [
    ("ec2", "CreateVpc"),
    ("ec2", "CreateSubnet"),
    ("ec2", "CreateInternetGateway"),
    ("ec2", "AttachInternetGateway"),
    ("ec2", "CreateRouteTable"),
    ("ec2", "CreateRoute"),
    ("ec2", "AllocateAddress"),
    ("ec2", "CreateNatGateway"),
    ("ec2", "CreateVpcEndpoint"),
    ("ec2", "CreateSecurityGroup"),
    ("ec2", "AuthorizeSecurityGroupIngress"),
    ("ec2", "RunInstances"),
    ("ec2", "TerminateInstances"),
    ("ec2", "DeleteNatGateway"),
    ("ec2", "DeleteSecurityGroup"),
    ("ec2", "DeleteSubnet"),
    ("ec2", "DeleteVpc"),
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeVpcs"),
    ("ec2", "DescribeSubnets"),
    ("rds", "CreateDBSubnetGroup"),
    ("rds", "CreateDBInstance"),
    ("rds", "ModifyDBInstance"),
    ("rds", "DeleteDBInstance"),
    ("rds", "DescribeDBInstances"),
    ("elasticloadbalancing", "CreateLoadBalancer"),
    ("elasticloadbalancing", "CreateTargetGroup"),
    ("elasticloadbalancing", "CreateListener"),
    ("elasticloadbalancing", "DeleteLoadBalancer"),
    ("elasticloadbalancing", "DescribeLoadBalancers"),
    ("iam", "CreateRole"),
    ("iam", "PutRolePolicy"),
    ("iam", "DeleteRole"),
    ("ecs", "CreateCluster"),
    ("ecs", "RegisterTaskDefinition"),
    ("ecs", "CreateService"),
    ("ecs", "UpdateService"),
    ("ecs", "DeleteService"),
    ("ecs", "DescribeServices"),
    ("logs", "CreateLogGroup"),
];

/// The bucket's calls, with the functions that make them: the user's own are left alone.
const RECORDED: [(&str, &str); 5] = [
    ("GetObject", "/admit/run"),
    ("PutObject", "/admit/run"),
    ("GetObject", "/conclude/conclude"),
    ("PutObject", "/conclude/conclude"),
    ("DeleteObject", "/conclude/conclude"),
];

/// An execution that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) stack: &'static str,
    pub(super) deployed: Deployed,
    /// The stopped execution that it was started to look after.
    pub(super) after: Option<String>,
}

/// The weather of one storm.
#[derive(Debug)]
pub(super) struct Weather<'r> {
    rng: fastrand::Rng,
    rehearsal: &'r Rc<Rehearsal>,
    running: JoinSet<Vec<Ended>>,
    course: Rc<Course>,
}

/// What executions have a part in while the weather goes on.
#[derive(Debug)]
struct Course {
    rehearsal: Rc<Rehearsal>,
    /// What stops each execution that has not ended, by the number in which they were started.
    aborts: RefCell<BTreeMap<usize, Abort>>,
    started: RefCell<usize>,
    history: RefCell<Vec<String>>,
}

impl Course {
    fn note(&self, what: &str) {
        let now = self.rehearsal.account().clock().elapsed().as_secs_f64();
        self.history.borrow_mut().push(format!("{now:>9.1} s  {what}"));
    }

    /// Runs an execution and, if it is stopped, whoever EventBridge then starts to look after it: at least one, at any
    /// time, who may be stopped too.
    fn run(self: Rc<Self>, start: Start) -> LocalBoxFuture<'static, Vec<Ended>> {
        Box::pin(async move {
            let Start { stack, input, late, after, mut rng } = start;
            let abort = Abort::default();
            let number = self.started.replace_with(|started| *started + 1) + 1;
            self.aborts.borrow_mut().insert(number, abort.clone());
            pause(Duration::from_secs(late)).await;
            let deployed = self.rehearsal.run(input.clone(), &(), &abort).await;
            self.aborts.borrow_mut().remove(&number);
            let event = self.event_of_stop(&deployed, &input);
            let mut all = vec![Ended { stack, deployed, after }];
            let Some((stopped, event)) = event else { return all };
            let deliveries = if rng.u8(..4) == 0 { 2 } else { 1 };
            let deliveries = (0..deliveries).map(|_| {
                let late = if rng.u8(..3) == 0 { rng.u64(..900) } else { rng.u64(..3) };
                self.note(&format!("the event that {stopped} was stopped comes {late} s late"));
                let rng = fastrand::Rng::with_seed(rng.u64(..));
                let start = Start { stack, input: event.clone(), late, after: Some(stopped.clone()), rng };
                Rc::clone(&self).run(start)
            });
            all.extend(join_all(deliveries.collect::<Vec<_>>()).await.into_iter().flatten());
            all
        })
    }

    /// The event that Step Functions sends of an execution that nothing of its own has ended, and whose it is.
    fn event_of_stop(&self, deployed: &Deployed, input: &Value) -> Option<(String, Value)> {
        let stopped = matches!(deployed.outcome.status, Status::Aborted(_) | Status::TimedOut);
        let event = self.rehearsal.interruption(&deployed.id, input).filter(|_| stopped)?;
        Some((deployed.id.clone(), event))
    }
}

/// How an execution is started.
#[derive(Debug)]
struct Start {
    stack: &'static str,
    input: Value,
    /// How many seconds from now.
    late: u64,
    after: Option<String>,
    /// What its own fate is drawn from.
    rng: fastrand::Rng,
}

impl<'r> Weather<'r> {
    pub(super) fn new(seed: u64, rehearsal: &'r Rc<Rehearsal>) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let course = Course {
            rehearsal: Rc::clone(rehearsal),
            aborts: RefCell::default(),
            started: RefCell::default(),
            history: RefCell::default(),
        };
        Self { rng, rehearsal, running: JoinSet::new(), course: Rc::new(course) }
    }

    pub(super) fn note(&self, what: &str) {
        self.course.note(what);
    }

    /// What was done, and what came of it, in order.
    pub(super) fn history(&self) -> Vec<String> {
        self.course.history.borrow().clone()
    }

    /// What a stack is to be in the end.
    pub(super) fn last(&mut self) -> Last {
        if self.rng.u8(..4) == 0 { Last::Destroyed } else { Last::Deployed(self.variant()) }
    }

    /// Lets it blow, and waits until nothing is at work any more.
    pub(super) async fn blow(&mut self) -> Result<Vec<Ended>> {
        for _ in 0..self.rng.usize(4..10) {
            self.happen().await?;
            // Most things happen while a deployment is at work, some long after it.
            let gap = if self.rng.u8(..3) == 0 { self.rng.u64(..2400) } else { self.rng.u64(..240) };
            pause(Duration::from_secs(gap)).await;
        }
        self.rehearsal.account().disarm();
        self.note("the weather is over");
        let mut ended = Vec::new();
        while let Some(ends) = self.running.join_next().await {
            for end in ends.context("an execution of the storm")? {
                let error = end.deployed.error().unwrap_or_default();
                let error = error.lines().next().unwrap_or_default().to_owned();
                let after = end.after.as_ref().map(|stopped| format!(", which looked after {stopped},"));
                self.note(&format!(
                    "{} of {}{} ended as {} {error}",
                    end.deployed.id,
                    end.stack,
                    after.unwrap_or_default(),
                    end.deployed.result()
                ));
                ended.push(end);
            }
        }
        Ok(ended)
    }

    async fn happen(&mut self) -> Result<()> {
        let stack = if self.rng.u8(..4) == 0 { STACKS[1] } else { STACKS[0] };
        match self.rng.u8(..22) {
            0..=7 => self.upload(stack).await?,
            8 => self.upload_what_is_no_spec(stack).await?,
            9 => {
                let refresh = self.rng.bool();
                self.ask(stack, json!({ "stack": stack, "refreshImage": refresh }));
            }
            10 => self.ask(stack, json!({ "stack": stack, "action": "plan" })),
            11 => self.ask(stack, json!({ "stack": stack, "action": "destroy" })),
            12 => self.delete(stack).await?,
            13..=15 => self.stop(),
            16 => {
                self.rehearsal.account().disarm();
                self.note("the faults cease");
            }
            _ => self.strike(),
        }
        Ok(())
    }

    fn variant(&mut self) -> Variant {
        Variant::ALL[self.rng.usize(..Variant::ALL.len())]
    }

    async fn upload(&mut self, stack: &'static str) -> Result<()> {
        let variant = self.variant();
        self.note(&format!("{stack}: {variant:?} is uploaded"));
        let event =
            self.rehearsal.upload(&format!("specs/{stack}.yaml"), variant.text(stack).as_bytes()).await?;
        if self.rng.u8(..6) == 0 {
            // EventBridge delivers at least once, at any time, in any order.
            let late = self.rng.u64(..600);
            self.start(stack, event.clone(), late);
        }
        let late = if self.rng.u8(..4) == 0 { self.rng.u64(..180) } else { 0 };
        self.start(stack, event, late);
        Ok(())
    }

    async fn upload_what_is_no_spec(&mut self, stack: &'static str) -> Result<()> {
        self.note(&format!("{stack}: something that is no spec is uploaded"));
        let text = Variant::Worker.text(stack).replace("zones: 2", "zones: 9");
        let event = self.rehearsal.upload(&format!("specs/{stack}.yaml"), text.as_bytes()).await?;
        self.start(stack, event, 0);
        Ok(())
    }

    async fn delete(&mut self, stack: &'static str) -> Result<()> {
        self.note(&format!("{stack}: the spec is deleted"));
        let event = self.rehearsal.delete(&format!("specs/{stack}.yaml")).await?;
        self.start(stack, event, 0);
        Ok(())
    }

    fn ask(&mut self, stack: &'static str, input: Value) {
        self.note(&format!("{stack}: by hand {input}"));
        self.start(stack, input, 0);
    }

    fn start(&mut self, stack: &'static str, input: Value, late: u64) {
        let rng = fastrand::Rng::with_seed(self.rng.u64(..));
        let start = Start { stack, input, late, after: None, rng };
        self.running.spawn_local(Rc::clone(&self.course).run(start));
    }

    /// Stops one of the executions that have not ended, if there are any: the first is the one at work.
    fn stop(&mut self) {
        let aborts = self.course.aborts.borrow().clone();
        let place = if aborts.is_empty() { 0 } else { self.rng.usize(..aborts.len()) };
        if let Some((number, abort)) = aborts.iter().nth(place) {
            self.note(&format!("the execution that was started as number {number} is stopped"));
            abort.stop("Stopped", "by the storm");
        }
    }

    fn strike(&mut self) {
        let kind = match self.rng.u8(..10) {
            0 => FaultKind::Throttled,
            1 => FaultKind::ServerError,
            2 => FaultKind::LostBefore,
            3 | 4 => FaultKind::LostAfter,
            5 | 6 => FaultKind::Killed,
            7 => FaultKind::Hangs,
            8 => FaultKind::AccessDenied,
            _ => FaultKind::ResourceFails,
        };
        let first = self.rng.usize(1..4);
        let when = match self.rng.u8(..6) {
            0 => When::From(first),
            1 | 2 => When::Span(first, self.rng.usize(2..12)),
            _ => When::Only(first),
        };
        let fault = if self.rng.u8(..5) == 0 {
            let (operation, caller) = RECORDED[self.rng.usize(..RECORDED.len())];
            Fault::at("s3", operation, when, kind).during(caller)
        } else {
            let (service, operation) = STRUCK[self.rng.usize(..STRUCK.len())];
            Fault::at(service, operation, when, kind)
        };
        self.note(&format!("fault: {fault:?}"));
        self.rehearsal.account().arm(fault);
    }
}

#[expect(clippy::disallowed_methods, reason = "the storm's own pace; no function waits here")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Puts things of somebody else into the account, whose names look like ours.
pub(super) async fn foreign(rehearsal: &Rehearsal) -> Result<Vec<Item>> {
    let aws = rehearsal.aws();
    let make = async {
        let vpc = aws.ec2().create_vpc().cidr_block("10.20.0.0/16").send().await.context("a foreign VPC")?;
        let vpc = vpc.vpc.and_then(|vpc| vpc.vpc_id).context("the VPC's id")?;
        pause(Duration::from_mins(1)).await; // until it is available
        let group = aws.ec2().create_security_group().group_name("shop-database").description("not ours");
        group.vpc_id(&vpc).send().await.context("a foreign security group")?;
        let subnet = aws.ec2().create_subnet().vpc_id(&vpc).cidr_block("10.20.0.0/24");
        subnet.send().await.context("a foreign subnet")?;
        aws.logs()
            .create_log_group()
            .log_group_name("/stackdrop/shopping")
            .send()
            .await
            .context("a log group")
    };
    as_caller(Caller::new("neighbour"), make).await?;
    let items = rehearsal.account().inventory();
    anyhow::ensure!(items.len() >= 3, "what the neighbour made stands: {items:?}");
    Ok(items)
}
