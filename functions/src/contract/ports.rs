//! The ports of the load balancer and of AWS's services.

/// HTTPS.
pub(crate) const HTTPS: u16 = 443;
/// HTTP, only for the redirect to HTTPS.
pub(crate) const HTTP: u16 = 80;
