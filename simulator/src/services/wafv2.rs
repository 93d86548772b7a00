//! AWS WAF: the associations of web ACLs with load balancers. Web ACLs exist from the start; they are not in the inventory, because
//! they belong to the account and not to a stack.
//!
//! Source of codes: `AssociateWebACL`, `DisassociateWebACL`, `GetWebACL` and `GetWebACLForResource` in the API reference of AWS WAF
//! V2.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Service, elb, unknown};
use crate::authorization::AccessRequests;
use crate::incident::Incident;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::rates::Rate;
use crate::world::World;

/// The most load balancers of a web ACL ("AWS WAF quotas" in the developer guide).
const LOAD_BALANCERS: usize = 100;

pub(crate) static SERVICE: Service = Service {
    rate,
    incidents: &[Incident {
        name: "web-acl-detached",
        what: "Somebody detaches the web ACL from the load balancer",
        cause: detach,
    }],
    ..Service::json("wafv2", "1.1", "AWSWAF_20190729", act, access)
};

/// The state of this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The ARNs of the web ACLs.
    web_acls: BTreeSet<String>,
    /// The ARN of each load balancer's web ACL, by the load balancer's ARN.
    associations: BTreeMap<String, String>,
}

/// Adds a web ACL.
pub(crate) fn seed(world: &mut World, arn: &str) {
    world.states.wafv2.web_acls.insert(arn.to_owned());
}

/// Removes the association of a load balancer that is deleted.
pub(crate) fn forget(world: &mut World, load_balancer: &str) {
    world.states.wafv2.associations.remove(load_balancer);
}

/// Detaches the web ACLs of a stack's load balancers.
fn detach(world: &mut World, stack: &str) -> Vec<String> {
    let is_of_stack = |arn: &&String| {
        let tags = elb::load_balancer_tags(world, arn);
        tags.is_some_and(|tags| tags.get("stackdrop:stack").is_some_and(|value| value == stack))
    };
    let changed: Vec<String> = world.states.wafv2.associations.keys().filter(is_of_stack).cloned().collect();
    for load_balancer in &changed {
        forget(world, load_balancer);
    }
    changed
}

/// "AWS WAF quotas" in the developer guide: a change of an association every two seconds, and one look at it a second. Unverified:
/// that some calls can follow each other at once.
fn rate(operation: &str) -> Rate {
    match operation {
        "AssociateWebACL" => Rate::new("associate", 3.0, 0.5),
        "DisassociateWebACL" => Rate::new("disassociate", 3.0, 0.5),
        "GetWebACLForResource" => Rate::new("association", 5.0, 1.0),
        _ => Rate::new("read", 10.0, 5.0),
    }
}

/// The permissions that a call needs. Sources: "Actions that require additional permissions settings" in the developer guide, and
/// AWS's managed policy `AmazonECSInfrastructureRoleforExpressGatewayServices`. The developer guide allows `DisassociateWebACL`
/// only for `*`.
///
/// Unverified: which resource `GetWebACLForResource` is authorized for if the load balancer has no web ACL; here it is any.
fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let any = || world.arn("wafv2", "regional/webacl/*/*");
    let load_balancer = params.text("ResourceArn");
    let load_balancer =
        load_balancer.unwrap_or_else(|| world.arn("elasticloadbalancing", "loadbalancer/app/*/*"));
    let also = match operation {
        "AssociateWebACL" => {
            requests.resource("webacl", params.text("WebACLArn").unwrap_or_else(any), None);
            "elasticloadbalancing:CreateWebACLAssociation"
        }
        "DisassociateWebACL" => {
            requests.no_resource();
            "elasticloadbalancing:DeleteWebACLAssociation"
        }
        "GetWebACLForResource" => {
            let web_acl = world.states.wafv2.associations.get(&load_balancer).cloned().unwrap_or_else(any);
            requests.resource("webacl", &web_acl, None);
            requests.other_action("wafv2:GetWebACL", "webacl", web_acl, None);
            "elasticloadbalancing:GetLoadBalancerWebACL"
        }
        "GetWebACL" => {
            let part = |name: &str| params.text(name).unwrap_or_else(|| "*".into());
            let path = format!("regional/webacl/{}/{}", part("Name"), part("Id"));
            requests.resource("webacl", world.arn("wafv2", &path), None);
            return;
        }
        _ => {
            requests.no_resource();
            return;
        }
    };
    let tags = elb::load_balancer_tags(world, &load_balancer);
    requests.other_action(also, "loadbalancer/app", load_balancer, tags);
}

