//! Listeners: the ports of a load balancer, their certificates and default actions.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::actions::{self, Action};
use super::load_balancers::{self, LoadBalancer};
use super::{Page, invalid, is_known, port, ssl_policies, tags};
use crate::inventory::Item;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::services::acm;
use crate::world::{Tags, World};

/// The most listeners of a load balancer (AWS's default quota).
const QUOTA: usize = 50;

#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) arn: String,
    pub(super) load_balancer: String,
    pub(super) protocol: String,
    pub(super) port: u16,
    /// For HTTPS: the security policy and the certificate's ARN.
    pub(super) tls: Option<(String, String)>,
    /// How clients are authenticated by certificates: `off` or `passthrough`.
    clients: String,
    pub(super) action: Action,
    /// The ARN of the default rule.
    pub(super) default_rule: String,
    pub(super) tags: Tags,
    created: Duration,
}

impl Listener {
    fn document(&self) -> Value {
        let mut document = Map::new();
        document.insert("ListenerArn".into(), json!(self.arn));
        document.insert("LoadBalancerArn".into(), json!(self.load_balancer));
        document.insert("Port".into(), json!(self.port));
        document.insert("Protocol".into(), json!(self.protocol));
        if let Some((policy, certificate)) = &self.tls {
            document.insert("Certificates".into(), json!([{ "CertificateArn": certificate }]));
            document.insert("SslPolicy".into(), json!(policy));
            document.insert("MutualAuthentication".into(), json!({ "Mode": self.clients }));
        }
        document.insert("DefaultActions".into(), self.action.document());
        Value::Object(document)
    }

    fn is_like(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.tls == other.tls
            && self.action == other.action
            && self.tags == other.tags
    }

    pub(super) fn is_known(&self, world: &World) -> bool {
        is_known(world, self.created)
    }
}

/// A listener by its ARN.
pub(super) fn find<'a>(world: &'a World, arn: &str) -> Result<&'a Listener, Refusal> {
    world
        .states
        .elb
        .listeners
        .get(arn)
        .filter(|listener| listener.is_known(world))
        .ok_or_else(|| Refusal::new("ListenerNotFound", format!("One or more listeners not found: '{arn}'")))
}

/// The settings of a listener in a request.
struct Sent {
    protocol: Option<String>,
    port: Option<u16>,
    policy: Option<String>,
    certificates: Vec<String>,
    clients: Option<String>,
    action: Option<Action>,
}

impl Sent {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let mut certificates = Vec::new();
        for certificate in params.structs("Certificates") {
            certificates.push(certificate.required("CertificateArn")?);
        }
        if certificates.len() > 1 {
            return Err(Refusal::new("TooManyCertificates", "Only one certificate can be specified"));
        }
        let clients = params.section("MutualAuthentication").and_then(|clients| clients.text("Mode"));
        if let Some(mode) = clients.as_ref().filter(|mode| !["off", "passthrough"].contains(&mode.as_str())) {
            return Err(invalid(format!(
                "The simulator has no mutual authentication with the mode '{mode}'"
            )));
        }
        let protocol = params.text("Protocol");
        if let Some(protocol) = protocol.as_ref().filter(|each| !["HTTP", "HTTPS"].contains(&each.as_str())) {
            return Err(invalid(format!("Listener protocol '{protocol}' must be one of 'HTTPS, HTTP'")));
        }
        Ok(Self {
            protocol,
            port: port(params)?,
            policy: params.text("SslPolicy"),
            certificates,
            clients,
            action: actions::read(params, "DefaultActions")?,
        })
    }
}

/// The checked security policy and certificate of a listener.
fn tls(
    world: &World,
    protocol: &str,
    policy: Option<String>,
    certificate: Option<String>,
) -> Result<Option<(String, String)>, Refusal> {
    if protocol == "HTTP" {
        return match (policy, certificate) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(invalid("An SSL policy cannot be specified for HTTP listeners")),
            (None, Some(_)) => Err(invalid("Certificates cannot be specified for HTTP listeners")),
        };
    }
    let certificate =
        certificate.ok_or_else(|| invalid("A certificate must be specified for HTTPS listeners"))?;
    // AWS would choose a policy of 2016 that still allows TLS 1.0.
    let policy = policy.ok_or_else(|| invalid("An SSL policy must be specified for HTTPS listeners"))?;
    if !ssl_policies::is_known(&policy) {
        return Err(ssl_policies::not_found(&policy));
    }
    match acm::certificate(world, &certificate) {
        None => Err(Refusal::new("CertificateNotFound", format!("Certificate '{certificate}' not found"))),
        Some(facts) if !facts.issued => Err(Refusal::new(
            "UnsupportedCertificate",
            format!(
                "The certificate '{certificate}' must have a fully-qualified domain name, a supported signature, \
                 and a supported key size."
            ),
        )),
        Some(_) => Ok(Some((policy, certificate))),
    }
}

