//! The resources that specs refer to: the simulated account has them before anything is deployed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use stackdrop_functions::contract::shared_secrets::{ALL_STACKS, TAG_ACCESS, is_named_for};
use stackdrop_simulator::Seed;
use stackdrop_specs::{Spec, StackName, is_dns_name, is_parameter};

/// The resources that the specs refer to. A rehearsal assumes that they exist.
pub(super) fn of_specs(specs: &[&Spec]) -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |seed| {
        if !seeds.contains(&seed) {
            seeds.push(seed);
        }
    };
    for spec in specs {
        if let Some(load_balancer) = &spec.load_balancer {
            let domain = load_balancer.domain.clone().unwrap_or_else(|| "example.com".into());
            if let Some(arn) = &load_balancer.certificate_arn {
                let hosts = spec.hosts().into_iter().map(certified).filter(|name| *name != domain);
                // ACM has no certificates for patterns such as `*.com`.
                let hosts = hosts.filter(|host| is_dns_name(host));
                let names = std::iter::once(domain.clone()).chain(hosts).collect();
                add(Seed::CertificateOf { arn: arn.clone(), names, is_issued: true });
            }
            if let Some(id) = &load_balancer.hosted_zone_id {
                let parent = domain.split_once('.').filter(|(_, parent)| parent.contains('.'));
                let name = parent.map_or(domain.as_str(), |(_, parent)| parent);
                add(Seed::HostedZone { id: id.clone(), name: name.into() });
            }
            if let Some(logs) = &load_balancer.access_logs {
                add(Seed::Bucket { name: logs.bucket.clone() });
            }
            if let Some(arn) = &load_balancer.web_acl_arn {
                add(Seed::WebAcl { arn: arn.clone() });
            }
        }
        if let Some(logs) = &spec.network.flow_logs {
            add(Seed::Bucket { name: logs.bucket.clone() });
        }
        for service in spec.services.values() {
            add(Seed::Image { image: service.image.clone() });
        }
    }
    seeds.extend(secrets(specs));
    seeds
}

/// The IDs of the Route 53 zones that the specs name, as a parameter of the template.
pub(super) fn zones(specs: &[&Spec]) -> String {
    let zones = specs.iter().filter_map(|spec| spec.load_balancer.as_ref()?.hosted_zone_id.clone());
    zones.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(",")
}

/// The secrets and parameters, which the stacks may use: those with other names have the tag that shares them.
fn secrets(specs: &[&Spec]) -> Vec<Seed> {
    let mut users: BTreeMap<String, BTreeSet<&StackName>> = BTreeMap::new();
    for spec in specs {
        for value in spec.services.values().flat_map(|service| service.secrets.values()) {
            // The ARN of a secret has seven parts; the rest selects a key, stage and version of the secret.
            let arn = value.split(':').take(7).collect::<Vec<_>>().join(":");
            users.entry(arn).or_default().insert(&spec.stack);
        }
    }
    let seed = |(arn, stacks): (String, BTreeSet<&StackName>)| {
        let others: Vec<&str> =
            stacks.iter().filter(|stack| !is_named_for(stack, &arn)).map(|stack| stack.as_str()).collect();
        let shared_with = if let [only] = others[..] { only } else { ALL_STACKS };
        let tag = (TAG_ACCESS.to_owned(), shared_with.to_owned());
        let tags = if others.is_empty() { BTreeMap::new() } else { BTreeMap::from([tag]) };
        if is_parameter(&arn) {
            Seed::Parameter { arn, tags, kms_key: None }
        } else {
            Seed::SecretOf { arn, tags, kms_key: None }
        }
    };
    users.into_iter().map(seed).collect()
}

/// The name of a certificate that covers a host: a wildcard covers one label.
fn certified(host: &str) -> String {
    match host.split_once('.') {
        Some((first, parent)) if first.contains(['*', '?']) => format!("*.{parent}"),
        _ => host.to_owned(),
    }
}

/// The region that the specs name, if any.
pub(super) fn region(specs: &[&Spec]) -> Result<Option<String>> {
    agreed("region", specs.iter().filter_map(|spec| spec.region.clone()))
}

/// The account of the specs' ARNs, if any.
pub(super) fn account(specs: &[&Spec]) -> Result<Option<String>> {
    let balancers = || specs.iter().filter_map(|spec| spec.load_balancer.as_ref());
    let certificates = balancers().filter_map(|balancer| balancer.certificate_arn.as_ref());
    let web_acls = balancers().filter_map(|balancer| balancer.web_acl_arn.as_ref());
    let secrets =
        specs.iter().flat_map(|spec| spec.services.values()).flat_map(|service| service.secrets.values());
    let arns = certificates.chain(web_acls).chain(secrets);
    let accounts = arns.filter_map(|arn| arn.split(':').nth(4).map(str::to_owned));
    agreed("account", accounts)
}

fn agreed(what: &str, values: impl Iterator<Item = String>) -> Result<Option<String>> {
    let mut agreed: Option<String> = None;
    for value in values {
        match &agreed {
            Some(first) if *first != value => {
                bail!("cannot rehearse in more than one {what}: the specs name {first} and {value}")
            }
            _ => agreed = Some(value),
        }
    }
    Ok(agreed)
}
