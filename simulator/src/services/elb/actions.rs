//! The actions of listeners and rules: forward, redirect, or a fixed response.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::load_balancers::{self, LoadBalancer};
use super::{invalid, misconfigured, ranged, target_groups};
use crate::params::{Params, Refusal};
use crate::world::World;

/// The most target groups of one action, and of one load balancer (AWS's default quotas).
const GROUPS_PER_ACTION: usize = 5;
const GROUPS_PER_LOAD_BALANCER: usize = 100;

/// The content types of a fixed response (SDK text).
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// The action of a listener or a rule. AWS's further actions, which authenticate first, are not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    order: Option<i64>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Forward {
        /// Target groups with their weights.
        groups: Vec<(String, i64)>,
        /// For how many seconds a client stays with a group, if stickiness is enabled.
        sticky_seconds: Option<i64>,
    },
    Redirect {
        protocol: String,
        port: String,
        host: String,
        path: String,
        query: String,
        status: String,
    },
    FixedResponse {
        status: String,
        content_type: Option<String>,
        body: Option<String>,
    },
}

impl Action {
    /// Whether the action sends requests to a target group.
    pub(super) fn uses(&self, target_group: &str) -> bool {
        self.groups().any(|arn| arn == target_group)
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        let groups: &[(String, i64)] = match &self.kind {
            Kind::Forward { groups, .. } => groups,
            _ => &[],
        };
        groups.iter().map(|(arn, _)| arn.as_str())
    }

    /// The list of actions in AWS's form.
    pub(super) fn document(&self) -> Value {
        let mut action = match &self.kind {
            Kind::Forward { groups, sticky_seconds } => forward_document(groups, *sticky_seconds),
            Kind::Redirect { protocol, port, host, path, query, status } => json!({
                "Type": "redirect",
                "RedirectConfig": {
                    "Protocol": protocol,
                    "Port": port,
                    "Host": host,
                    "Path": path,
                    "Query": query,
                    "StatusCode": status,
                },
            }),
            Kind::FixedResponse { status, content_type, body } => json!({
                "Type": "fixed-response",
                "FixedResponseConfig": {
                    "MessageBody": body,
                    "StatusCode": status,
                    "ContentType": content_type,
                },
            }),
        };
        if let Some(order) = self.order {
            action["Order"] = json!(order);
        }
        json!([action])
    }
}

/// AWS shows a single group in both forms.
fn forward_document(groups: &[(String, i64)], sticky_seconds: Option<i64>) -> Value {
    let list: Value =
        groups.iter().map(|(arn, weight)| json!({ "TargetGroupArn": arn, "Weight": weight })).collect();
    let mut document = Map::new();
    document.insert("Type".into(), json!("forward"));
    if let [(arn, _)] = groups {
        document.insert("TargetGroupArn".into(), json!(arn));
    }
    document.insert(
        "ForwardConfig".into(),
        json!({
            "TargetGroups": list,
            "TargetGroupStickinessConfig": {
                "Enabled": sticky_seconds.is_some(),
                "DurationSeconds": sticky_seconds,
            },
        }),
    );
    Value::Object(document)
}

/// Reads a list of actions, if it was sent.
pub(super) fn read(params: &Params, list: &str) -> Result<Option<Action>, Refusal> {
    let mut actions = params.structs(list);
    if actions.len() > 1 {
        return Err(Refusal::new(
            "TooManyActions",
            "Only one forward, redirect or fixed-response action is allowed",
        ));
    }
    let Some(sent) = actions.pop() else { return Ok(None) };
    let order = ranged(&sent, "Order", 1, 50_000)?;
    let kind = match sent.required("Type")?.as_str() {
        "forward" => read_forward(&sent)?,
        "redirect" => read_redirect(&sent)?,
        "fixed-response" => read_fixed_response(&sent)?,
        other => {
            return Err(invalid(format!(
                "Action type '{other}' must be one of 'forward,redirect,fixed-response'"
            )));
        }
    };
    Ok(Some(Action { order, kind }))
}

fn read_forward(sent: &Params) -> Result<Kind, Refusal> {
    let single = sent.text("TargetGroupArn");
    let mut groups = Vec::new();
    let mut sticky_seconds = None;
    if let Some(config) = sent.section("ForwardConfig") {
        for group in config.structs("TargetGroups") {
            let weight = ranged(&group, "Weight", 0, 999)?.unwrap_or(1);
            groups.push((group.required("TargetGroupArn")?, weight));
        }
        if let Some(stickiness) = config.section("TargetGroupStickinessConfig") {
            let seconds = ranged(&stickiness, "DurationSeconds", 1, 604_800)?;
            if stickiness.flag("Enabled")? == Some(true) {
                sticky_seconds = Some(seconds.ok_or_else(|| {
                    invalid("A duration must be specified when target group stickiness is enabled")
                })?);
            }
        }
    }
    match (single, groups.as_slice()) {
        (Some(arn), []) => groups.push((arn, 1)),
        (Some(arn), [(listed, _)]) if arn == *listed => {}
        (Some(_), _) => {
            return Err(misconfigured(
                "A TargetGroupArn and a ForwardConfig can only be specified together if they name the same target group",
            ));
        }
        (None, []) => return Err(invalid("A target group ARN must be specified")),
        (None, _) => {}
    }
    if groups.len() > GROUPS_PER_ACTION {
        return Err(invalid(format!("An action can have at most {GROUPS_PER_ACTION} target groups")));
    }
    let distinct: BTreeSet<&String> = groups.iter().map(|(arn, _)| arn).collect();
    if distinct.len() < groups.len() {
        return Err(misconfigured("Target groups must be unique within an action"));
    }
    Ok(Kind::Forward { groups, sticky_seconds })
}

