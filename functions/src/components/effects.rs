//! What people must know of a plan before they agree to it, as it follows from the planned changes: what is interrupted, what
//! is irreversible, and what is opened to the internet.
//!
//! The database and the instance know more than their changes show, and plan their own effects, with the deletion of data.

use ipnet::Ipv4Net;
use stackdrop_specs::{Nat, Spec};

use crate::deployment::component_names::{
    DATABASE, EGRESS, INSTANCE, LOAD_BALANCER, NETWORK, SECURITY_GROUPS, SERVICE,
};
use crate::deployment::effect::{Effect, EffectKind};
use crate::deployment::plan::{Change, ComponentPlan, FieldChange, Verb, few_effects};
use crate::deployment::state::Deployment;

/// A change that has an effect: its component, its verb, the start of the resource's logical ID, and for an update the field.
struct Rule {
    component: &'static str,
    verb: Verb,
    resource: &'static str,
    field: Option<fn(&FieldChange) -> bool>,
    kind: EffectKind,
    /// What happens, before the resource's name.
    what: &'static str,
    /// What follows from it.
    so: &'static str,
}

const fn deletes(
    component: &'static str,
    resource: &'static str,
    kind: EffectKind,
    so: &'static str,
) -> Rule {
    Rule { component, verb: Verb::Delete, resource, field: None, kind, what: "deletes", so }
}

const RULES: [Rule; 10] = [
    deletes(NETWORK, "subnet/", EffectKind::Interrupts, "what is in it moves to another subnet"),
    deletes(EGRESS, "nat", EffectKind::Interrupts, "its open connections end"),
    deletes(EGRESS, "address", EffectKind::CannotBeUndone, "AWS does not give this address again"),
    deletes(LOAD_BALANCER, "load-balancer", EffectKind::Interrupts, "its clients lose the services"),
    deletes(LOAD_BALANCER, "listener/", EffectKind::Interrupts, "its port no longer answers"),
    deletes(LOAD_BALANCER, "alias-record", EffectKind::Interrupts, "the name leads nowhere"),
    deletes(SERVICE, "service/", EffectKind::Interrupts, "its tasks end"),
    Rule {
        component: LOAD_BALANCER,
        verb: Verb::Update,
        resource: "load-balancer",
        field: Some(leaves_a_subnet),
        kind: EffectKind::Interrupts,
        what: "moves",
        so: "requests in a subnet that it leaves can fail",
    },
    Rule {
        component: LOAD_BALANCER,
        verb: Verb::Update,
        resource: "load-balancer",
        field: Some(|field| field.field == "webAcl" && field.to == "(none)"),
        kind: EffectKind::OpensToInternet,
        what: "opens",
        so: "no web ACL filters its requests any more",
    },
    Rule {
        component: EGRESS,
        verb: Verb::Update,
        resource: "route/",
        field: Some(|field| field.field == "natGateway"),
        kind: EffectKind::Interrupts,
        what: "changes",
        so: "open connections to the internet end",
    },
];

fn leaves_a_subnet(field: &FieldChange) -> bool {
    let stays = |subnet: &str| field.to.split(", ").any(|other| other == subnet);
    field.field == "subnets" && !field.to.is_empty() && !field.from.split(", ").all(stays)
}

/// Adds the effects that follow from the changes of all components' plans.
pub(crate) fn add(plans: &mut [ComponentPlan], deployment: &Deployment) {
    let of_destroy = if deployment.destroying { of_destroy(&deployment.spec) } else { Vec::new() };
    for ComponentPlan { component, plan } in plans {
        let mut found: Vec<Effect> =
            plan.changes.iter().flat_map(|change| of_change(component, change)).collect();
        if *component == SECURITY_GROUPS && !deployment.destroying {
            found.extend(opened(&plan.changes, deployment));
        }
        // The database and the instance have planned what the account shows.
        if ![DATABASE, INSTANCE].contains(&component.as_str()) {
            let destroyed = of_destroy.iter().filter(|(of, _)| *of == component.as_str());
            found.extend(destroyed.map(|(_, effect)| effect.clone()));
        }
        if !found.is_empty() {
            found.append(&mut plan.effects);
            plan.effects = few_effects(found);
        }
    }
}

fn of_change(component: &str, change: &Change) -> Vec<Effect> {
    let applies = |rule: &&Rule| {
        rule.component == component
            && rule.verb == change.verb
            && change.resource.starts_with(rule.resource)
            && rule.field.is_none_or(|field| change.fields.iter().any(field))
    };
    let effect = |rule: &Rule| {
        let what = format!("{} {}: {}", rule.what, change.resource, rule.so);
        Effect { kind: rule.kind, resource: change.resource.clone(), what, word: None }
    };
    RULES.iter().filter(applies).map(effect).collect()
}

