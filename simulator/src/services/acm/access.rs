//! What a call asks IAM for.

use super::read_tags;
use crate::authorization::Asks;
use crate::params::Params;
use crate::world::World;

pub(super) fn access(world: &World, operation: &str, params: &Params, asks: &mut Asks<'_>) {
    match operation {
        "ListCertificates" => {
            asks.whole();
        }
        "RequestCertificate" => request_access(world, params, asks),
        _ => {
            let arn = params.text("CertificateArn").unwrap_or_default();
            let tags = world.acm.certificates.get(&arn).map(|certificate| &certificate.tags);
            asks.on("certificate", &arn, tags).request_tags(&read_tags(params).unwrap_or_default());
        }
    }
}

/// Unverified: that a request with tags needs `acm:AddTagsToCertificate` too, on a certificate without an id yet.
fn request_access(world: &World, params: &Params, asks: &mut Asks<'_>) {
    let tags = read_tags(params).unwrap_or_default();
    let mut domains = params.list("SubjectAlternativeNames");
    domains.extend(params.text("DomainName"));
    asks.whole()
        .request_tags(&tags)
        .keys("acm:DomainNames", domains)
        .key("acm:ValidationMethod", params.text("ValidationMethod").unwrap_or_default());
    if !tags.is_empty() {
        let arn = world.arn("acm", "certificate/*");
        asks.also("acm:AddTagsToCertificate", "certificate", arn, None).request_tags(&tags);
    }
}
