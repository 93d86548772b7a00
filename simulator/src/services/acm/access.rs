//! The permissions that a call needs.

use super::read_tags;
use crate::authorization::AccessRequests;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    match operation {
        "ListCertificates" => {
            requests.no_resource();
        }
        "RequestCertificate" => request_access(world, params, requests),
        _ => {
            let arn = params.text("CertificateArn").unwrap_or_default();
            let tags = world.states.acm.certificates.get(&arn).map(|certificate| &certificate.tags);
            requests.resource("certificate", &arn, tags).request_tags(&read_tags(params).unwrap_or_default());
        }
    }
}

/// Unverified: a request with tags also needs `acm:AddTagsToCertificate`, on a certificate without an ID yet.
fn request_access(world: &World, params: &Params, requests: &mut AccessRequests<'_>) {
    let tags = read_tags(params).unwrap_or_default();
    let mut domains = params.list("SubjectAlternativeNames");
    domains.extend(params.text("DomainName"));
    requests
        .no_resource()
        .request_tags(&tags)
        .keys("acm:DomainNames", domains)
        .key("acm:ValidationMethod", params.text("ValidationMethod").unwrap_or_default());
    if !tags.is_empty() {
        let arn = world.arn("acm", "certificate/*");
        requests.other_action("acm:AddTagsToCertificate", "certificate", arn, None).request_tags(&tags);
    }
}
