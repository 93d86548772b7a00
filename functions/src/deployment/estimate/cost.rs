//! A stack's monthly cost: with what its first deployment creates, and with all tasks and storage that its spec allows.

use stackdrop_figures::prices::{self, Price, Prices};
use stackdrop_specs::{Database, Instance, Nat, Service, Spec};

use crate::deployment::endpoint_services::endpoint_services;

/// The volume type of disks, and the storage type of databases.
const STORAGE: &str = "gp3";

/// A stack's cost in US dollars a month, without usage such as traffic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// With the initial number of tasks, and the storage that is created.
    pub at_start: f64,
    /// With the most tasks and the most storage that the spec allows.
    pub at_most: f64,
    /// The parts whose price is not known, such as `database.class db.x9.large`. They count as 0.
    pub unknown: Vec<String>,
    /// Whether a price is an estimate.
    pub is_estimated: bool,
}

impl Cost {
    fn add_hourly(&mut self, at_start: f64, at_most: f64) {
        self.add_monthly(at_start * prices::HOURS_A_MONTH, at_most * prices::HOURS_A_MONTH);
    }

    fn add_monthly(&mut self, at_start: f64, at_most: f64) {
        self.at_start += at_start;
        self.at_most += at_most;
    }

    /// Adds so many of what has this price an hour, or else remembers that its price is not known.
    fn add_known(&mut self, price: Option<Price>, number: f64, part: String) {
        match price {
            Some(Price { usd, is_estimated }) => {
                self.add_hourly(usd * number, usd * number);
                self.is_estimated |= is_estimated;
            }
            None => self.unknown.push(part),
        }
    }
}

/// A stack's cost a month with a region's prices.
#[must_use]
pub fn monthly_usd(spec: &Spec, prices: &Prices) -> Cost {
    let mut cost = Cost { is_estimated: prices.is_estimated(), ..Cost::default() };
    let zones = u32::from(spec.network.zones);
    let gateways = match spec.network.nat {
        Nat::Single => 1,
        Nat::PerZone => zones,
        Nat::None => 0,
    };
    let gateways = f64::from(gateways) * (prices.nat_gateway_hourly() + prices::PUBLIC_ADDRESS_HOURLY);
    cost.add_hourly(gateways, gateways);
    for _ in endpoint_services(spec) {
        let endpoint = prices.endpoint_hourly() * f64::from(zones);
        cost.add_hourly(endpoint, endpoint);
    }
    if spec.load_balancer.is_some() {
        let load_balancer = prices.load_balancer_hourly(zones);
        cost.add_hourly(load_balancer, load_balancer);
    }
    for service in spec.services.values() {
        let task = prices.fargate_hourly(service.cpu, service.memory);
        cost.add_hourly(task * f64::from(service.count), task * f64::from(most_tasks(service)));
    }
    if let Some(instance) = &spec.instance {
        add_instance(&mut cost, instance, prices);
    }
    if let Some(database) = &spec.database {
        add_database(&mut cost, database, prices);
    }
    cost
}

/// The most tasks that a service can have.
pub(super) fn most_tasks(service: &Service) -> u32 {
    service.scaling.as_ref().map_or(service.count, |scaling| scaling.max.max(service.count))
}

fn add_instance(cost: &mut Cost, instance: &Instance, prices: &Prices) {
    let Instance { instance_type, disk } = instance;
    cost.add_known(prices.instance_hourly(instance_type), 1.0, format!("instance.type {instance_type}"));
    let disk = prices.volume_monthly(STORAGE) * f64::from(*disk);
    cost.add_monthly(disk, disk);
}

fn add_database(cost: &mut Cost, database: &Database, prices: &Prices) {
    let Database { class, storage, max_storage, multi_az, .. } = database;
    let copies = if *multi_az { 2.0 } else { 1.0 };
    // A standby doubles a price that nobody knows: that is another part to agree to.
    let part =
        if *multi_az { format!("database.class {class} (two)") } else { format!("database.class {class}") };
    cost.add_known(prices.database_hourly(class), copies, part);
    let gibibyte = prices.database_storage_monthly(STORAGE) * copies;
    let largest = max_storage.unwrap_or(*storage).max(*storage);
    cost.add_monthly(gibibyte * f64::from(*storage), gibibyte * f64::from(largest));
    cost.add_monthly(prices::SECRET_MONTHLY, prices::SECRET_MONTHLY);
}
