//! What a spec asks for, for a person who decides about it: images, secrets, permissions, addresses and sizes.
//!
//! A first plan says little more than which resources it creates; these lines say what they will be.

use ipnet::Ipv4Net;
use stackdrop_specs::{Database, DatabaseClient, Instance, LoadBalancer, Nat, Network, Service, Spec};

use crate::deployment::state::Deployment;

/// What a person must be shown of a deployment, one line each: if that person decides about it, or it is the stack's first. What
/// a destroy deletes is among the effects of its plan.
#[must_use]
pub fn of(deployment: &Deployment) -> Vec<String> {
    let decides = deployment.review.as_ref().is_some_and(|review| review.needs_approval);
    let is_shown = !deployment.plan.is_empty() && (decides || deployment.baseline.is_none());
    if is_shown && !deployment.destroying { of_spec(&deployment.spec) } else { Vec::new() }
}

/// The facts of a spec.
fn of_spec(spec: &Spec) -> Vec<String> {
    let services = spec.services.iter().map(|(name, service)| of_service(name, service));
    std::iter::once(of_network(&spec.network))
        .chain(spec.load_balancer.as_ref().map(of_load_balancer))
        .chain(services)
        .chain(spec.database.as_ref().map(of_database))
        .chain(spec.instance.as_ref().map(of_instance))
        .collect()
}

fn of_network(network: &Network) -> String {
    let out = match network.nat {
        Nat::Single => "one NAT gateway",
        Nat::PerZone => "a NAT gateway in each zone",
        Nat::None => "no way to the internet",
    };
    format!("network: {} in {} zones, {out}", network.cidr, network.zones)
}

fn of_load_balancer(load_balancer: &LoadBalancer) -> String {
    let cidrs = &load_balancer.allowed_cidrs;
    let from =
        if cidrs.contains(&Ipv4Net::default()) { "the whole internet".to_owned() } else { list(cidrs) };
    let domain = load_balancer.domain.as_ref().map(|domain| format!(", {domain}")).unwrap_or_default();
    let redirect = if load_balancer.redirect_http { " and 80 (redirect)" } else { "" };
    let web_acl = load_balancer.web_acl_arn.as_ref().map(|arn| format!(", filtered by {arn}"));
    let web_acl = web_acl.unwrap_or_default();
    format!("load balancer{domain}: ports 443{redirect} open to {from}{web_acl}")
}

fn of_service(name: &str, service: &Service) -> String {
    let mut facts = vec![format!("image {}", service.image), tasks(service)];
    if !service.secrets.is_empty() {
        let secrets = service.secrets.iter().map(|(variable, secret)| format!("{variable} from {secret}"));
        facts.push(format!("secrets {}", list(secrets)));
    }
    if service.database.values().any(|value| value.is_secret()) {
        facts.push("the database's password".into());
    }
    let permissions = if service.exec { "only what ECS Exec needs" } else { "none" };
    facts.push(format!("permissions in AWS: {permissions}"));
    format!("service {name}: {}", facts.join("; "))
}

fn tasks(service: &Service) -> String {
    let vcpus = f64::from(service.cpu) / 1024.0;
    let count = match &service.scaling {
        Some(scaling) => format!("{} to {}", scaling.min, scaling.max),
        None => service.count.to_string(),
    };
    format!("{count} tasks of {vcpus} vCPU and {} MiB", service.memory)
}

fn of_database(database: &Database) -> String {
    let storage = match database.max_storage {
        Some(most) => format!("{} to {most}", database.storage),
        None => database.storage.to_string(),
    };
    let copies = if database.multi_az { ", standby in another zone" } else { "" };
    let clients = database.allow.iter().map(|client| match client {
        DatabaseClient::Services => "the services",
        DatabaseClient::Instance => "the instance",
    });
    let protection = if database.deletion_protection { "on" } else { "off" };
    let origin = database.restore_from.as_ref().map(|name| format!("; created from snapshot {name}"));
    let origin = origin.unwrap_or_default();
    let snapshot = if database.final_snapshot { "a final snapshot" } else { "no final snapshot" };
    format!(
        "database: PostgreSQL {} on {}, {storage} GiB{copies}; open to {}; backups for {} days; deletion protection {protection}, {snapshot}{origin}",
        database.version,
        database.class,
        list(clients),
        database.backup_days
    )
}

