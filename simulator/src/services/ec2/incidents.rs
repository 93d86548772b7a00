//! What people and AWS do to a stack's network and instance.

use ipnet::Ipv4Net;
use stackdrop_figures::changes::INSTANCE_STOP;

use super::endpoint::{self, Endpoint};
use super::instance::{Ending, Instance, InstanceState, Power};
use super::nat::{self, NatGateway};
use super::resource::{Resource, known};
use super::route_table::RouteTable;
use super::subnet::Subnet;
use super::vpc::Vpc;
use super::{group, interface, launch, profile, route, tagging};
use crate::incident::Incident;
use crate::world::World;

const STACK: &str = "stackdrop:stack";

pub(super) const INCIDENTS: &[Incident] = &[
    Incident {
        name: "component-tags-removed",
        what: "Somebody removes the tag with the component from the network's resources and the instance",
        cause: |world, stack| change_tags(world, stack, |tags| tags.remove("stackdrop:component").is_some()),
    },
    Incident {
        name: "logical-id-tags-removed",
        what: "Somebody removes the tag with the logical ID from the network's resources and the instance",
        cause: |world, stack| change_tags(world, stack, |tags| tags.remove("stackdrop:logical-id").is_some()),
    },
    Incident {
        name: "logical-id-tags-changed",
        what: "Somebody gives all resources of the network and the instance the same logical ID",
        cause: |world, stack| {
            change_tags(world, stack, |tags| {
                tags.insert("stackdrop:logical-id".into(), "subnet/private/b".into());
                true
            })
        },
    },
    Incident {
        name: "names-changed",
        what: "Somebody renames the network's resources and the instance",
        cause: |world, stack| {
            change_tags(world, stack, |tags| tags.insert("Name".into(), "renamed".into()).is_some())
        },
    },
    Incident {
        name: "guard-duty-added",
        what: "GuardDuty adds its endpoint and security group to the VPC",
        cause: add_guard_duty,
    },
    Incident {
        name: "s3-endpoint-deleted",
        what: "Somebody deletes the S3 gateway endpoint",
        cause: |world, stack| delete_endpoints(world, stack, true),
    },
    Incident {
        name: "interface-endpoints-deleted",
        what: "Somebody deletes the interface endpoints",
        cause: |world, stack| delete_endpoints(world, stack, false),
    },
    Incident {
        name: "nat-gateways-deleted",
        what: "Somebody deletes the NAT gateways",
        cause: delete_nat_gateways,
    },
    Incident {
        name: "peering-route-added",
        what: "Somebody adds a route to a peered network to the route tables",
        cause: |world, stack| {
            change_tables(world, stack, |world, table| {
                route::add_peering(
                    world,
                    table,
                    Ipv4Net::new_assert([10, 99, 0, 0].into(), 16),
                    "pcx-0123456789abcdef0",
                );
            })
        },
    },
    Incident {
        name: "local-routes-diverted",
        what: "Somebody sends the traffic inside the VPC through an interface",
        cause: |world, stack| {
            change_tables(world, stack, |world, table| {
                route::divert_local(world, table, "eni-0123456789abcdef0");
            })
        },
    },
    Incident { name: "instance-stopped", what: "Somebody stops the EC2 instance", cause: stop_instance },
    Incident {
        name: "instance-terminated",
        what: "Somebody terminates the EC2 instance",
        cause: terminate_instance,
    },
    Incident {
        name: "instance-profile-detached",
        what: "Somebody detaches the instance profile from the EC2 instance",
        cause: detach_profile,
    },
];

/// The IDs of the stack's resources of one type.
fn of_stack<T: Resource>(world: &World, stack: &str, which: impl Fn(&T) -> bool) -> Vec<String> {
    T::all(&world.states.ec2)
        .values()
        .filter(|one| known(world, *one) && one.tags().get(STACK).is_some_and(|name| name == stack))
        .filter(|one| which(one))
        .map(|one| one.id().to_owned())
        .collect()
}

fn change_tags(
    world: &mut World,
    stack: &str,
    change: impl Fn(&mut crate::world::Tags) -> bool,
) -> Vec<String> {
    let ids = tagging::ids_with_tag(world, STACK, stack);
    ids.into_iter().filter(|id| tagging::change(world, id, &change)).collect()
}

fn change_tables(world: &mut World, stack: &str, change: impl Fn(&mut World, &str)) -> Vec<String> {
    let tables = of_stack::<RouteTable>(world, stack, |_| true);
    for table in &tables {
        change(world, table);
    }
    tables
}

fn add_guard_duty(world: &mut World, stack: &str) -> Vec<String> {
    let mut added = Vec::new();
    for vpc in of_stack::<Vpc>(world, stack, |_| true) {
        let is_there = |endpoint: &Endpoint| {
            endpoint.vpc == vpc && endpoint.service == "guardduty-data" && endpoint.is_present(world.now)
        };
        if Endpoint::all(&world.states.ec2).values().any(is_there) {
            continue;
        }
        let subnets = of_stack::<Subnet>(world, stack, |subnet| {
            subnet.vpc == vpc && subnet.tags().get("Name").is_some_and(|name| name.contains("private"))
        });
        // GuardDuty adds them once something runs in the subnets.
        if subnets.is_empty() {
            continue;
        }
        let group = group::add_guard_duty(world, &vpc);
        let Some(endpoint) = endpoint::add_guard_duty(world, &vpc, &subnets, &group) else {
            // The subnets do not exist for long enough yet.
            world.states.ec2.groups.remove(&group);
            continue;
        };
        added.extend([endpoint, group]);
    }
    added
}

fn delete_endpoints(world: &mut World, stack: &str, gateways: bool) -> Vec<String> {
    let now = world.now;
    let all = of_stack::<Endpoint>(world, stack, |endpoint| {
        endpoint.is_gateway == gateways && endpoint.is_available(now)
    });
    for id in &all {
        endpoint::start_deletion(world, id);
    }
    all
}

fn delete_nat_gateways(world: &mut World, stack: &str) -> Vec<String> {
    let now = world.now;
    let all = of_stack::<NatGateway>(world, stack, |nat| nat.is_available(now));
    for id in &all {
        nat::start_deletion(world, id);
    }
    all
}

/// The running instances of a stack.
fn running(world: &World, stack: &str) -> Vec<String> {
    let now = world.now;
    of_stack::<Instance>(world, stack, |instance| instance.state(now) == InstanceState::RUNNING)
}

fn stop_instance(world: &mut World, stack: &str) -> Vec<String> {
    let all = running(world, stack);
    let stopped = world.now + world.latency.seconds(INSTANCE_STOP);
    for id in &all {
        let Some(instance) = world.states.ec2.instances.get_mut(id) else { continue };
        instance.power = Power::Stopping(stopped);
        let interface = instance.interface.clone();
        interface::unmap_public(world, &interface, stopped);
    }
    all
}

fn terminate_instance(world: &mut World, stack: &str) -> Vec<String> {
    let all = running(world, stack);
    for id in &all {
        let ending = Ending {
            begins: world.now,
            done: world.gone("ec2_instance_running"),
            reason: "Client.UserInitiatedShutdown",
            message: "Client.UserInitiatedShutdown: User initiated shutdown",
        };
        launch::end(world, id, ending);
    }
    all
}

fn detach_profile(world: &mut World, stack: &str) -> Vec<String> {
    let (all, now) = (running(world, stack), world.now);
    for id in &all {
        profile::release_from(world, id, now);
    }
    all
}