fn read_redirect(sent: &Params) -> Result<Kind, Refusal> {
    let config = sent
        .section("RedirectConfig")
        .ok_or_else(|| invalid("A redirect configuration must be specified"))?;
    let sent_or = |key: &str, unchanged: &str| config.text(key).unwrap_or_else(|| unchanged.to_owned());
    let protocol = sent_or("Protocol", "#{protocol}");
    let port = sent_or("Port", "#{port}");
    let host = sent_or("Host", "#{host}");
    let path = sent_or("Path", "/#{path}");
    let query = sent_or("Query", "#{query}");
    let status = config.required("StatusCode")?;
    if !["HTTP", "HTTPS", "#{protocol}"].contains(&protocol.as_str()) {
        return Err(invalid(format!(
            "Redirect protocol '{protocol}' must be one of 'HTTP,HTTPS,#{{protocol}}'"
        )));
    }
    if port != "#{port}" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(invalid(format!("Redirect port '{port}' is not valid")));
    }
    if !path.starts_with('/') || [&host, &path, &query].into_iter().any(|part| part.len() > 128) {
        return Err(invalid(
            "The redirect path must begin with '/', and no part can have over 128 characters",
        ));
    }
    if host.is_empty() {
        return Err(invalid("The redirect host cannot be empty"));
    }
    if !["HTTP_301", "HTTP_302"].contains(&status.as_str()) {
        return Err(invalid(format!("Redirect status code '{status}' must be one of 'HTTP_301,HTTP_302'")));
    }
    Ok(Kind::Redirect { protocol, port, host, path, query, status })
}

fn read_fixed_response(sent: &Params) -> Result<Kind, Refusal> {
    let config = sent
        .section("FixedResponseConfig")
        .ok_or_else(|| invalid("A fixed-response configuration must be specified"))?;
    let status = config.required("StatusCode")?;
    let content_type = config.text("ContentType");
    let body = config.text("MessageBody");
    let is_status = status.len() == 3
        && status.bytes().all(|byte| byte.is_ascii_digit())
        && ["2", "4", "5"].contains(&&status[..1]);
    if !is_status {
        return Err(invalid(format!("Fixed response status code '{status}' must be 2XX, 4XX or 5XX")));
    }
    if content_type.as_ref().is_some_and(|content_type| !CONTENT_TYPES.contains(&content_type.as_str())) {
        return Err(invalid(format!(
            "Fixed response content type must be one of '{}'",
            CONTENT_TYPES.join(",")
        )));
    }
    if body.as_ref().is_some_and(|body| body.len() > 1024) {
        return Err(invalid("A fixed response body can have at most 1024 bytes"));
    }
    Ok(Kind::FixedResponse { status, content_type, body })
}

impl Action {
    /// Checks an action against its load balancer and its listener.
    pub(super) fn check(
        &self,
        world: &World,
        load_balancer: &LoadBalancer,
        (protocol, port): (&str, u16),
    ) -> Result<(), Refusal> {
        if let Kind::Redirect { protocol: to, port: to_port, host, path, .. } = &self.kind {
            if protocol == "HTTPS" && to == "HTTP" {
                return Err(Refusal::new("InvalidLoadBalancerAction", "HTTPS cannot be redirected to HTTP"));
            }
            let same_protocol = to == "#{protocol}" || to == protocol;
            let same_port = *to_port == "#{port}" || *to_port == port.to_string();
            if same_protocol && same_port && host == "#{host}" && path == "/#{path}" {
                return Err(Refusal::new(
                    "InvalidLoadBalancerAction",
                    "The redirect configuration is not valid because it creates a loop.",
                ));
            }
        }
        for arn in self.groups() {
            let group = target_groups::find(world, arn)?;
            if group.vpc != load_balancer.vpc {
                return Err(misconfigured(format!(
                    "The target group '{arn}' is not in the VPC of the load balancer, '{}'",
                    load_balancer.vpc
                )));
            }
            if load_balancers::using(world, arn).is_some_and(|user| user.arn != load_balancer.arn) {
                return Err(Refusal::new(
                    "TargetGroupAssociationLimit",
                    format!(
                        "The following target groups cannot be associated with more than one load balancer: {arn}"
                    ),
                ));
            }
        }
        self.check_quota(world, load_balancer)
    }

    fn check_quota(&self, world: &World, load_balancer: &LoadBalancer) -> Result<(), Refusal> {
        let state = &world.states.elb;
        let listeners = || state.listeners.values().filter(|each| each.load_balancer == load_balancer.arn);
        let of_rules = listeners()
            .flat_map(|listener| state.rules.values().filter(|rule| rule.listener == listener.arn))
            .flat_map(|rule| rule.action.groups());
        let mut groups: BTreeSet<&str> =
            listeners().flat_map(|listener| listener.action.groups()).chain(of_rules).collect();
        groups.extend(self.groups());
        if groups.len() > GROUPS_PER_LOAD_BALANCER {
            return Err(Refusal::new(
                "TooManyUniqueTargetGroupsPerLoadBalancer",
                format!("A load balancer can use at most {GROUPS_PER_LOAD_BALANCER} target groups"),
            ));
        }
        Ok(())
    }
}
