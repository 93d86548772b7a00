//! The security policies of HTTPS listeners.
//!
//! Source: "SSL security policies for your Application Load Balancer". Policies that still allow TLS 1.0 or 1.1 are
//! included, with their protocols, so that unsafe listeners can be recognized.

use serde_json::{Value, json};

use super::Page;
use crate::params::{Params, Refusal};
use crate::protocol::Reply;

const TLS_1_3: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

const TLS_1_3_FIPS: [&str; 2] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];

const GCM: [&str; 4] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];

const CBC: [&str; 4] = [
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
];

const RSA: [&str; 4] = ["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"];

const SHA1: [&str; 6] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "AES128-SHA",
    "AES256-SHA",
];

struct Policy {
    name: &'static str,
    protocols: &'static [&'static str],
    ciphers: &'static [&'static [&'static str]],
}

const fn policy(
    name: &'static str,
    protocols: &'static [&'static str],
    ciphers: &'static [&'static [&'static str]],
) -> Policy {
    Policy { name, protocols, ciphers }
}

const FROM_1_0: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2"];
const FROM_1_0_TO_1_3: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const FROM_1_1_TO_1_3: &[&str] = &["TLSv1.1", "TLSv1.2", "TLSv1.3"];
const ONLY_1_2: &[&str] = &["TLSv1.2"];
const FROM_1_2_TO_1_3: &[&str] = &["TLSv1.2", "TLSv1.3"];
const ONLY_1_3: &[&str] = &["TLSv1.3"];

static POLICIES: [Policy; 19] = [
    // Post-quantum key exchange; the names with FIPS use only validated cryptography.
    policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", ONLY_1_3, &[&TLS_1_3]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM]),
    policy("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM, &CBC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM, &CBC, &RSA]),
    policy(
        "ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09",
        FROM_1_2_TO_1_3,
        &[&TLS_1_3, &GCM, &CBC, &RSA, &SHA1],
    ),
    policy("ELBSecurityPolicy-TLS13-1-3-FIPS-PQ-2025-09", ONLY_1_3, &[&TLS_1_3_FIPS]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, &[&TLS_1_3_FIPS, &GCM]),
    policy("ELBSecurityPolicy-TLS13-1-2-FIPS-PQ-2025-09", FROM_1_2_TO_1_3, &[&TLS_1_3_FIPS, &GCM, &CBC]),
    policy("ELBSecurityPolicy-TLS13-1-3-2021-06", ONLY_1_3, &[&TLS_1_3]),
    policy("ELBSecurityPolicy-TLS13-1-2-2021-06", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM, &CBC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM, &CBC, &RSA]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", FROM_1_2_TO_1_3, &[&TLS_1_3, &GCM, &CBC, &RSA, &SHA1]),
    policy("ELBSecurityPolicy-TLS13-1-1-2021-06", FROM_1_1_TO_1_3, &[&TLS_1_3, &GCM, &CBC, &RSA, &SHA1]),
    policy("ELBSecurityPolicy-TLS13-1-0-2021-06", FROM_1_0_TO_1_3, &[&TLS_1_3, &GCM, &CBC, &RSA, &SHA1]),
    policy("ELBSecurityPolicy-TLS-1-2-2017-01", ONLY_1_2, &[&GCM, &CBC, &RSA]),
    policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", ONLY_1_2, &[&GCM, &CBC, &RSA, &SHA1]),
    policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", ONLY_1_2, &[&GCM]),
    policy("ELBSecurityPolicy-2016-08", FROM_1_0, &[&GCM, &CBC, &RSA, &SHA1]),
];

pub(super) fn is_known(name: &str) -> bool {
    POLICIES.iter().any(|policy| policy.name == name)
}

pub(super) fn not_found(name: &str) -> Refusal {
    Refusal::new("SSLPolicyNotFound", format!("SSL policy '{name}' not found"))
}

impl Policy {
    fn document(&self) -> Value {
        let ciphers = self.ciphers.iter().copied().flatten().zip(1..);
        json!({
            "SslProtocols": self.protocols,
            "Ciphers": ciphers
                .map(|(name, priority)| json!({ "Name": name, "Priority": priority }))
                .collect::<Vec<_>>(),
            "Name": self.name,
            "SupportedLoadBalancerTypes": ["application", "network"],
        })
    }
}

pub(super) fn describe(params: &Params) -> Result<Reply, Refusal> {
    let names = params.list("Names");
    let kind = params.text("LoadBalancerType");
    let page = Page::read(params)?;
    params.done()?;
    if let Some(kind) = kind.filter(|kind| kind != "application") {
        return Err(super::invalid(format!("The simulator has no load balancers of type '{kind}'")));
    }
    if let Some(wrong) = names.iter().find(|name| !is_known(name)) {
        return Err(not_found(wrong));
    }
    let wanted =
        POLICIES.iter().filter(|policy| names.is_empty() || names.iter().any(|name| policy.name == name));
    Ok(page.of("SslPolicies", wanted.map(Policy::document).collect()))
}
