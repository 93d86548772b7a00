//! What AWS offers for the instance: types, their zones, and the machine image.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{
    ArchitectureType, Instance, InstanceTypeInfo, InstanceTypeOffering, LocationType, ProcessorInfo,
};
use stackdrop_specs::Instance as Spec;

use super::server::{self, type_of};
use crate::aws::error::{AwsResult, StepError};
use crate::contract::component::Work;
use crate::contract::tagging::filter;
use crate::contract::zones::zone_names;
use crate::deployment::plan::Plan;

/// Plans the problems that would prevent the instance's creation.
pub(super) async fn plan_new(work: &Work<'_>, spec: &Spec, plan: &mut Plan) -> Result<(), StepError> {
    let Some(architecture) = architecture(work, &spec.instance_type).await? else {
        unknown_type(work, spec, plan);
        return Ok(());
    };
    let (name, image) = (parameter(&architecture), image(work, &architecture).await?);
    if image.is_none() {
        plan.problem(
            server::LOGICAL_ID,
            format!("AWS's public parameter {name}, which contains the machine image's ID, does not exist"),
            format!("deploy in a region that has Amazon Linux 2023 for {architecture}"),
        );
    }
    let (offered, zones) = (zones(work, &spec.instance_type).await?, zone_names(work).await?);
    if !zones.iter().any(|zone| offered.contains(zone)) {
        not_offered(spec, &zones, &offered, plan);
    }
    Ok(())
}

/// Plans the problems that would prevent a change of the instance's type.
pub(super) async fn plan_change(
    work: &Work<'_>,
    spec: &Spec,
    instance: &Instance,
    plan: &mut Plan,
) -> Result<(), StepError> {
    let Some(desired) = architecture(work, &spec.instance_type).await? else {
        unknown_type(work, spec, plan);
        return Ok(());
    };
    if let Some(actual) = instance.architecture().filter(|actual| actual.as_str() != desired.as_str()) {
        plan.problem(
            server::LOGICAL_ID,
            format!(
                "instance.type cannot be changed from {} ({actual}) to {} ({desired}): the disk is for another architecture",
                type_of(instance),
                spec.instance_type
            ),
            "choose a type of the same architecture, or remove the instance from the spec, deploy, and add it again",
        );
    }
    let (offered, zone) = (zones(work, &spec.instance_type).await?, server::zone_of(instance));
    if !offered.contains(zone) {
        not_offered(spec, &[zone.to_owned()], &offered, plan);
    }
    Ok(())
}

fn unknown_type(work: &Work<'_>, spec: &Spec, plan: &mut Plan) {
    plan.problem(
        server::LOGICAL_ID,
        no_such_type(work, &spec.instance_type),
        "set instance.type to a type of the region, such as t3.micro",
    );
}

fn no_such_type(work: &Work<'_>, instance_type: &str) -> String {
    format!("instance.type: {instance_type} is not an instance type of {}", work.aws.settings.region)
}

fn not_offered(spec: &Spec, zones: &[String], offered: &BTreeSet<String>, plan: &mut Plan) {
    let elsewhere: Vec<&str> = offered.iter().map(String::as_str).collect();
    plan.problem(
        server::LOGICAL_ID,
        format!("instance.type: {} is not offered in {}", spec.instance_type, zones.join(" or ")),
        match elsewhere.as_slice() {
            [] => "set instance.type to another type".to_owned(),
            zones => {
                format!("set instance.type to another type; this one is offered in {}", zones.join(", "))
            }
        },
    );
}

/// The architecture of an instance type; `None` if the region does not have the type.
async fn architecture(work: &Work<'_>, instance_type: &str) -> Result<Option<ArchitectureType>, StepError> {
    let call = work.aws.ec2().describe_instance_types().instance_types(instance_type.into()).send().await;
    let response =
        call.unless(&["InvalidInstanceType"]).doing(format!("looking for instance type {instance_type}"))?;
    Ok(response.as_ref().and_then(|response| response.instance_types().first()).and_then(architecture_of))
}

/// The architecture for which there is an image: older types also support 32 bits.
fn architecture_of(info: &InstanceTypeInfo) -> Option<ArchitectureType> {
    let known = [ArchitectureType::X8664, ArchitectureType::Arm64];
    let architectures = info.processor_info().map(ProcessorInfo::supported_architectures).unwrap_or_default();
    architectures.iter().find(|architecture| known.contains(architecture)).cloned()
}

/// The zones that offer an instance type.
async fn zones(work: &Work<'_>, instance_type: &str) -> Result<BTreeSet<String>, StepError> {
    let call =
        work.aws.ec2().describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
    let pages = call.filters(filter("instance-type", instance_type)).into_paginator().items();
    let offerings: Vec<InstanceTypeOffering> = pages
        .send()
        .try_collect()
        .await
        .doing(format!("looking for the zones of instance type {instance_type}"))?;
    Ok(offerings.into_iter().filter_map(|offering| offering.location).collect())
}

fn parameter(architecture: &ArchitectureType) -> String {
    format!("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}")
}

/// The ID of the newest Amazon Linux 2023 image for an architecture, from AWS's public parameter.
async fn image(work: &Work<'_>, architecture: &ArchitectureType) -> Result<Option<String>, StepError> {
    let name = parameter(architecture);
    let call = work.aws.ssm().get_parameter().name(&name).send().await;
    let response = call.unless(&["ParameterNotFound"]).doing(format!("reading parameter {name}"))?;
    Ok(response.and_then(|response| response.parameter?.value))
}

/// The image of a new instance, and the private subnets in zones that offer its type.
pub(super) async fn image_and_subnets(
    work: &Work<'_>,
    spec: &Spec,
) -> Result<(String, Vec<String>), StepError> {
    let desired = &spec.instance_type;
    let architecture = architecture(work, desired).await?;
    let architecture = architecture.ok_or_else(|| StepError::InvalidSpec(no_such_type(work, desired)))?;
    let image = image(work, &architecture).await?;
    let image = image.ok_or_else(|| StepError::incomplete("the image's ID"))?;
    let subnets = work.network()?.private();
    let call = work.aws.ec2().describe_subnets().set_subnet_ids(Some(subnets.clone()));
    let subnet_details = call.send().await.stalled_on(
        &["InvalidSubnetID.NotFound"],
        "the private subnets to become visible",
        "reading the zones of the private subnets",
    )?;
    let offered = zones(work, desired).await?;
    let fits = |id: &String| {
        let mut details = subnet_details.subnets().iter().filter(|subnet| subnet.subnet_id() == Some(id));
        details.any(|subnet| subnet.availability_zone().is_some_and(|zone| offered.contains(zone)))
    };
    let subnets: Vec<String> = subnets.into_iter().filter(fits).collect();
    if subnets.is_empty() {
        return Err(StepError::InvalidSpec(format!(
            "instance.type: {desired} is not offered in the zones of the private subnets: set it to another type"
        )));
    }
    Ok((image, subnets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_also_supports_32_bits_gets_an_image_of_64() {
        use ArchitectureType::{Arm64, I386, X8664};
        for (supported, expected) in [
            (vec![I386, X8664], Some(X8664)),
            (vec![Arm64], Some(Arm64)),
            (vec![I386], None),
            (Vec::new(), None),
        ] {
            let info = ProcessorInfo::builder().set_supported_architectures(Some(supported)).build();
            let info = InstanceTypeInfo::builder().processor_info(info).build();
            assert_eq!(architecture_of(&info), expected, "{info:?}");
        }
    }
}
