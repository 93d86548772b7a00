//! The AWS services that a stack without NAT reaches through interface endpoints.

use stackdrop_specs::{Nat, Spec};

/// The services that a stack needs an endpoint for. Each endpoint costs money in each zone, so there are no others.
pub(crate) fn endpoint_services(spec: &Spec) -> Vec<&'static str> {
    if spec.network.nat != Nat::None {
        return Vec::new();
    }
    let tasks = !spec.services.is_empty();
    let secrets =
        spec.services.values().any(|service| !service.secrets.is_empty() || service.uses_database());
    let shells = spec.instance.is_some() || spec.services.values().any(|service| service.exec);
    [
        ("ecr.api", tasks),
        ("ecr.dkr", tasks),
        ("logs", tasks),
        ("secretsmanager", secrets),
        ("ssm", spec.instance.is_some()),
        ("ssmmessages", shells),
    ]
    .into_iter()
    .filter_map(|(service, needed)| needed.then_some(service))
    .collect()
}
