//! Reading specs from the bucket.

use std::collections::HashMap;

use stackdrop_specs::{Spec, StackName};

use super::Execution;
use super::not_deployed::reject;
use crate::aws::Aws;
use crate::aws::error::{AwsResult, StepError};
use crate::deployment::bucket;
use crate::deployment::consent::{Consent, DELETE_DATA, EMPTY_DATABASE};
use crate::deployment::event::{EXTENSIONS, parts_of};
use crate::deployment::state::Source;

/// A version of a spec's object.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) source: Source,
    /// Its text, or the error if the text is too long: the error is recorded under the object's version.
    pub(super) text: Result<Vec<u8>, StepError>,
    /// What the person who uploaded it agreed to lose.
    pub(super) consent: Consent,
}

/// The newest version of a stack's spec, with its text.
pub(super) async fn newest(
    aws: &Aws,
    stack: &StackName,
    plan_only: bool,
) -> Result<Option<Upload>, StepError> {
    for extension in EXTENSIONS {
        let observed = read_newest(aws, &format!("specs/{stack}.{extension}"), plan_only).await?;
        if observed.is_some() {
            return Ok(observed);
        }
    }
    Ok(None)
}

/// Says that a stack has no spec.
pub(super) fn no_spec(aws: &Aws, stack: &StackName) -> StepError {
    let bucket = &aws.settings.bucket;
    StepError::InvalidEvent(format!(
        "stack {stack} has no spec: upload it to s3://{bucket}/specs/{stack}.yaml"
    ))
}

/// A given version of a stack's spec, with its text.
pub(super) async fn version_of(
    aws: &Aws,
    stack: &StackName,
    version: &str,
) -> Result<Option<Upload>, StepError> {
    for extension in EXTENSIONS {
        let key = format!("specs/{stack}.{extension}");
        if let Some(text) = read_version(aws, &key, version).await? {
            let source = Source { key, version: version.to_owned(), plan_only: false };
            return Ok(Some(Upload { source, text: Ok(text), consent: Consent::default() }));
        }
    }
    Ok(None)
}

/// The newest version of an object, with its text.
pub(super) async fn read_newest(aws: &Aws, key: &str, plan_only: bool) -> Result<Option<Upload>, StepError> {
    let call = aws.s3().get_object().bucket(&aws.settings.bucket).key(key).send().await;
    let Some(response) = call.unless(&["NoSuchKey"]).doing(format!("reading {key}"))? else {
        return Ok(None);
    };
    let version = response.version_id().unwrap_or_default().to_owned();
    let source = Source { key: key.to_owned(), version, plan_only };
    let consent = consent(response.metadata());
    let longest = i64::try_from(stackdrop_specs::LONGEST_SPEC).unwrap_or(i64::MAX);
    if let Some(length) = response.content_length().filter(|length| *length > longest) {
        let error = StepError::InvalidSpec(format!(
            "{key} has {length} bytes, but a spec can have at most {longest}"
        ));
        return Ok(Some(Upload { source, text: Err(error), consent }));
    }
    let text = bucket::body(response.body, key).await?;
    Ok(Some(Upload { source, text: Ok(text), consent }))
}

/// What the metadata of an upload says that the person agrees to lose: it belongs to exactly this version.
fn consent(metadata: Option<&HashMap<String, String>>) -> Consent {
    let value = |key: &str| metadata.and_then(|metadata| metadata.get(key)).map(|value| value.trim());
    let names = value(DELETE_DATA).unwrap_or_default().split(',').map(str::trim);
    Consent {
        delete_data: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        empty_database: value(EMPTY_DATABASE).filter(|name| !name.is_empty()).map(str::to_owned),
    }
}

/// The text of one version of an object, if the version exists. Only the parser limits its length.
pub(super) async fn read_version(aws: &Aws, key: &str, version: &str) -> Result<Option<Vec<u8>>, StepError> {
    if version.is_empty() {
        return Ok(None);
    }
    let call = aws.s3().get_object().bucket(&aws.settings.bucket).key(key).version_id(version).send().await;
    // S3 returns 400 InvalidArgument for an invalid version ID ("Invalid version id specified"), and 405 MethodNotAllowed
    // for a delete marker (API reference, `GetObject`).
    let absent = ["NoSuchKey", "NoSuchVersion", "InvalidArgument", "MethodNotAllowed"];
    let Some(response) = call.unless(&absent).doing(format!("reading version {version} of {key}"))? else {
        return Ok(None);
    };
    bucket::body(response.body, key).await.map(Some)
}

/// Parses a spec. An invalid one is recorded.
pub(super) async fn parse_or_reject(
    aws: &Aws,
    execution: &Execution,
    Upload { source, text, .. }: Upload,
) -> Result<(Spec, Source), StepError> {
    match text.and_then(|text| parse(aws, &source.key, &text)) {
        Ok(spec) => Ok((spec, source)),
        Err(error) => {
            reject(aws, execution, &source, &error).await?;
            Err(error)
        }
    }
}

/// How a person sees what is wrong.
const SEE_LINES: &str = "To see what is wrong there: `stackdrop validate FILE`.";

/// Parses a spec, and checks that it is for this stack and region.
pub(super) fn parse(aws: &Aws, key: &str, text: &[u8]) -> Result<Spec, StepError> {
    // Without the lines: everybody who may read the records or the announcements would see what was written to a wrong place.
    let mut spec = Spec::read(text).map_err(|errors| {
        StepError::InvalidSpec(format!("the spec is not valid at\n{}\n{SEE_LINES}", errors.places(key)))
    })?;
    let (name, _) = parts_of(key)?;
    if spec.stack != name {
        return Err(StepError::InvalidSpec(format!(
            "{key} is for another stack: upload it under the name of that stack, or set `stack: {name}`"
        )));
    }
    let here = &aws.settings.region;
    match &spec.region {
        Some(region) if region != here => Err(StepError::InvalidSpec(format!(
            "{key} is for another region, but this Stackdrop is installed in {here}: set `region: {here}`, or \
             upload the spec to the bucket of the installation in {region}"
        ))),
        _ => {
            spec.region = Some(here.clone());
            Ok(spec)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_an_upload_names_what_may_be_lost() {
        let read = |entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let consent = consent(Some(&entries.collect()));
            (consent.delete_data.into_iter().collect::<Vec<_>>(), consent.empty_database)
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let both = names(&["shop-database", "shop-instance"]);
        assert_eq!(read(&[(DELETE_DATA, " shop-instance, shop-database,")]), (both, None));
        let database = || Some("shop-database".to_owned());
        assert_eq!(read(&[(EMPTY_DATABASE, " shop-database ")]), (Vec::new(), database()));
        for nothing in ["", " ", ",", " , "] {
            assert_eq!(read(&[(DELETE_DATA, nothing)]).0, Vec::<String>::new(), "{nothing:?}");
        }
        assert_eq!(read(&[(EMPTY_DATABASE, " ")]).1, None);
        assert!(read(&[("author", "shop-database")]).0.is_empty() && consent(None).is_empty());
    }
}
