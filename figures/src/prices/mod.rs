//! What things cost by standing there: list prices by region in US dollars, without usage such as traffic.
//!
//! `prices.json` has each price with its source and its date; `prices.py` refreshes it.

use crate::price_table::{DATABASES, ELSEWHERE, REGIONS, SERVICES};

pub use crate::price_table::TAKEN;

/// The hours of a month, as AWS's calculator counts them.
pub const HOURS_A_MONTH: f64 = 730.0;

/// A public IPv4 address, in use or idle, in an hour: the same in every region ("Amazon VPC pricing", Public IPv4 address).
pub const PUBLIC_ADDRESS_HOURLY: f64 = 0.005;
/// A secret in a month, also one that RDS keeps for a database ("AWS Secrets Manager pricing").
pub const SECRET_MONTHLY: f64 = 0.40;

/// The region with whose prices others are compared.
const FIRST: &str = "us-east-1";

/// A region, how its prices compare with us-east-1, and the price of `large` in an hour for each family of instances.
pub(crate) type Region = (&'static str, f64, &'static [(&'static str, f64)]);

/// A family of databases, in us-east-1: the prices of the sizes below `large`, that of `large`, and whether it is an estimate.
pub(crate) type DatabaseFamily = (&'static str, &'static [(&'static str, f64)], f64, bool);

/// A region's prices besides those of instances: an hour of what runs, a month of a stored gibibyte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Services {
    pub(crate) is_estimated: bool,
    /// Without its address.
    pub(crate) nat_gateway: f64,
    /// In one zone.
    pub(crate) endpoint: f64,
    /// Without its addresses.
    pub(crate) load_balancer: f64,
    pub(crate) fargate_vcpu: f64,
    pub(crate) fargate_gb: f64,
    pub(crate) gp3_volume: f64,
    pub(crate) gp3_database: f64,
    /// A database's snapshot, or retained backups.
    pub(crate) backup: f64,
    /// How the prices of databases compare with us-east-1.
    pub(crate) database_factor: f64,
}

/// A price in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// The amount.
    pub usd: f64,
    /// Whether it follows from another price, because no source has it.
    pub is_estimated: bool,
}

/// The prices of one region.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    factor: f64,
    instances: &'static [(&'static str, f64)],
    services: Services,
}

impl Prices {
    /// The prices of a region. One that the table does not have is estimated from us-east-1.
    #[must_use]
    pub fn of(region: &str) -> Self {
        let known = REGIONS.iter().find(|(name, _, _)| *name == region);
        let (factor, instances) = known.map_or((ELSEWHERE, &[][..]), |(_, factor, of)| (*factor, *of));
        let services =
            |name: &str| SERVICES.iter().find(|(of, _)| *of == name).map(|(_, services)| *services);
        let services = services(region).or_else(|| services(FIRST).map(|first| first.times(factor)));
        Self { factor, instances, services: services.unwrap_or(Services::NONE) }
    }

    /// Whether any of the prices that every stack has is an estimate.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.services.is_estimated
    }

    /// A NAT gateway in an hour, without its address.
    #[must_use]
    pub fn nat_gateway_hourly(&self) -> f64 {
        self.services.nat_gateway
    }

    /// An interface endpoint in one zone, in an hour.
    #[must_use]
    pub fn endpoint_hourly(&self) -> f64 {
        self.services.endpoint
    }

    /// A Fargate task in an hour: CPU units (1024 are a vCPU) and MiB.
    #[must_use]
    pub fn fargate_hourly(&self, cpu: u32, memory: u32) -> f64 {
        let Services { fargate_vcpu, fargate_gb, .. } = self.services;
        f64::from(cpu) / 1024.0 * fargate_vcpu + f64::from(memory) / 1024.0 * fargate_gb
    }

    /// A load balancer in an hour, with so many public addresses, one a zone.
    #[must_use]
    pub fn load_balancer_hourly(&self, addresses: u32) -> f64 {
        self.services.load_balancer + PUBLIC_ADDRESS_HOURLY * f64::from(addresses)
    }

    /// An EC2 instance in an hour, such as `t3.micro`; `None` for a type whose price is not known.
    #[must_use]
    pub fn instance_hourly(&self, instance_type: &str) -> Option<Price> {
        let (family, size) = instance_type.split_once('.')?;
        let price = |families: &[(&str, f64)]| {
            families.iter().find(|(name, _)| *name == family).map(|(_, large)| *large)
        };
        let (large, is_estimated) = match price(self.instances) {
            Some(large) => (large, false),
            None => (price(Self::of(FIRST).instances)? * self.factor, true),
        };
        Some(Price { usd: large * parts_of_large(size)?, is_estimated })
    }

    /// One copy of a database in an hour, of a class such as `db.t4g.micro`; `None` for a class whose price is not known.
    #[must_use]
    pub fn database_hourly(&self, class: &str) -> Option<Price> {
        let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
        let (_, small, large, is_estimated) = DATABASES.iter().find(|(known, ..)| *known == family)?;
        let small = small.iter().find(|(known, _)| *known == size).map(|(_, price)| *price);
        let usd = match small {
            Some(price) => price,
            None => large * parts_of_large(size).filter(|parts| *parts >= 1.0)?,
        };
        let is_estimated = *is_estimated || self.services.is_estimated;
        Some(Price { usd: usd * self.services.database_factor, is_estimated })
    }

    /// A gibibyte of a volume in a month. The types differ as in us-east-1.
    #[must_use]
    pub fn volume_monthly(&self, kind: &str) -> f64 {
        let of_gp3 = match kind {
            "gp3" => 1.0,
            "gp2" => 1.25,
            "io1" | "io2" => 1.5625,
            "st1" => 0.5625,
            "sc1" => 0.1875,
            _ => 0.625,
        };
        self.services.gp3_volume * of_gp3
    }

    /// A gibibyte of a database's storage in a month. The types differ as in us-east-1.
    #[must_use]
    pub fn database_storage_monthly(&self, kind: &str) -> f64 {
        let of_gp3 = match kind {
            "io1" | "io2" => 0.125 / 0.115,
            "standard" => 0.10 / 0.115,
            _ => 1.0,
        };
        self.services.gp3_database * of_gp3
    }

    /// A gibibyte of a database's snapshot or of retained backups, in a month.
    #[must_use]
    pub fn backup_monthly(&self) -> f64 {
        self.services.backup
    }
}