fn duplicate(load_balancer: &str) -> Refusal {
    Refusal::new(
        "DuplicateListener",
        format!("A listener already exists on this port for this load balancer '{load_balancer}'"),
    )
}

pub(super) fn create(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("LoadBalancerArn")?;
    let sent = Sent::read(params)?;
    let tags = tags::read(params)?;
    params.done()?;
    let load_balancer = load_balancers::find(world, &arn)?.clone();
    let port = sent.port.ok_or_else(|| invalid("A port must be specified"))?;
    let protocol = sent.protocol.ok_or_else(|| invalid("A protocol must be specified"))?;
    let action = sent.action.ok_or_else(|| invalid("A default action must be specified"))?;
    let tls = tls(world, &protocol, sent.policy, sent.certificates.into_iter().next())?;
    action.check(world, &load_balancer, (&protocol, port))?;
    let mut listener = Listener {
        arn: String::new(),
        load_balancer: arn.clone(),
        protocol,
        port,
        tls,
        clients: sent.clients.unwrap_or_else(|| "off".into()),
        action,
        default_rule: String::new(),
        tags,
        created: world.now,
    };
    let others = || world.states.elb.listeners.values().filter(|each| each.load_balancer == arn);
    if let Some(existing) = others().find(|each| each.port == port) {
        // "This operation is idempotent": the same settings again return the existing listener (SDK text).
        return if existing.is_like(&listener) {
            Ok(json!({ "Listeners": [existing.document()] }).into())
        } else {
            Err(duplicate(&arn))
        };
    }
    if others().count() >= QUOTA {
        return Err(Refusal::new(
            "TooManyListeners",
            format!("A load balancer can have at most {QUOTA} listeners"),
        ));
    }
    let path = format!("{}/{:016x}", load_balancer.path(), world.number());
    listener.arn = world.arn("elasticloadbalancing", &format!("listener/{path}"));
    let rule = format!("listener-rule/{path}/{:016x}", world.number());
    listener.default_rule = world.arn("elasticloadbalancing", &rule);
    let reply = json!({ "Listeners": [listener.document()] }).into();
    changing_certificates(world, &arn, |world| {
        world.states.elb.listeners.insert(listener.arn.clone(), listener);
    });
    Ok(reply)
}

/// The ARN of a new rule of a listener.
pub(super) fn rule_arn(world: &mut World, listener: &str) -> String {
    let number = world.number();
    format!("{}/{number:016x}", listener.replacen(":listener/", ":listener-rule/", 1))
}

/// Changes a load balancer's listeners, and then tells ACM which certificates are used or no longer used.
fn changing_certificates(world: &mut World, load_balancer: &str, work: impl FnOnce(&mut World)) {
    let used = |world: &World| -> BTreeSet<String> {
        let own = world.states.elb.listeners.values().filter(|each| each.load_balancer == load_balancer);
        own.filter_map(|each| Some(each.tls.as_ref()?.1.clone())).collect()
    };
    let before = used(world);
    work(world);
    let after = used(world);
    for certificate in before.difference(&after) {
        acm::set_in_use(world, certificate, load_balancer, false);
    }
    for certificate in after.difference(&before) {
        acm::set_in_use(world, certificate, load_balancer, true);
    }
}

