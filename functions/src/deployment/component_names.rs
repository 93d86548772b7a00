//! The names of the components.

/// The component `network`.
pub const NETWORK: &str = "network";
/// The component `security-groups`.
pub const SECURITY_GROUPS: &str = "security-groups";
/// The component `database`.
pub const DATABASE: &str = "database";
/// The component `load-balancer`.
pub const LOAD_BALANCER: &str = "load-balancer";
/// The component `egress`.
pub const EGRESS: &str = "egress";
/// The component `instance`.
pub const INSTANCE: &str = "instance";
/// The component `service`.
pub const SERVICE: &str = "service";
