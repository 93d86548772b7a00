//! The person who reads why a deployment failed, does what it says, and deploys again: what Stackdrop tells a person must be
//! enough to continue.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{LoadBalancerAttribute, Tag};
use aws_sdk_rds::types::{DbInstance, DbParameterGroupStatus};
use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecordSet, RrType};
use stackdrop_functions::Aws;
use stackdrop_functions::deployment::consent::EMPTY_DATABASE;
use stackdrop_functions::deployment::names::TAG_STACK;
use stackdrop_simulator::{Caller, as_caller};

use super::driver::{Caused, pause};
use super::specs::HOSTED_ZONE;
use crate::rehearsal::Rehearsal;

/// How long a person needs at least. AWS ends most incidents by itself meanwhile.
const READING: Duration = Duration::from_mins(30);
/// RDS accepts a change of the storage six hours after the last one.
const STORAGE_LOCK: Duration = Duration::from_hours(7);

/// What a person does. Each is one of the actions that [`ADVICE`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    RestoreTags,
    AllowDeletion,
    ResetParameters,
    EnlargeStorage,
    UpgradeVersion,
    DeleteRecords,
    WaitForStorage,
    AgreeToAnEmptyDatabase,
}

/// A part of what a deployment says, and what a person does then.
const ADVICE: [(&str, Act); 12] = [
    ("aws elbv2 add-tags", Act::RestoreTags),
    ("restore its tag stackdrop:stack", Act::RestoreTags),
    // Only a listener or a rule without its tag is left.
    ("a listener or a listener rule still refers to it", Act::RestoreTags),
    ("turn it off in", Act::AllowDeletion),
    ("reset the parameter in the parameter group", Act::ResetParameters),
    ("Set a larger database.storage", Act::EnlargeStorage),
    ("set database.version to 18", Act::UpgradeVersion),
    ("delete the record", Act::DeleteRecords),
    ("six hours after the last one", Act::WaitForStorage),
    ("optimizes the storage", Act::WaitForStorage),
    ("which can take hours", Act::WaitForStorage),
    ("--empty-database", Act::AgreeToAnEmptyDatabase),
];

/// Whether a deployment says what a person must do: then only a person can continue.
pub(super) fn is_asked(said: &str) -> bool {
    ADVICE.iter().any(|(words, _)| said.contains(words))
}

/// The person.
#[derive(Debug)]
pub(super) struct Person<'a> {
    aws: &'a Aws,
    stack: &'static str,
    incidents: &'a [Caused],
    /// What the person has done.
    done: Vec<Act>,
}

impl<'a> Person<'a> {
    pub(super) fn new(rehearsal: &'a Rehearsal, stack: &'static str, incidents: &'a [Caused]) -> Self {
        Self { aws: rehearsal.aws(), stack, incidents, done: Vec::new() }
    }

    /// The spec with what the person has changed in it.
    pub(super) fn correct(&self, mut spec: String) -> String {
        let settings = [(Act::EnlargeStorage, "storage: 90"), (Act::UpgradeVersion, "version: '18'")];
        for (_, setting) in settings.iter().filter(|(act, _)| self.done.contains(act)) {
            spec = spec.replace("database: { deletion", &format!("database: {{ {setting}, deletion"));
        }
        spec
    }

    /// The metadata of the person's upload: what the person agrees to.
    pub(super) fn agreed(&self) -> Vec<(String, String)> {
        let is_agreed = self.done.contains(&Act::AgreeToAnEmptyDatabase);
        let agreed = (EMPTY_DATABASE.to_owned(), format!("{}-database", self.stack));
        is_agreed.then_some(agreed).into_iter().collect()
    }

    /// Does what a deployment said. Returns what the person did.
    pub(super) async fn follow(&mut self, said: &str) -> Result<String> {
        let acts: Vec<Act> =
            ADVICE.iter().filter(|(words, _)| said.contains(words)).map(|(_, act)| *act).collect();
        for act in &acts {
            as_caller(Caller::new("person"), self.act(*act)).await.with_context(|| format!("{act:?}"))?;
        }
        self.done.extend(&acts);
        pause(if acts.contains(&Act::WaitForStorage) { STORAGE_LOCK } else { READING }).await;
        Ok(format!("did {acts:?}"))
    }