fn of_instance(instance: &Instance) -> String {
    format!(
        "instance: {} with {} GiB; permissions in AWS: only Session Manager",
        instance.instance_type, instance.disk
    )
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".into() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(spec: &str) -> Vec<String> {
        of_spec(&Spec::read(spec.as_bytes()).unwrap())
    }

    #[test]
    fn a_first_plan_shows_images_secrets_ranges_and_sizes() {
        assert_eq!(
            facts(
                "
stack: shop
network: { cidr: 10.1.0.0/16, zones: 3, nat: per-zone }
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
  allowedCidrs: [192.0.2.0/24, 198.51.100.0/24]
  redirectHttp: false
services:
  web:
    image: nginx:1.29
    port: 80
    cpu: 512
    memory: 1024
    scaling: { min: 2, max: 6 }
    routes: [{ path: /* }]
    secrets: { KEY: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/key-AbCdEf' }
    database: { PASSWORD: password }
    exec: true
database: { version: '17', class: db.t4g.micro, storage: 20, maxStorage: 100, multiAz: true, allow: [services] }
instance: { type: t4g.micro, disk: 20 }
"
            ),
            [
                "network: 10.1.0.0/16 in 3 zones, a NAT gateway in each zone",
                "load balancer: ports 443 open to 192.0.2.0/24, 198.51.100.0/24",
                "service web: image nginx:1.29; 2 to 6 tasks of 0.5 vCPU and 1024 MiB; secrets KEY from \
                 arn:aws:secretsmanager:eu-central-1:123456789012:secret:stackdrop/shop/key-AbCdEf; the database's password; \
                 permissions in AWS: only what ECS Exec needs",
                "database: PostgreSQL 17 on db.t4g.micro, 20 to 100 GiB, standby in another zone; open to the services; backups \
                 for 7 days; deletion protection on, a final snapshot",
                "instance: t4g.micro with 20 GiB; permissions in AWS: only Session Manager",
            ]
        );
    }

    #[test]
    fn a_private_stack_with_a_restored_database_says_so() {
        let facts = facts(
            "
stack: shop
network: { nat: none }
services: { web: { image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/web:1', count: 3 } }
database: { allow: [services, instance], restoreFrom: shop-database-2026 }
instance: {}
",
        );
        let facts = facts.join("\n");
        for expected in [
            "no way to the internet",
            "service web: image 123456789012.dkr.ecr.eu-central-1.amazonaws.com/web:1; 3 tasks of ",
            "open to the services, the instance;",
            "; created from snapshot shop-database-2026",
        ] {
            assert!(facts.contains(expected), "{expected}: {facts}");
        }
        for other in ["secrets", "password", "standby", "load balancer"] {
            assert!(!facts.contains(other), "{other}: {facts}");
        }
    }

    #[test]
    fn what_is_open_to_everyone_says_so() {
        let spec = "
stack: shop
loadBalancer:
  certificateArn: arn:aws:acm:eu-central-1:123456789012:certificate/6d4b1c2e-8f3a-4f0e-9a51-2b7c9d0e1f23
services: { web: { image: 'nginx:1.29', port: 80, routes: [{ path: /* }] } }
database: { allow: [services], deletionProtection: false, finalSnapshot: false }
";
        let facts = facts(spec).join("\n");
        for expected in [
            "load balancer: ports 443 and 80 (redirect) open to the whole internet",
            "permissions in AWS: none",
            "open to the services;",
            "deletion protection off, no final snapshot",
        ] {
            assert!(facts.contains(expected), "{expected}: {facts}");
        }
    }
}
