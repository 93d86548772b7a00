//! The Describe calls: ids, filters, pages.

use serde_json::{Value, json};

use super::thing::{Thing, find, known};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS: "The maximum number of filter values specified on a single call is 200".
const MOST_FILTER_VALUES: usize = 200;

/// The filters of a Describe call: all must match, each by any of its values.
#[derive(Debug, Clone)]
pub(super) struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// # Errors
    /// `InvalidParameterValue` for a filter that the call does not have.
    pub(super) fn read(params: &Params, known: &[&str]) -> Result<Self, Refusal> {
        let mut filters = Vec::new();
        for filter in params.structs("Filter") {
            let name = filter.required("Name")?;
            let values = filter.list("Value");
            let is_tag = name == "tag-key" || name.starts_with("tag:");
            if !is_tag && !known.contains(&name.as_str()) {
                return Err(invalid_filter(&name));
            }
            if values.is_empty() {
                return Err(Refusal::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' has no values"),
                ));
            }
            filters.push((name, values));
        }
        if filters.iter().map(|(_, values)| values.len()).sum::<usize>() > MOST_FILTER_VALUES {
            return Err(Refusal::new(
                "FilterLimitExceeded",
                "The maximum number of filter values specified on a single call is 200",
            ));
        }
        Ok(Self(filters))
    }

    /// Whether something with these tags, and these values for a filter, passes.
    pub(super) fn pass(&self, tags: &Tags, values: impl Fn(&str) -> Vec<String>) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let has = if let Some(key) = name.strip_prefix("tag:") {
                tags.get(key).cloned().into_iter().collect()
            } else if name == "tag-key" {
                tags.keys().cloned().collect()
            } else {
                values(name)
            };
            has.iter().any(|value| wanted.iter().any(|pattern| matches(pattern, value)))
        })
    }
}

fn invalid_filter(name: &str) -> Refusal {
    Refusal::new("InvalidParameterValue", format!("The filter '{name}' is invalid"))
}

/// Whether a value is what a filter's value asks for: `*` stands for any text, `?` for any character, a backslash
/// before one of them for itself.
fn matches(pattern: &str, value: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => value.is_empty(),
        Some('*') => {
            let after = rest.as_str();
            value.char_indices().any(|(at, _)| matches(after, &value[at..])) || matches(after, "")
        }
        Some('?') => {
            let mut of_value = value.chars();
            of_value.next().is_some() && matches(rest.as_str(), of_value.as_str())
        }
        Some(first) => {
            let wanted = if first == '\\' { rest.next().unwrap_or('\\') } else { first };
            let mut of_value = value.chars();
            of_value.next() == Some(wanted) && matches(rest.as_str(), of_value.as_str())
        }
    }
}

/// Which part of a long answer is wanted.
#[derive(Debug, Clone)]
pub(super) struct Page {
    most: Option<usize>,
    from: usize,
}

impl Page {
    /// # Errors
    /// `InvalidParameterValue` for a size outside 5 to 1000 or a token that was not given out.
    pub(super) fn read(params: &Params) -> Result<Self, Refusal> {
        let most = match params.int("MaxResults")? {
            None => None,
            Some(count) => {
                Some(usize::try_from(count).ok().filter(|count| (5..=1000).contains(count)).ok_or_else(
                    || {
                        Refusal::new(
                            "InvalidParameterValue",
                            format!(
                                "Value ( {count} ) for parameter maxResults is invalid. Expecting a value from 5 to 1000."
                            ),
                        )
                    },
                )?)
            }
        };
        let from = match params.text("NextToken") {
            None => 0,
            Some(token) => token
                .strip_prefix("page-")
                .and_then(|from| from.parse().ok())
                .ok_or_else(|| Refusal::new("InvalidNextToken", format!("The token '{token}' is invalid")))?,
        };
        Ok(Self { most, from })
    }

    /// Whether the caller asked for a page of a certain size.
    pub(super) fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    /// The wanted part of `items` under `set`, with the token of the next one.
    pub(super) fn answer(&self, set: &str, items: Vec<Value>) -> Reply {
        let count = items.len();
        let until = self.most.map_or(count, |most| (self.from + most).min(count));
        let page: Vec<Value> =
            items.into_iter().skip(self.from).take(until.saturating_sub(self.from)).collect();
        let next = (until < count).then(|| format!("page-{until}"));
        json!({ set: page, "nextToken": next }).into()
    }
}

/// The resources that a call asks for by ids and filters; without ids, whatever is seen.
///
/// # Errors
/// `NotFound` for the first id that is not there.
pub(super) fn select<'w, T: Thing>(
    world: &'w World,
    ids: &[String],
    filters: &Filters,
) -> Result<Vec<&'w T>, Refusal> {
    let candidates = if ids.is_empty() {
        T::all(&world.ec2).values().filter(|thing| known(world, *thing)).collect()
    } else {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().map(|id| find::<T>(world, id)).collect::<Result<Vec<_>, _>>()?
    };
    Ok(candidates
        .into_iter()
        .filter(|thing| filters.pass(thing.tags(), |name| thing.values(world, name)))
        .collect())
}

/// A Describe call without anything of its own.
///
/// # Errors
/// What reading its parameters and finding its ids refuses.
pub(super) fn describe<T: Thing>(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list(T::IDS);
    let filters = Filters::read(params, T::FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let found = select::<T>(world, &ids, &filters)?;
    Ok(page.answer(T::SET, found.into_iter().map(|thing| thing.document(world)).collect()))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn filter_values_know_wildcards_and_their_escapes() {
        for (pattern, value, expected) in [
            ("available", "available", true),
            ("available", "availabl", false),
            ("stackdrop-*", "stackdrop-shop", true),
            ("stackdrop-*", "stackdrop-", true),
            ("*", "", true),
            ("*endpoint*", "VPC endpoint of shop", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            (r"a\*c", "a*c", true),
            (r"a\*c", "abc", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} {value}");
        }
    }
}
