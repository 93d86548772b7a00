//! Plays EventBridge and EventBridge Scheduler: they start executions if the installation's rules and roles allow it.

use serde_json::Value;
use stackdrop_simulator::{AccessRequest, Principal};

use super::Rehearsal;
use super::install::assume;
use crate::installation::{Rule, Target};

/// An event that matched but could not start an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEvent {
    /// The ARN of the rule, or of the schedule's group.
    pub source: String,
    /// The input that the execution would have had.
    pub input: Value,
    /// AWS's message.
    pub reason: String,
    /// The ARN of the dead-letter queue that has the event; `None` if the event is lost.
    pub kept_in: Option<String>,
}

impl Rehearsal {
    /// The events that could not start an execution so far.
    #[must_use]
    pub fn lost_events(&self) -> Vec<LostEvent> {
        self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The number of executions that EventBridge starts for an event that happens now.
    #[must_use]
    pub fn starts(&self, event: &Value) -> usize {
        let from_bucket = event["source"] == "aws.s3";
        let sends =
            self.installation.bucket.sends_events && self.account.clock().elapsed() >= self.events_begin;
        if from_bucket && !sends {
            return 0;
        }
        let rules = self.installation.rules.iter();
        let rules = rules.filter(|rule| rule.state.as_deref() != Some("DISABLED"));
        let matching = rules.filter(|rule| rule.event_pattern.matches(event));
        let targets = matching.flat_map(|rule| rule.targets.iter().map(move |target| (rule, target)));
        targets.filter(|(rule, target)| self.deliver_to(event, rule, target)).count()
    }

    /// Delivers an event to a rule's target. A denied delivery is not retried (EventBridge user guide, "Retrying event
    /// delivery"): the event goes to the dead-letter queue, if the rule has one and may send to it.
    fn deliver_to(&self, event: &Value, rule: &Rule, target: &Target) -> bool {
        if target.arn != self.installation.workflow.arn {
            return false;
        }
        let source = [("aws:SourceArn", rule.arn.as_str()), ("aws:SourceAccount", self.account_number())];
        let starter = target.role_arn.as_deref().unwrap_or_default();
        let Err(reason) = self.started_by("events.amazonaws.com", starter, &target.arn, &source) else {
            return true;
        };
        let queue = target.dead_letter_config.as_ref().map(|queue| queue.arn.clone());
        let kept_in = queue.filter(|queue| {
            let mut send = AccessRequest::new("sqs:SendMessage", "queue", queue);
            send.key("aws:SourceArn", &rule.arn).key("aws:SourceAccount", self.account_number());
            let events = Principal::Service { name: "events.amazonaws.com".into() };
            self.account.decide(&rule.id, &events, send).is_ok()
        });
        self.lose(LostEvent { source: rule.arn.clone(), input: event.clone(), reason, kept_in });
        false
    }

    /// Whether a schedule that is due starts an execution. Its source ARN is that of its group (EventBridge Scheduler
    /// user guide, "Confused deputy prevention").
    pub(super) fn schedule_starts(&self, group: &str, role: &str, input: &Value) -> bool {
        let arn = self.installation.workflow.arn.as_str();
        let group = format!("{}schedule-group/{group}", self.regional_arn("scheduler"));
        let source = [("aws:SourceArn", group.as_str()), ("aws:SourceAccount", self.account_number())];
        match self.started_by("scheduler.amazonaws.com", role, arn, &source) {
            Ok(()) => true,
            Err(reason) => {
                self.lose(LostEvent { source: group, input: input.clone(), reason, kept_in: None });
                false
            }
        }
    }

    /// Checks whether a service may start the workflow with a role.
    fn started_by(
        &self,
        service: &str,
        role: &str,
        machine: &str,
        source: &[(&str, &str)],
    ) -> Result<(), String> {
        assume(&self.account, role, service, source)?;
        let principal = Principal::Role { arn: role.into(), session: "eventbridge".into() };
        self.account.decide(
            service,
            &principal,
            AccessRequest::new("states:StartExecution", "statemachine", machine),
        )
    }

    fn lose(&self, lost: LostEvent) {
        self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(lost);
    }

    fn account_number(&self) -> &str {
        &self.installation.settings.account
    }

    fn regional_arn(&self, service: &str) -> String {
        let settings = &self.installation.settings;
        format!("arn:aws:{service}:{}:{}:", settings.region, settings.account)
    }
}