pub(super) fn describe(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arns = params.list("ListenerArns");
    let load_balancer = params.text("LoadBalancerArn");
    let page = Page::read(params)?;
    params.done()?;
    let found: Vec<&Listener> = match (&load_balancer, arns.is_empty()) {
        (Some(arn), true) => {
            load_balancers::find(world, arn)?;
            let listeners = world.states.elb.listeners.values();
            listeners.filter(|each| each.load_balancer == *arn && each.is_known(world)).collect()
        }
        (None, false) => arns.iter().map(|arn| find(world, arn)).collect::<Result<_, _>>()?,
        _ => return Err(invalid("You must specify either listener ARNs or a load balancer ARN")),
    };
    Ok(page.of("Listeners", found.into_iter().map(Listener::document).collect()))
}

pub(super) fn describe_certificates(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("ListenerArn")?;
    let page = Page::read(params)?;
    params.done()?;
    let certificates = find(world, &arn)?
        .tls
        .iter()
        .map(|(_, certificate)| json!({ "CertificateArn": certificate, "IsDefault": true }))
        .collect();
    Ok(page.of("Certificates", certificates))
}

pub(super) fn modify(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("ListenerArn")?;
    let sent = Sent::read(params)?;
    params.done()?;
    let mut listener = find(world, &arn)?.clone();
    let load_balancer = load_balancers::find(world, &listener.load_balancer)?.clone();
    if let Some(port) = sent.port {
        listener.port = port;
    }
    if let Some(protocol) = sent.protocol {
        listener.protocol = protocol;
    }
    if let Some(action) = sent.action {
        listener.action = action;
    }
    if let Some(clients) = sent.clients {
        listener.clients = clients;
    }
    let (mut policy, mut certificate) = (sent.policy, sent.certificates.into_iter().next());
    if listener.protocol == "HTTPS"
        && let Some((old_policy, old_certificate)) = listener.tls.take()
    {
        policy = policy.or(Some(old_policy));
        certificate = certificate.or(Some(old_certificate));
    }
    listener.tls = tls(world, &listener.protocol, policy, certificate)?;
    listener.action.check(world, &load_balancer, (&listener.protocol, listener.port))?;
    let other = |each: &Listener| {
        each.load_balancer == load_balancer.arn && each.arn != arn && each.port == listener.port
    };
    if world.states.elb.listeners.values().any(other) {
        return Err(duplicate(&load_balancer.arn));
    }
    check_rules(world, &listener, &load_balancer)?;
    let reply = json!({ "Listeners": [listener.document()] }).into();
    changing_certificates(world, &load_balancer.arn, |world| {
        world.states.elb.listeners.insert(arn, listener);
    });
    Ok(reply)
}

/// A change of protocol or port can turn a rule's redirect into a loop.
fn check_rules(world: &World, listener: &Listener, load_balancer: &LoadBalancer) -> Result<(), Refusal> {
    let rules = world.states.elb.rules.values().filter(|rule| rule.listener == listener.arn);
    for rule in rules {
        rule.action.check(world, load_balancer, (&listener.protocol, listener.port))?;
    }
    Ok(())
}

pub(super) fn delete(world: &mut World, params: &Params) -> Result<Reply, Refusal> {
    let arn = params.required("ListenerArn")?;
    params.done()?;
    let load_balancer = find(world, &arn)?.load_balancer.clone();
    remove(world, &load_balancer, &arn);
    Ok(Reply::empty())
}

/// Deletes a listener with its rules.
pub(super) fn remove(world: &mut World, load_balancer: &str, arn: &str) {
    changing_certificates(world, load_balancer, |world| {
        world.states.elb.listeners.remove(arn);
        world.states.elb.rules.retain(|_, rule| rule.listener != arn);
    });
}

/// Deletes all listeners of a load balancer, with their rules.
pub(super) fn delete_all(world: &mut World, load_balancer: &str) {
    changing_certificates(world, load_balancer, |world| {
        let state = &mut world.states.elb;
        state.listeners.retain(|_, listener| listener.load_balancer != load_balancer);
        let listeners = &state.listeners;
        state.rules.retain(|_, rule| listeners.contains_key(&rule.listener));
    });
}

pub(super) fn inventory(world: &World, items: &mut Vec<Item>) {
    for each in world.states.elb.listeners.values() {
        let name =
            world.states.elb.load_balancers.get(&each.load_balancer).map_or("", |owner| owner.name.as_str());
        items.push(
            Item::new("AWS::ElasticLoadBalancingV2::Listener", &each.arn, &each.tags)
                .named(&format!("{name}:{}", each.port)),
        );
    }
}
