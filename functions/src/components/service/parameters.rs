//! The parameters of Systems Manager that the spec refers to. Stackdrop never reads their values.

use std::collections::BTreeMap;

use aws_sdk_ssm::operation::describe_parameters::DescribeParametersOutput;
use aws_sdk_ssm::types::{ParameterMetadata, ParameterStringFilter, ResourceTypeForTagging};
use futures::future::try_join_all;

use super::secrets::{Described, Secret, customer_key};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::shared_secrets::{Access, access, is_named_for};
use crate::deployment::names::Tags;

/// How many names a filter accepts (`ParameterStringFilter` in the API reference of Systems Manager).
const NAMES_MAX: usize = 50;

/// Describes the parameters with these ARNs.
pub(super) async fn read(
    work: &Work<'_>,
    arns: Vec<String>,
) -> Result<BTreeMap<String, Described>, StepError> {
    let (here, elsewhere): (Vec<String>, Vec<String>) =
        arns.into_iter().partition(|arn| path(work, arn).is_some());
    let found = find(work, &here).await?;
    let described = here.into_iter().map(async |arn| {
        let described = match found.get(path(work, &arn).unwrap_or_default()) {
            Some(parameter) => describe(work, &arn, parameter).await?,
            None => (Secret::Absent, None),
        };
        Ok::<_, StepError>((arn, described))
    });
    let described = try_join_all(described).await?.into_iter();
    Ok(described.chain(elsewhere.into_iter().map(|arn| (arn, (Secret::Elsewhere, None)))).collect())
}

/// The name in the ARN of a parameter of this account and region, without its leading slash.
fn path<'a>(work: &Work<'_>, arn: &'a str) -> Option<&'a str> {
    arn.strip_prefix(&work.aws.settings.arn("ssm", "parameter/"))
}

/// The metadata of the parameters that exist, by name without its leading slash.
async fn find(work: &Work<'_>, arns: &[String]) -> Result<BTreeMap<String, ParameterMetadata>, StepError> {
    let paths = arns.iter().filter_map(|arn| path(work, arn));
    // The ARN does not show whether a name without other slashes begins with one.
    let names = paths.flat_map(|path| {
        let plain = (!path.contains('/')).then(|| path.to_owned());
        plain.into_iter().chain([format!("/{path}")])
    });
    let names: Vec<String> = names.collect();
    let pages = try_join_all(names.chunks(NAMES_MAX).map(async |names| {
        let filter = ParameterStringFilter::builder().key("Name").option("Equals");
        let filter = filter
            .set_values(Some(names.to_vec()))
            .build()
            .map_err(|error| StepError::Defect(format!("writing a filter for parameters: {error}")))?;
        let pages = work.aws.ssm().describe_parameters().parameter_filters(filter).into_paginator();
        let pages: Result<Vec<DescribeParametersOutput>, _> = pages.send().try_collect().await;
        pages.doing("looking for the parameters of the services")
    }));
    let pages = pages.await?.into_iter().flatten();
    let found = pages.flat_map(|page| page.parameters.unwrap_or_default());
    let by_path = found.filter_map(|parameter| {
        let name = parameter.name()?;
        Some((name.strip_prefix('/').unwrap_or(name).to_owned(), parameter))
    });
    Ok(by_path.collect())
}

async fn describe(work: &Work<'_>, arn: &str, parameter: &ParameterMetadata) -> Result<Described, StepError> {
    let stack = &work.stack.name;
    let is_shared = is_named_for(stack, arn)
        || access(stack, arn, &tags(work, parameter.name().unwrap_or_default()).await?) != Access::No;
    let key = parameter.key_id().and_then(|key| customer_key(arn, key));
    Ok((Secret::Present { key, is_shared }, parameter.last_modified_date().copied()))
}

async fn tags(work: &Work<'_>, name: &str) -> Result<Tags, StepError> {
    let call = work.aws.ssm().list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter);
    let observed = call.resource_id(name).send().await;
    // Somebody has deleted it a moment ago: it has no tags.
    let observed =
        observed.unless(&["InvalidResourceId"]).doing(format!("reading the tags of parameter {name}"))?;
    let tags = observed.and_then(|observed| observed.tag_list).unwrap_or_default().into_iter();
    Ok(tags.map(|tag| (tag.key, tag.value)).collect())
}
