//! The access requests of EC2's calls.
//!
//! Source of the resources: "Actions, resources, and condition keys for Amazon EC2" in the Service Authorization
//! Reference. Describe calls take no resource, with the exceptions named there.

mod firewall;
mod machines;
mod network;

use super::group::Group;
use super::resource::Kind;
use super::resource::Resource;
use super::{group, tagging};
use crate::authorization::{AccessRequests, Request};
use crate::params::Params;
use crate::world::{Tags, World};

pub(super) fn access(_world: &World, operation: &str, params: &Params, requests: &mut AccessRequests<'_>) {
    let mut call = Call { operation, params, requests };
    let is_known = network::access(&mut call) || firewall::access(&mut call) || machines::access(&mut call);
    if !is_known {
        requests.no_resource();
    }
}

/// A call, with the access requests so far.
struct Call<'a, 'w> {
    operation: &'a str,
    params: &'a Params,
    requests: &'a mut AccessRequests<'w>,
}

impl Call<'_, '_> {
    /// Requests the call's own action on a resource; the ID `*` means a new one.
    fn on(&mut self, kind: Kind, id: &str) -> &mut Request {
        let world = self.requests.world;
        self.requests.resource(kind.tag_type, arn(world, kind, id), tagging::tags_of(world, kind, id))
    }

    /// Requests the call's own action on each resource that a parameter names.
    fn may_name(&mut self, kind: Kind, parameter: &str) {
        for id in self.ids(parameter) {
            self.on(kind, &id);
        }
    }

    /// The same as [`may_name`](Self::may_name) for a required parameter. If the parameter is missing, the operation
    /// refuses the call, unless IAM does so first.
    fn names(&mut self, kind: Kind, parameter: &str) {
        if self.ids(parameter).is_empty() {
            self.on(kind, "*");
        }
        self.may_name(kind, parameter);
    }

    fn ids(&self, parameter: &str) -> Vec<String> {
        self.params.text(parameter).map_or_else(|| self.params.list(parameter), |id| vec![id])
    }

    /// Requests the call's own action on a new resource, and `ec2:CreateTags` if it is created with tags. Source:
    /// "Grant permission to tag Amazon EC2 resources during creation" in the EC2 user guide.
    fn creates(&mut self, kind: Kind) {
        let tags = self.new_tags(kind);
        self.on(kind, "*").request_tags(&tags);
        if !tags.is_empty() {
            let arn = arn(self.requests.world, kind, "*");
            let tagging = self.requests.other_action("ec2:CreateTags", kind.tag_type, arn, None);
            tagging.key("ec2:CreateAction", self.operation).request_tags(&tags);
        }
    }

    /// The tags for new resources of a kind.
    fn new_tags(&self, kind: Kind) -> Tags {
        let specifications = self.params.structs("TagSpecification");
        let of_kind = specifications
            .iter()
            .filter(|specification| specification.text("ResourceType").as_deref() == Some(kind.tag_type));
        of_kind.flat_map(tags).collect()
    }

    /// Requests the call's own action on the security groups of a new interface: those in the call, or else the
    /// default group of the VPC.
    fn groups_or_default(&mut self, mut groups: Vec<String>, vpc: Option<&str>) {
        if groups.is_empty() {
            groups = vpc.map(|vpc| group::default_of(self.requests.world, vpc)).unwrap_or_default();
        }
        if groups.is_empty() {
            groups.push("*".into());
        }
        for group in groups {
            self.on(Group::KIND, &group);
        }
    }
}

fn arn(world: &World, kind: Kind, id: &str) -> String {
    world.arn("ec2", &format!("{}/{id}", kind.tag_type))
}

/// The list `Tag` of a request or of a tag specification.
fn tags(of: &Params) -> Tags {
    let tags = of.structs("Tag");
    tags.iter().filter_map(|tag| Some((tag.text("Key")?, tag.text("Value").unwrap_or_default()))).collect()
}