impl Services {
    /// The prices of a table without us-east-1, which a test excludes.
    const NONE: Self = Self {
        is_estimated: true,
        nat_gateway: 0.0,
        endpoint: 0.0,
        load_balancer: 0.0,
        fargate_vcpu: 0.0,
        fargate_gb: 0.0,
        gp3_volume: 0.0,
        gp3_database: 0.0,
        backup: 0.0,
        database_factor: 1.0,
    };

    /// An estimate of another region's prices.
    fn times(self, factor: f64) -> Self {
        Self {
            is_estimated: true,
            nat_gateway: self.nat_gateway * factor,
            endpoint: self.endpoint * factor,
            load_balancer: self.load_balancer * factor,
            fargate_vcpu: self.fargate_vcpu * factor,
            fargate_gb: self.fargate_gb * factor,
            gp3_volume: self.gp3_volume * factor,
            gp3_database: self.gp3_database * factor,
            backup: self.backup * factor,
            database_factor: self.database_factor * factor,
        }
    }
}

/// A size's price in parts of `large`: each size doubles the one before, above `xlarge` the number tells.
fn parts_of_large(size: &str) -> Option<f64> {
    Some(match size {
        "nano" => 0.0625,
        "micro" => 0.125,
        "small" => 0.25,
        "medium" => 0.5,
        "large" => 1.0,
        "xlarge" => 2.0,
        larger => 2.0 * larger.strip_suffix("xlarge")?.parse::<u8>().map(f64::from).ok()?,
    })
}

/// The vCPUs of an instance type or a database's class, at most; `None` for a size that has no number, such as `metal`.
///
/// `large` has two of each family that stacks use, and smaller sizes never more ("Amazon EC2 instance types").
#[must_use]
pub fn vcpus(name: &str) -> Option<u32> {
    match name.rsplit('.').next()? {
        "nano" | "micro" | "small" | "medium" | "large" => Some(2),
        "xlarge" => Some(4),
        larger => Some(4 * larger.strip_suffix("xlarge")?.parse::<u8>().map(u32::from).ok()?),
    }
}

#[cfg(test)]
mod tests;
