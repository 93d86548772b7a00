//! The AWS services that a stack without NAT reaches through interface endpoints.

use stackdrop_specs::{Nat, Spec, is_parameter};

/// The services that a stack needs an endpoint for. Each endpoint costs money in each zone, so there are no others.
pub(crate) fn endpoint_services(spec: &Spec) -> Vec<&'static str> {
    if spec.network.nat != Nat::None {
        return Vec::new();
    }
    let tasks = !spec.services.is_empty();
    let named = || spec.services.values().flat_map(|service| service.secrets.values());
    let secrets = named().any(|arn| !is_parameter(arn))
        || spec.services.values().any(stackdrop_specs::Service::uses_database);
    let parameters = named().any(|arn| is_parameter(arn));
    let shells = spec.instance.is_some() || spec.services.values().any(|service| service.exec);
    [
        ("ecr.api", tasks),
        ("ecr.dkr", tasks),
        ("logs", tasks),
        ("secretsmanager", secrets),
        ("ssm", spec.instance.is_some() || parameters),
        ("ssmmessages", shells),
    ]
    .into_iter()
    .filter_map(|(service, needed)| needed.then_some(service))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The example without NAT gateways, with one of its services or one of the other example's, or with an instance.
    fn with(service: Option<&str>, change: fn(&mut Spec)) -> Spec {
        let read = |text: &str| Spec::read(text.as_bytes()).unwrap();
        let private = read(include_str!("../../../specs/private.yaml"));
        let services = private.services.iter().filter(|(name, _)| Some(name.as_str()) == service);
        let services: BTreeMap<_, _> =
            services.map(|(name, service)| (name.clone(), service.clone())).collect();
        let mut spec = Spec { services, instance: None, ..private };
        change(&mut spec);
        spec
    }

    fn instance(spec: &mut Spec) {
        spec.instance = Spec::read(include_str!("../../../specs/shop.yaml").as_bytes()).unwrap().instance;
    }

    fn exec(spec: &mut Spec) {
        spec.services.values_mut().for_each(|service| service.exec = true);
    }

    fn parameter(spec: &mut Spec) {
        let arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/stackdrop/intranet/smtp";
        let all = spec.services.values_mut().flat_map(|service| service.secrets.values_mut());
        all.for_each(|secret| *secret = arn.into());
    }

    fn bare(spec: &mut Spec) {
        for service in spec.services.values_mut() {
            service.secrets.clear();
            service.database.clear();
        }
    }

    #[test]
    fn a_stack_without_nat_has_an_endpoint_for_each_service_that_it_uses_and_no_other() {
        let tasks = ["ecr.api", "ecr.dkr", "logs"];
        let and = |more: &[&'static str]| [&tasks[..], more].concat();
        for (what, spec, expected) in [
            ("nothing", with(None, |_| {}), Vec::new()),
            ("an instance", with(None, instance), vec!["ssm", "ssmmessages"]),
            ("plain tasks", with(Some("web"), bare), and(&[])),
            ("tasks with a database", with(Some("web"), |_| {}), and(&["secretsmanager"])),
            ("tasks with a secret", with(Some("mailer"), |_| {}), and(&["secretsmanager"])),
            ("tasks with a parameter", with(Some("mailer"), parameter), and(&["ssm"])),
            ("tasks with shells", with(Some("mailer"), exec), and(&["secretsmanager", "ssmmessages"])),
            ("NAT gateways", with(Some("web"), |spec| spec.network.nat = Nat::Single), Vec::new()),
        ] {
            assert_eq!(endpoint_services(&spec), expected, "{what}");
        }
    }
}
