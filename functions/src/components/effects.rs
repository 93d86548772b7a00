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
    use serde_json::json;

    use super::*;
    use crate::deployment::plan::Plan;

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

    /// A field of a change, with its actual and its desired value.
    type Field = (&'static str, &'static str, &'static str);
    /// A change of one resource, and the end of the only effect that it has; empty if it has none.
    type Case = (&'static str, Verb, &'static str, &'static [Field], &'static str);

    const CASES: &[Case] = &[
        (NETWORK, Verb::Delete, "subnet/private/c", &[], "what is in it moves to another subnet"),
        (NETWORK, Verb::Delete, "route-table/private/c", &[], ""),
        (NETWORK, Verb::Delete, "nat/b", &[], ""),
        (EGRESS, Verb::Delete, "nat/b", &[], "its open connections end"),
        (EGRESS, Verb::Create, "nat/b", &[], ""),
        (EGRESS, Verb::Delete, "address/b (198.51.100.7)", &[], "AWS does not give this address again"),
        (EGRESS, Verb::Delete, "endpoint/ssm", &[], ""),
        (
            EGRESS,
            Verb::Update,
            "route/private/b",
            &[("natGateway", "nat-1", "nat-2")],
            "open connections to the internet end",
        ),
        (EGRESS, Verb::Update, "route/private/b", &[("state", "blackhole", "active")], ""),
        (LOAD_BALANCER, Verb::Delete, "load-balancer", &[], "its clients lose the services"),
        (LOAD_BALANCER, Verb::Delete, "listener/http", &[], "its port no longer answers"),
        (LOAD_BALANCER, Verb::Delete, "alias-record", &[], "the name leads nowhere"),
        (LOAD_BALANCER, Verb::Delete, "target-group/web", &[], ""),
        (
            LOAD_BALANCER,
            Verb::Update,
            "load-balancer",
            &[("subnets", "subnet-1, subnet-2", "subnet-1, subnet-3")],
            "requests in a subnet that it leaves can fail",
        ),
        (LOAD_BALANCER, Verb::Update, "load-balancer", &[("subnets", "subnet-1", "subnet-1, subnet-2")], ""),
        (LOAD_BALANCER, Verb::Update, "load-balancer", &[("subnets", "subnet-1", "")], ""),
        (LOAD_BALANCER, Verb::Update, "load-balancer", &[("idleTimeout", "60", "61")], ""),
        (SERVICE, Verb::Delete, "service/web", &[], "its tasks end"),
        (SERVICE, Verb::Restart, "service/web", &[], ""),
        (SERVICE, Verb::Delete, "task-definition/web (web:1)", &[], ""),
    ];

    #[test]
    fn only_changes_that_interrupt_or_are_irreversible_have_an_effect() {
        for (component, verb, resource, fields, end) in CASES {
            let fields = fields.iter().map(|(field, from, to)| FieldChange::new(field, from, to)).collect();
            let change = Change { verb: *verb, resource: (*resource).to_owned(), fields };
            let effects = of_change(component, &change);
            let about = format!("{component}: {change:?}: {effects:?}");
            assert_eq!(effects.len(), usize::from(!end.is_empty()), "{about}");
            for effect in effects {
                assert!(effect.what.contains(resource) && effect.what.ends_with(end), "{about}");
                let is_lost = resource.starts_with("address");
                let kind = if is_lost { EffectKind::CannotBeUndone } else { EffectKind::Interrupts };
                assert_eq!((effect.kind, effect.word), (kind, None), "{about}");
            }
        }
    }

    /// A spec whose load balancer admits this range.
    fn admitting(range: &str) -> Spec {
        let certificate =
            "arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23";
        let text = format!(
            "stack: shop\nloadBalancer: {{ certificateArn: '{certificate}', allowedCidrs: [{range}] }}\n\
             services: {{ web: {{ image: 'nginx:1.29', port: 80, routes: [{{ path: /* }}] }} }}\n"
        );
        Spec::read(text.as_bytes()).unwrap()
    }

    /// A deployment of a spec, after one of the other spec if there is one.
    fn deployment(spec: &Spec, baseline: Option<&Spec>, destroying: bool) -> Deployment {
        let baseline = baseline
            .map(|spec| json!({ "deployment": "first", "version": "1", "spec": spec, "outputs": {} }));
        let deployment = json!({
            "verdict": "admitted", "stack": "shop", "id": "next", "execution": "arn:aws:states:eu-central-1:1:execution:x:next",
            "source": { "key": "specs/shop.yaml", "version": "2" }, "lock": "", "started": "2026-01-01T00:00:00Z",
            "trigger": "manual", "spec": spec, "baseline": baseline, "refreshImage": false, "reportOnly": false,
            "destroying": destroying, "rollingBack": false, "plan": [], "outputs": {}, "failed": {},
        });
        serde_json::from_value(deployment).unwrap()
    }

    /// A change of a resource, with at most one field.
    type OneChange = (Verb, &'static str, Option<Field>);

    /// What a deployment with a load balancer for this range opens with one change of a security group.
    fn opens(range: &str, before: Option<&str>, (verb, group, field): OneChange) -> Vec<String> {
        let fields = field.iter().map(|(field, from, to)| FieldChange::new(field, from, to)).collect();
        let changes = [Change { verb, resource: group.to_owned(), fields }];
        let deployment = deployment(&admitting(range), before.map(admitting).as_ref(), false);
        opened(&changes, &deployment).into_iter().map(|effect| effect.what).collect()
    }

    /// The range of a spec, that of the last good one, a change, and what is opened.
    type Opening = (&'static str, Option<&'static str>, OneChange, &'static [&'static str]);

    #[test]
    fn what_a_plan_opens_is_what_was_not_open_before() {
        const ALL: &str = "0.0.0.0/0";
        const OFFICE: &str = "198.51.100.0/24";
        const OPENED: &[&str] = &["opens load-balancer to 0.0.0.0/0"];
        let update = (Verb::Update, "load-balancer", None);
        let adds = |group, field| (Verb::Update, group, Some((field, "(none)", "allowed")));
        let removed = ("in tcp 443 from 0.0.0.0/0", "allowed", "(none)");
        let cases: [Opening; 11] = [
            (ALL, None, update, OPENED),
            (ALL, Some(OFFICE), update, OPENED),
            (ALL, Some(ALL), update, &[]),
            (OFFICE, None, update, &[]),
            (OFFICE, Some(ALL), update, &[]),
            // Somebody deleted the group: the new one is open again.
            (ALL, Some(ALL), (Verb::Create, "load-balancer", None), OPENED),
            (ALL, Some(ALL), (Verb::Create, "database", None), &[]),
            (
                OFFICE,
                Some(OFFICE),
                adds("service", "in tcp 80 from 0.0.0.0/0"),
                &["opens service to 0.0.0.0/0"],
            ),
            (OFFICE, Some(OFFICE), adds("service", "in tcp 80 from 198.51.100.0/24"), &[]),
            (OFFICE, Some(OFFICE), adds("service", "out all to 0.0.0.0/0"), &[]),
            (OFFICE, Some(OFFICE), (Verb::Update, "service", Some(removed)), &[]),
        ];
        for (range, before, change, expected) in cases {
            let about = format!("{range} after {before:?} with {change:?}");
            assert_eq!(opens(range, before, change), expected, "{about}");
        }
    }

    #[test]
    fn a_destruction_opens_nothing_and_names_each_loss_once() {
        let text = "stack: shop\ninstance: {}\nservices: { web: { image: 'nginx:1.29' } }\n";
        let with_instance = Spec::read(text.as_bytes()).unwrap();
        // The instance plans its own effects.
        for (component, spec, destroying, expected) in [
            (SECURITY_GROUPS, admitting("0.0.0.0/0"), false, 1),
            (SECURITY_GROUPS, admitting("0.0.0.0/0"), true, 0),
            (LOAD_BALANCER, admitting("0.0.0.0/0"), true, 1),
            (EGRESS, with_instance.clone(), true, 1),
            (SERVICE, with_instance.clone(), true, 2),
            (SERVICE, with_instance.clone(), false, 0),
            (INSTANCE, with_instance, true, 0),
        ] {
            let mut plans = [ComponentPlan { component: component.to_owned(), plan: Plan::default() }];
            add(&mut plans, &deployment(&spec, None, destroying));
            assert_eq!(plans[0].plan.effects.len(), expected, "{component}: {:?}", plans[0].plan.effects);
        }
    }

    #[test]
    fn a_stack_without_anything_to_lose_is_destroyed_without_effects() {
        let of = |text: &str| of_destroy(&Spec::read(text.as_bytes()).unwrap());
        assert!(of("stack: shop\nnetwork: { nat: none }\n").is_empty());
        let kept = of("stack: shop\nnetwork: { nat: none }\ndatabase: { finalSnapshot: true }\n");
        let kinds: Vec<_> = kept.into_iter().map(|(of, effect)| (of, effect.kind, effect.word)).collect();
        assert_eq!(kinds, [(DATABASE, EffectKind::CannotBeUndone, None)]);
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
