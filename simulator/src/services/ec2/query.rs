//! Describe calls: IDs, filters, pages.

use serde_json::{Value, json};

use super::resource::{Resource, find, known};
use crate::params::{Params, Refusal};
use crate::protocol::Reply;
use crate::world::{Tags, World};

/// AWS: "The maximum number of filter values specified on a single call is 200".
const MOST_FILTER_VALUES: usize = 200;

/// The name of a filter, and the values that a resource has for it.
pub(super) type Filter<T> = (&'static str, fn(&T, &World) -> Vec<String>);

/// The filters of a Describe call. All must match, each with any of its values.
pub(super) struct Filters<T>(Vec<(Subject<T>, Vec<String>)>);

/// What a filter compares.
enum Subject<T> {
    /// The value of the tag with this key.
    Tag(String),
    TagKeys,
    Values(fn(&T, &World) -> Vec<String>),
}

impl<T> Filters<T> {
    /// # Errors
    /// `InvalidParameterValue` for a filter that is not in the table.
    pub(super) fn read(params: &Params, table: &[Filter<T>]) -> Result<Self, Refusal> {
        let mut filters = Vec::new();
        for filter in params.structs("Filter") {
            let name = filter.required("Name")?;
            let values = filter.list("Value");
            let subject = subject(&name, table).ok_or_else(|| invalid_filter(&name))?;
            if values.is_empty() {
                return Err(Refusal::new(
                    "InvalidParameterValue",
                    format!("The filter '{name}' has no values"),
                ));
            }
            filters.push((subject, values));
        }
        if filters.iter().map(|(_, values)| values.len()).sum::<usize>() > MOST_FILTER_VALUES {
            return Err(Refusal::new(
                "FilterLimitExceeded",
                "The maximum number of filter values specified on a single call is 200",
            ));
        }
        Ok(Self(filters))
    }

    /// Whether an item with these tags matches.
    pub(super) fn match_tagged(&self, item: &T, tags: &Tags, world: &World) -> bool {
        self.0.iter().all(|(subject, patterns)| {
            let values = match subject {
                Subject::Tag(key) => tags.get(key).cloned().into_iter().collect(),
                Subject::TagKeys => tags.keys().cloned().collect(),
                Subject::Values(values) => values(item, world),
            };
            values.iter().any(|value| patterns.iter().any(|pattern| matches(pattern, value)))
        })
    }

    /// Whether an item without tags matches.
    pub(super) fn match_untagged(&self, item: &T, world: &World) -> bool {
        self.match_tagged(item, &Tags::new(), world)
    }
}

fn subject<T>(name: &str, table: &[Filter<T>]) -> Option<Subject<T>> {
    if let Some(key) = name.strip_prefix("tag:") {
        return Some(Subject::Tag(key.to_owned()));
    }
    if name == "tag-key" {
        return Some(Subject::TagKeys);
    }
    table.iter().find(|(known, _)| *known == name).map(|(_, values)| Subject::Values(*values))
}

/// The single value of a filter.
pub(super) fn one(value: impl Into<String>) -> Vec<String> {
    vec![value.into()]
}

/// The value of a filter, if there is one.
pub(super) fn optional(value: Option<impl Into<String>>) -> Vec<String> {
    value.into_iter().map(Into::into).collect()
}

fn invalid_filter(name: &str) -> Refusal {
    Refusal::new("InvalidParameterValue", format!("The filter '{name}' is invalid"))
}

/// Whether a value matches a filter's pattern: `*` matches any text, `?` any character; a backslash escapes the two.
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

/// The requested page of a list.
#[derive(Debug, Clone)]
pub(super) struct Page {
    most: Option<usize>,
    from: usize,
}

impl Page {
    /// # Errors
    /// `InvalidParameterValue` for a size outside 5 to 1000 or an invalid token.
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

    /// Whether the caller limits the page size.
    pub(super) fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    /// The page of `items` under `set`, with the token of the next page.
    pub(super) fn answer(&self, set: &str, items: Vec<Value>) -> Reply {
        let count = items.len();
        let until = self.most.map_or(count, |most| (self.from + most).min(count));
        let page: Vec<Value> =
            items.into_iter().skip(self.from).take(until.saturating_sub(self.from)).collect();
        let next = (until < count).then(|| format!("page-{until}"));
        json!({ set: page, "nextToken": next }).into()
    }
}

/// The resources that match IDs and filters; without IDs, among all known resources.
///
/// # Errors
/// `NotFound` for the first unknown ID.
pub(super) fn select<'w, T: Resource>(
    world: &'w World,
    ids: &[String],
    filters: &Filters<T>,
) -> Result<Vec<&'w T>, Refusal> {
    let candidates = if ids.is_empty() {
        T::all(&world.states.ec2).values().filter(|resource| known(world, *resource)).collect()
    } else {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().map(|id| find::<T>(world, id)).collect::<Result<Vec<_>, _>>()?
    };
    Ok(candidates
        .into_iter()
        .filter(|resource| filters.match_tagged(*resource, resource.tags(), world))
        .collect())
}

/// A Describe call with IDs, filters and pages only.
///
/// # Errors
/// Those of reading its parameters and finding its IDs.
pub(super) fn describe<T: Resource>(world: &World, params: &Params) -> Result<Reply, Refusal> {
    let ids = params.list(T::IDS);
    let filters = Filters::read(params, T::FILTERS)?;
    let page = Page::read(params)?;
    params.done()?;
    let found = select::<T>(world, &ids, &filters)?;
    Ok(page.answer(T::SET, found.into_iter().map(|resource| resource.document(world)).collect()))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn filter_values_support_wildcards_and_escapes() {
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
