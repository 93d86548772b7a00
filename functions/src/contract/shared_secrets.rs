//! Which secrets and parameters of the account a stack may use.
//!
//! Their owner decides, by a name for the stack or by a tag; Stackdrop creates and tags none. The plan checks it, and so does
//! the policy of the stack's execution role, each time a task starts. The tag is none of Stackdrop's own (`stackdrop:…`), so
//! that an account can let its teams set this one and protect those.

use stackdrop_specs::{StackName, is_parameter};

use crate::deployment::names::Tags;

/// The tag of a secret or parameter that is shared: its value is a stack's name, or [`ALL_STACKS`].
pub const TAG_ACCESS: &str = "stackdrop-access";
/// The value of [`TAG_ACCESS`] that shares with all stacks.
pub const ALL_STACKS: &str = "*";

/// Whether a stack may use a secret or parameter, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its name begins with the stack's.
    ByName,
    /// It has the tag.
    ByTag,
    /// The stack may not use it.
    No,
}

/// Whether a stack may use the secret or parameter with this ARN and these tags.
#[must_use]
pub fn access(stack: &StackName, arn: &str, tags: &Tags) -> Access {
    let is_shared = tags.get(TAG_ACCESS).is_some_and(|value| value == stack.as_str() || value == ALL_STACKS);
    if is_named_for(stack, arn) {
        Access::ByName
    } else if is_shared {
        Access::ByTag
    } else {
        Access::No
    }
}

/// What the names of a stack's own secrets, or parameters, begin with. The slash at the end keeps `shop` from the secrets of
/// `shop-two`.
#[must_use]
pub fn prefix(stack: &StackName, of_parameters: bool) -> String {
    if of_parameters { format!("/stackdrop/{stack}/") } else { format!("stackdrop/{stack}/") }
}

/// Whether the name in an ARN begins with the stack's prefix.
#[must_use]
pub fn is_named_for(stack: &StackName, arn: &str) -> bool {
    name(arn).starts_with(&prefix(stack, is_parameter(arn)))
}

/// The name in an ARN. A secret's ARN ends with a hyphen and six characters that Secrets Manager adds; a parameter's ARN lacks
/// the slash between `parameter` and the name.
/// Source: the resource types of Secrets Manager and Systems Manager in the Service Authorization Reference.
#[must_use]
pub fn name(arn: &str) -> String {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.strip_prefix("parameter") {
        Some(path) if is_parameter(arn) && path.matches('/').count() == 1 => path[1..].to_owned(),
        Some(path) if is_parameter(arn) => path.to_owned(),
        _ => {
            let full = resource.split(':').nth(1).unwrap_or_default();
            full.rsplit_once('-').map_or(full, |(name, _)| name).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:";
    const PARAMETER: &str = "arn:aws:ssm:eu-central-1:123456789012:parameter";

    fn shop() -> StackName {
        StackName::try_from("shop".to_owned()).unwrap()
    }

    #[test]
    fn a_name_gives_access_only_to_the_stack_whose_whole_name_it_has() {
        for (arn, expected) in [
            (format!("{SECRET}stackdrop/shop/key-AbCdEf"), Access::ByName),
            (format!("{SECRET}stackdrop/shop/a/b-AbCdEf"), Access::ByName),
            (format!("{SECRET}stackdrop/shop-two/key-AbCdEf"), Access::No),
            (format!("{SECRET}stackdrop/shop-AbCdEf"), Access::No),
            (format!("{SECRET}other/stackdrop/shop/key-AbCdEf"), Access::No),
            (format!("{SECRET}shop/key-AbCdEf"), Access::No),
            (format!("{PARAMETER}/stackdrop/shop/key"), Access::ByName),
            (format!("{PARAMETER}/stackdrop/shop-two/key"), Access::No),
            (format!("{PARAMETER}/stackdrop/shop"), Access::No),
            (format!("{PARAMETER}/key"), Access::No),
        ] {
            assert_eq!(access(&shop(), &arn, &Tags::new()), expected, "{arn}");
        }
    }

    #[test]
    fn a_tag_gives_access_to_one_stack_or_to_all() {
        let arn = format!("{SECRET}platform/root-AbCdEf");
        for (value, expected) in [
            ("shop", Access::ByTag),
            ("*", Access::ByTag),
            ("shop-two", Access::No),
            ("sho*", Access::No),
            ("", Access::No),
        ] {
            let tags = Tags::from([(TAG_ACCESS.to_owned(), value.to_owned())]);
            assert_eq!(access(&shop(), &arn, &tags), expected, "{value}");
        }
        let other = Tags::from([("stackdrop:stack".to_owned(), "shop".to_owned())]);
        assert_eq!(access(&shop(), &arn, &other), Access::No);
    }

    #[test]
    fn the_name_is_that_of_the_calls() {
        for (arn, expected) in [
            (format!("{SECRET}shop/api-key-AbCdEf"), "shop/api-key"),
            (format!("{PARAMETER}/shop/key"), "/shop/key"),
            (format!("{PARAMETER}/key"), "key"),
        ] {
            assert_eq!(name(&arn), expected);
        }
    }
}
