//! What things cost by standing there: us-east-1 list prices in US dollars, without usage such as traffic.
//!
//! Sources: the pricing pages of EC2 (on demand, Linux), VPC, EBS, Elastic Load Balancing, Fargate (Linux, x86),
//! RDS for PostgreSQL (on demand, single-AZ) and Secrets Manager.

/// The hours of a month, as AWS's calculator counts them.
pub const HOURS_A_MONTH: f64 = 730.0;

/// A public IPv4 address, in use or idle.
pub const PUBLIC_ADDRESS_HOURLY: f64 = 0.005;
/// A NAT gateway, without its address.
pub const NAT_GATEWAY_HOURLY: f64 = 0.045;
/// An interface endpoint in one zone.
pub const ENDPOINT_HOURLY: f64 = 0.01;
/// An application load balancer, without its addresses.
pub const LOAD_BALANCER_HOURLY: f64 = 0.0225;
/// A vCPU of a Fargate task.
pub const FARGATE_VCPU_HOURLY: f64 = 0.04048;
/// A GB of a Fargate task's memory.
pub const FARGATE_GB_HOURLY: f64 = 0.004_445;
/// A secret, also one that RDS keeps for a database.
pub const SECRET_MONTHLY: f64 = 0.40;
/// A gibibyte of a database's snapshot or of retained backups.
pub const BACKUP_MONTHLY: f64 = 0.095;

/// A Fargate task: CPU units (1024 are a vCPU) and MiB.
#[must_use]
pub fn fargate_hourly(cpu: u32, memory: u32) -> f64 {
    f64::from(cpu) / 1024.0 * FARGATE_VCPU_HOURLY + f64::from(memory) / 1024.0 * FARGATE_GB_HOURLY
}

/// A load balancer with so many public addresses, one a zone.
#[must_use]
pub fn load_balancer_hourly(addresses: u32) -> f64 {
    LOAD_BALANCER_HOURLY + PUBLIC_ADDRESS_HOURLY * f64::from(addresses)
}

/// The prices of EC2's families, for the size `large`. The other sizes follow from it.
const FAMILIES: [(&str, f64); 22] = [
    ("c5", 0.085),
    ("c6a", 0.0765),
    ("c6g", 0.068),
    ("c6i", 0.085),
    ("c7g", 0.0725),
    ("c7i", 0.08925),
    ("m5", 0.096),
    ("m5a", 0.086),
    ("m6a", 0.0864),
    ("m6g", 0.077),
    ("m6i", 0.096),
    ("m7g", 0.0816),
    ("m7i", 0.1008),
    ("r5", 0.126),
    ("r6g", 0.1008),
    ("r6i", 0.126),
    ("r7g", 0.1071),
    ("r7i", 0.1323),
    ("t2", 0.0928),
    ("t3", 0.0832),
    ("t3a", 0.0752),
    ("t4g", 0.0672),
];

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

/// An EC2 instance, such as `t3.micro`; `None` for a type whose price is not known.
#[must_use]
pub fn instance_hourly(instance_type: &str) -> Option<f64> {
    let (family, size) = instance_type.split_once('.')?;
    let (_, large) = FAMILIES.iter().find(|(known, _)| *known == family)?;
    Some(large * parts_of_large(size)?)
}

/// A gibibyte of a volume in a month.
#[must_use]
pub fn volume_monthly(kind: &str) -> f64 {
    match kind {
        "gp3" => 0.08,
        "gp2" => 0.10,
        "io1" | "io2" => 0.125,
        "st1" => 0.045,
        "sc1" => 0.015,
        _ => 0.05,
    }
}

/// The prices of RDS's families: the sizes below `large`, and `large`. Larger ones cost their share of it.
type DatabaseFamily = (&'static str, &'static [(&'static str, f64)], f64);

const DATABASE_FAMILIES: [DatabaseFamily; 10] = [
    ("t3", &[("micro", 0.018), ("small", 0.036), ("medium", 0.072)], 0.145),
    ("t4g", &[("micro", 0.016), ("small", 0.032), ("medium", 0.065)], 0.129),
    ("m5", &[], 0.178),
    ("m6g", &[], 0.159),
    ("m6i", &[], 0.178),
    ("m7g", &[], 0.168),
    ("r5", &[], 0.25),
    ("r6g", &[], 0.225),
    ("r6i", &[], 0.25),
    ("r7g", &[], 0.239),
];

/// One copy of a database of a class such as `db.t4g.micro`; `None` for a class whose price is not known.
#[must_use]
pub fn database_hourly(class: &str) -> Option<f64> {
    let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
    let (_, small, large) = DATABASE_FAMILIES.iter().find(|(known, _, _)| *known == family)?;
    let small = small.iter().find(|(known, _)| *known == size).map(|(_, price)| *price);
    small.or_else(|| Some(large * parts_of_large(size).filter(|parts| *parts >= 1.0)?))
}

/// A gibibyte of a database's storage in a month.
#[must_use]
pub fn database_storage_monthly(kind: &str) -> f64 {
    match kind {
        "io1" | "io2" => 0.125,
        "standard" => 0.10,
        _ => 0.115,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_cost_their_share_of_the_large_one() {
        assert_eq!(instance_hourly("t3.micro"), Some(0.0104));
        assert_eq!(instance_hourly("m7i.4xlarge"), Some(0.1008 * 8.0));
        assert_eq!(instance_hourly("z9.large"), None);
        assert_eq!(instance_hourly("t3.enormous"), None);
        assert_eq!(database_hourly("db.t4g.micro"), Some(0.016));
        assert_eq!(database_hourly("db.r7g.2xlarge"), Some(0.239 * 4.0));
        assert_eq!(database_hourly("db.m7g.micro"), None);
        assert_eq!(database_hourly("t3.micro"), None);
    }

    /// A price in cents.
    fn cents(price: f64) -> String {
        format!("{:.2}", price * 100.0)
    }

    #[test]
    fn a_task_costs_its_processors_and_its_memory() {
        assert_eq!(cents(fargate_hourly(1024, 0)), "4.05");
        assert_eq!(cents(fargate_hourly(0, 1024)), "0.44");
        // The smallest task, and a large one: 4 vCPU and 16 GB.
        assert_eq!(cents(fargate_hourly(256, 512)), "1.23");
        assert_eq!(cents(fargate_hourly(4096, 16_384)), "23.30");
    }

    #[test]
    fn a_load_balancer_costs_an_address_for_each_zone() {
        assert_eq!(cents(load_balancer_hourly(0)), "2.25");
        assert_eq!(cents(load_balancer_hourly(3)), "3.75");
    }

    #[test]
    fn each_kind_of_storage_has_its_price() {
        let volumes = ["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"];
        assert_eq!(
            volumes.map(|kind| cents(volume_monthly(kind))),
            ["8.00", "10.00", "12.50", "12.50", "4.50", "1.50", "5.00"]
        );
        let database = ["gp3", "gp2", "io1", "io2", "standard"];
        assert_eq!(
            database.map(|kind| cents(database_storage_monthly(kind))),
            ["11.50", "11.50", "12.50", "12.50", "10.00"]
        );
    }
}