    async fn act(&self, act: Act) -> Result<()> {
        match act {
            Act::RestoreTags => self.restore_tags().await,
            Act::AllowDeletion => self.allow_deletion().await,
            Act::ResetParameters => self.reset_parameters().await,
            Act::DeleteRecords => self.delete_records().await,
            Act::EnlargeStorage | Act::UpgradeVersion | Act::WaitForStorage | Act::AgreeToAnEmptyDatabase => {
                Ok(())
            }
        }
    }

    /// The resources of the stack that incidents with this in their names changed.
    fn changed(&self, name: &str) -> impl Iterator<Item = &String> {
        let caused = self.incidents.iter().filter(move |it| it.stack == self.stack && it.name.contains(name));
        caused.flat_map(|caused| &caused.changed)
    }

    /// Restores the tags that incidents removed; some of the resources were deleted since.
    async fn restore_tags(&self) -> Result<()> {
        for arn in self.changed("untagged") {
            if arn.contains(":certificate/") {
                let tag = aws_sdk_acm::types::Tag::builder().key(TAG_STACK).value(self.stack).build()?;
                let call = self.aws.acm().add_tags_to_certificate().certificate_arn(arn).tags(tag);
                unless_deleted(call.send().await)?;
            } else {
                let tag = Tag::builder().key(TAG_STACK).value(self.stack).build();
                unless_deleted(self.aws.elb().add_tags().resource_arns(arn).tags(tag).send().await)?;
            }
        }
        Ok(())
    }

    async fn allow_deletion(&self) -> Result<()> {
        for arn in self.changed("load-balancer-protected") {
            let off =
                LoadBalancerAttribute::builder().key("deletion_protection.enabled").value("false").build();
            let call = self.aws.elb().modify_load_balancer_attributes().load_balancer_arn(arn);
            unless_deleted(call.attributes(off).send().await)?;
        }
        Ok(())
    }

    async fn reset_parameters(&self) -> Result<()> {
        let (rds, id) = (self.aws.rds(), format!("{}-database", self.stack));
        let found = rds.describe_db_instances().db_instance_identifier(&id).send().await?;
        let groups = found.db_instances().iter().flat_map(DbInstance::db_parameter_groups);
        for group in groups.filter_map(DbParameterGroupStatus::db_parameter_group_name) {
            let call = rds.reset_db_parameter_group().db_parameter_group_name(group);
            call.reset_all_parameters(true).send().await?;
        }
        rds.reboot_db_instance().db_instance_identifier(id).send().await?;
        Ok(())
    }

    /// Deletes the record at the stack's domain: somebody else's, or one that leads to a load balancer which was deleted.
    async fn delete_records(&self) -> Result<()> {
        let route53 = self.aws.route53();
        let domain = format!("{}.example.com", self.stack);
        let found = route53.list_resource_record_sets().hosted_zone_id(HOSTED_ZONE).send().await?;
        let at_domain = |record: &&ResourceRecordSet| {
            record.name().trim_end_matches('.') == domain && record.r#type() == &RrType::A
        };
        for record in found.resource_record_sets().iter().filter(at_domain) {
            let change =
                Change::builder().action(ChangeAction::Delete).resource_record_set(record.clone()).build()?;
            let batch = ChangeBatch::builder().changes(change).build()?;
            let call = route53.change_resource_record_sets().hosted_zone_id(HOSTED_ZONE).change_batch(batch);
            call.send().await?;
        }
        Ok(())
    }
}

/// A resource that was deleted since needs nothing.
fn unless_deleted<T, E>(answer: Result<T, SdkError<E>>) -> Result<()>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match answer {
        Err(error) if !error.code().is_some_and(|code| code.contains("NotFound")) => Err(error.into()),
        _ => Ok(()),
    }
}
