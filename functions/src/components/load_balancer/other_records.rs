//! Records of others with the names of the stack: which of them lead to the stack's load balancer too.

use aws_sdk_route53::types::{ResourceRecordSet, RrType};

use super::dns::normalized;

/// The DNS name in a simple alias record.
pub(super) fn alias_target(record: &ResourceRecordSet) -> Option<String> {
    let target = record.alias_target().filter(|_| record.set_identifier().is_none())?;
    Some(without_prefix(target.dns_name()))
}

/// The name of a load balancer without the prefix that the console adds.
fn without_prefix(name: &str) -> String {
    let name = normalized(name);
    name.strip_prefix("dualstack.").unwrap_or(&name).to_owned()
}

/// Whether another record leads to the stack's load balancer, so that it disturbs nothing: an alias record for IPv6, which has no
/// answers while the load balancer has no IPv6 addresses; a CNAME record, beside which Route 53 allows no alias record; or parameters
/// for HTTPS of the domain itself. Source: "Supported DNS record types" in the Route 53 developer guide.
pub(super) fn leads_to(balancer: &str, record: &ResourceRecordSet) -> bool {
    if let Some(target) = alias_target(record) {
        return target == balancer;
    }
    let [only] = record.resource_records() else { return false };
    match record.r#type {
        RrType::Cname => record.set_identifier().is_none() && without_prefix(only.value()) == balancer,
        RrType::Https | RrType::Svcb => {
            let target = only.value().split_whitespace().nth(1).unwrap_or_default();
            target == "."
                || normalized(target) == normalized(&record.name)
                || without_prefix(target) == balancer
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_route53::types::{AliasTarget, ResourceRecord};

    fn record(kind: RrType, value: &str) -> ResourceRecordSet {
        let value = ResourceRecord::builder().value(value).build().unwrap();
        ResourceRecordSet::builder()
            .name("shop.example.com.")
            .r#type(kind)
            .ttl(60)
            .resource_records(value)
            .build()
            .unwrap()
    }

    #[test]
    fn a_record_with_a_routing_policy_leads_elsewhere_for_some_clients() {
        const OURS: &str = "shop-1.eu-central-1.elb.amazonaws.com";
        let target = AliasTarget::builder().hosted_zone_id("Z").dns_name(OURS);
        let target = target.evaluate_target_health(false).build().unwrap();
        let alias = ResourceRecordSet::builder().name("shop.example.com.").r#type(RrType::A);
        for mut record in [record(RrType::Cname, OURS), alias.alias_target(target).build().unwrap()] {
            assert!(leads_to(OURS, &record), "{record:?}");
            record.set_identifier = Some("blue".into());
            assert!(!leads_to(OURS, &record), "{record:?}");
            assert_eq!(alias_target(&record), None);
        }
    }

    #[test]
    fn a_record_leads_to_the_load_balancer_by_its_name_or_by_that_of_the_domain() {
        const OURS: &str = "shop-1.eu-central-1.elb.amazonaws.com";
        for (kind, value, leads) in [
            (RrType::Cname, "Shop-1.eu-central-1.elb.amazonaws.com.", true),
            (RrType::Cname, "dualstack.shop-1.eu-central-1.elb.amazonaws.com", true),
            (RrType::Cname, "other-1.eu-central-1.elb.amazonaws.com", false),
            (RrType::Https, "1 . alpn=h2", true),
            (RrType::Https, "0 shop.example.com.", true),
            (RrType::Https, "0 other.example.com.", false),
            (RrType::Aaaa, "2001:db8::1", false),
            (RrType::Ns, "ns.example.com.", false),
        ] {
            assert_eq!(leads_to(OURS, &record(kind.clone(), value)), leads, "{kind:?} {value}");
        }
        for (target, leads) in [(OURS, true), ("other-1.eu-central-1.elb.amazonaws.com", false)] {
            let target = AliasTarget::builder().hosted_zone_id("Z").dns_name(format!("dualstack.{target}."));
            let target = target.evaluate_target_health(false).build().unwrap();
            let alias = ResourceRecordSet::builder().name("shop.example.com.").r#type(RrType::Aaaa);
            assert_eq!(leads_to(OURS, &alias.alias_target(target).build().unwrap()), leads);
        }
    }
}
