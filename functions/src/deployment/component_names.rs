//! The names of the components, and how they are written elsewhere.

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

/// The name of a function in states and in the template: `security-groups` is `SecurityGroups`.
#[must_use]
pub fn pascal_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + rest
    });
    words.collect()
}

/// The name of a component's field in the deployment's state: `security-groups` is `securityGroups`.
#[must_use]
pub fn field(component: &str) -> String {
    let name = pascal_case(component);
    let (first, rest) = name.split_at(name.chars().next().map_or(0, char::len_utf8));
    first.to_lowercase() + rest
}