fn act(world: &mut World, operation: &str, params: &Params) -> Result<Reply, Refusal> {
    match operation {
        "AssociateWebACL" => associate(world, params),
        "DisassociateWebACL" => disassociate(world, params),
        "GetWebACL" => get(world, params),
        "GetWebACLForResource" => get_for_resource(world, params),
        _ => Err(unknown("wafv2", operation)),
    }
}

fn absent() -> Refusal {
    Refusal::new(
        "WAFNonexistentItemException",
        "AWS WAF couldn’t perform the operation because your resource doesn’t exist.",
    )
}

fn unavailable() -> Refusal {
    Refusal::new(
        "WAFUnavailableEntityException",
        "AWS WAF couldn’t retrieve the resource that you requested. Retry your request.",
    )
}

fn invalid(field: &str, value: &str) -> Refusal {
    Refusal::new(
        "WAFInvalidParameterException",
        format!(
            "Error reason: The parameter contains formatting that is not valid., field: {field}, parameter: {value}"
        ),
    )
}

/// The load balancer that a parameter names.
fn known_load_balancer(world: &World, params: &Params) -> Result<String, Refusal> {
    let arn = params.required("ResourceArn")?;
    params.done()?;
    if !arn.contains(":loadbalancer/app/") {
        return Err(invalid("RESOURCE_ARN", &arn));
    }
    if elb::is_active(world, &arn).is_none() {
        return Err(absent());
    }
    Ok(arn)
}

/// Attaches a web ACL, instead of the load balancer's previous one. Unverified: that a load balancer must be active for it.
fn associate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let web_acl = params.required("WebACLArn")?;
    let load_balancer = known_load_balancer(world, params)?;
    if !web_acl.starts_with(&world.arn("wafv2", "regional/webacl/")) {
        return Err(invalid("WEB_ACL_ARN", &web_acl));
    }
    if !world.states.wafv2.web_acls.contains(&web_acl) {
        return Err(absent());
    }
    if elb::is_active(world, &load_balancer) != Some(true) {
        return Err(unavailable());
    }
    let associations = &mut world.states.wafv2.associations;
    let others = associations.iter().filter(|(of, attached)| **of != load_balancer && **attached == web_acl);
    if others.count() >= LOAD_BALANCERS {
        return Err(Refusal::new(
            "WAFLimitsExceededException",
            "AWS WAF couldn’t perform the operation because you exceeded your resource limit.",
        ));
    }
    associations.insert(load_balancer, web_acl);
    Ok(json!({}).into())
}

/// "Disassociates the specified resource from its web ACL association, if it has one" (API reference).
fn disassociate(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let load_balancer = known_load_balancer(world, params)?;
    forget(world, &load_balancer);
    Ok(json!({}).into())
}

fn get_for_resource(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let load_balancer = known_load_balancer(world, params)?;
    let web_acl = world.states.wafv2.associations.get(&load_balancer);
    Ok(web_acl.map_or_else(|| json!({}), |arn| json!({ "WebACL": document(arn) })).into())
}

fn get(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let (name, id) = (params.required("Name")?, params.required("Id")?);
    let scope = params.required("Scope")?;
    params.done()?;
    if scope != "REGIONAL" {
        return Err(invalid("SCOPE_VALUE", &scope));
    }
    let arn = world.arn("wafv2", &format!("regional/webacl/{name}/{id}"));
    if !world.states.wafv2.web_acls.contains(&arn) {
        return Err(absent());
    }
    // Only a change needs the token.
    Ok(json!({ "WebACL": document(&arn), "LockToken": id }).into())
}

/// A web ACL without rules.
fn document(arn: &str) -> Value {
    let mut parts = arn.rsplit('/');
    let (id, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({
        "Name": name,
        "Id": id,
        "ARN": arn,
        "DefaultAction": { "Allow": {} },
        "Rules": [],
        "VisibilityConfig": {
            "SampledRequestsEnabled": true,
            "CloudWatchMetricsEnabled": true,
            "MetricName": name,
        },
        "Capacity": 0,
        "ManagedByFirewallManager": false,
    })
}