/// The security groups that a plan opens to the internet: by a rule that it adds, or by a range that the spec of the last good
/// deployment does not have.
fn opened(changes: &[Change], deployment: &Deployment) -> Vec<Effect> {
    const GROUP: &str = "load-balancer";
    let mut opened: Vec<(&str, String)> = Vec::new();
    for change in changes {
        let added =
            change.fields.iter().filter(|field| field.to == "allowed" && field.field.starts_with("in "));
        let ranges = added.filter_map(|field| field.field.rsplit(' ').next());
        opened.extend(
            ranges
                .filter(|range| is_internet(range))
                .map(|range| (change.resource.as_str(), range.to_owned())),
        );
    }
    let ranges = |spec: &Spec| -> Vec<String> {
        let load_balancer = spec.load_balancer.iter().flat_map(|balancer| &balancer.allowed_cidrs);
        load_balancer.map(|range| range.trunc().to_string()).filter(|range| is_internet(range)).collect()
    };
    let is_new = changes.iter().any(|change| change.verb == Verb::Create && change.resource == GROUP);
    let before = deployment.baseline.as_ref().filter(|_| !is_new).map(|baseline| ranges(&baseline.spec));
    let before = before.unwrap_or_default();
    let new = ranges(&deployment.spec).into_iter().filter(|range| !before.contains(range));
    opened.extend(new.map(|range| (GROUP, range)));
    let effect = |(group, range): (&str, String)| Effect {
        kind: EffectKind::OpensToInternet,
        resource: group.to_owned(),
        what: format!("opens {group} to {range}"),
        word: None,
    };
    opened.into_iter().map(effect).collect()
}

/// Whether a range is a large part of the internet, and not the network of one organization.
fn is_internet(range: &str) -> bool {
    const PREFIX_MAX: u8 = 8;
    match range.parse::<Ipv4Net>() {
        Ok(range) => range.prefix_len() <= PREFIX_MAX && !range.network().is_private(),
        Err(_) => range.ends_with("::/0"),
    }
}

/// What people must know before they destroy a stack with this spec, with each effect's component, the worst first. The plan of the
/// destruction says it of what the account has.
#[must_use]
pub fn of_destroy(spec: &Spec) -> Vec<(&'static str, Effect)> {
    let effect = |component, kind, resource: &str, what: &str, word: Option<String>| {
        (component, Effect { kind, resource: resource.into(), what: what.into(), word })
    };
    let name = |resource: &str| Some(format!("{}-{resource}", spec.stack));
    let (lost, interrupts) = (EffectKind::CannotBeUndone, EffectKind::Interrupts);
    let mut all = Vec::new();
    if let Some(database) = &spec.database {
        all.push(if database.final_snapshot {
            effect(
                DATABASE,
                lost,
                "instance",
                "deletes the database; its data stays in a final snapshot",
                None,
            )
        } else {
            let what = "deletes the database without a final snapshot, and its automated backups";
            effect(DATABASE, EffectKind::DeletesData, "instance", what, name("database"))
        });
    }
    if spec.instance.is_some() {
        let what = "deletes the EC2 instance with its disk";
        all.push(effect(INSTANCE, EffectKind::DeletesData, "instance", what, name("instance")));
    }
    if spec.network.nat != Nat::None {
        let what = "releases the addresses of the NAT gateways: AWS does not give them again";
        all.push(effect(EGRESS, lost, "address", what, None));
    }
    if !spec.services.is_empty() {
        all.push(effect(SERVICE, lost, "log-group", "deletes the logs of all services", None));
        all.push(effect(SERVICE, interrupts, "service", "deletes all services: their tasks end", None));
    }
    if spec.load_balancer.is_some() {
        let what = "deletes the load balancer: its clients can no longer reach the services";
        all.push(effect(LOAD_BALANCER, interrupts, "load-balancer", what, None));
    }
    all.sort_by_key(|(_, effect)| effect.kind);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_part_of_the_internet_differs_from_the_network_of_an_organization() {
        for (range, internet) in [
            ("0.0.0.0/0", true),
            ("128.0.0.0/1", true),
            ("52.0.0.0/8", true),
            ("::/0", true),
            ("10.0.0.0/8", false),
            ("198.51.100.0/24", false),
            ("load-balancer", false),
        ] {
            assert_eq!(is_internet(range), internet, "{range}");
        }
    }

    #[test]
    fn a_destruction_lists_the_loss_of_data_first_with_the_words_to_give() {
        let spec = "
stack: shop
instance: {}
database: { deletionProtection: false, finalSnapshot: false }
services: { web: { image: 'nginx:1.29' } }
";
        let effects = of_destroy(&Spec::read(spec.as_bytes()).unwrap());
        let words: Vec<_> = effects.iter().filter_map(|(_, effect)| effect.word.as_deref()).collect();
        assert_eq!(words, ["shop-database", "shop-instance"]);
        assert_eq!(effects[0].1.kind, EffectKind::DeletesData);
        assert!(
            effects.iter().any(|(of, effect)| *of == EGRESS && effect.kind == EffectKind::CannotBeUndone)
        );
        assert!(effects.is_sorted_by_key(|(_, effect)| effect.kind));
    }
}
