use std::fmt::Write as _;

use serde_json::Value;

use super::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/prices.json");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/price_table.rs");

fn data() -> Value {
    serde_json::from_str(&std::fs::read_to_string(DATA).unwrap()).unwrap()
}

/// The fields of a JSON object in the order of their names.
fn fields(value: &Value) -> Vec<(&String, &Value)> {
    value.as_object().unwrap().iter().collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The lines of the services, the databases and the regions, as the file's prices make them.
fn tables(data: &Value) -> [String; 3] {
    const NAMES: [(&str, &str); 9] = [
        ("nat_gateway", "natGateway"),
        ("endpoint", "endpoint"),
        ("load_balancer", "loadBalancer"),
        ("fargate_vcpu", "fargateVcpu"),
        ("fargate_gb", "fargateGb"),
        ("gp3_volume", "gp3Volume"),
        ("gp3_database", "gp3Database"),
        ("backup", "backup"),
        ("database_factor", "databaseFactor"),
    ];
    let mut tables = [String::new(), String::new(), String::new()];
    for (region, services) in fields(&data["services"]["regions"]) {
        let prices =
            NAMES.map(|(field, key)| format!("{field}: {:?}", services[key].as_f64().unwrap_or(1.0)));
        let estimated = &services["estimate"];
        let prices = prices.join(", ");
        writeln!(tables[0], "    (\"{region}\", Services {{ is_estimated: {estimated}, {prices} }}),")
            .unwrap();
    }
    let mut databases: Vec<String> = Vec::new();
    for (family, sizes) in fields(&data["databases"]["families"]) {
        let small = ["micro", "small", "medium"].iter().filter(|size| sizes[**size].is_number());
        let small: Vec<String> =
            small.map(|size| format!("(\"{size}\", {:?})", number(&sizes[*size]))).collect();
        let (small, large) = (small.join(", "), number(&sizes["large"]));
        databases.push(format!("    (\"{family}\", &[{small}], {large:?}, false),\n"));
    }
    let instances = &data["instances"]["regions"];
    for (family, like) in fields(&data["databases"]["estimates"]) {
        let like = like.as_str().unwrap();
        let ratio = number(&instances[FIRST][family]) / number(&instances[FIRST][like]);
        let large = (number(&data["databases"]["families"][like]["large"]) * ratio * 1e4).round() / 1e4;
        databases.push(format!("    (\"{family}\", &[], {large:?}, true),\n"));
    }
    databases.sort();
    tables[1] = databases.concat();
    for (region, families) in fields(instances) {
        let factor = number(&data["factors"]["regions"][region]);
        let families: Vec<String> = fields(families)
            .into_iter()
            .map(|(family, large)| format!("(\"{family}\", {:?})", number(large)))
            .collect();
        writeln!(tables[2], "    (\"{region}\", {factor:?}, &[{}]),", families.join(", ")).unwrap();
    }
    tables
}

/// Every date in the file.
fn dates(data: &Value) -> Vec<String> {
    let services = fields(&data["services"]["regions"]).into_iter().map(|(_, services)| services);
    let sources = [&data["instances"], &data["databases"]].into_iter().chain(services);
    sources.map(|source| source["taken"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_price_table_is_made_of_the_file() {
    let (source, data) = (std::fs::read_to_string(TABLE).unwrap(), data());
    let mut parts = source.split("&[\n");
    let mut wanted = parts.next().unwrap().to_owned();
    for (rows, old) in tables(&data).into_iter().zip(parts) {
        let (_, rest) = old.split_once("];\n").unwrap();
        write!(wanted, "&[\n{rows}];\n{rest}").unwrap();
    }
    let taken = dates(&data).into_iter().min().unwrap();
    let wanted = wanted.replace(&format!("\"{TAKEN}\""), &format!("\"{taken}\""));
    let elsewhere = number(&data["factors"]["elsewhere"]);
    let wanted = wanted.replace(&format!("f64 = {ELSEWHERE:?}"), &format!("f64 = {elsewhere:?}"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(TABLE, &wanted).unwrap();
    } else {
        assert_eq!(source, wanted, "`UPDATE=1 cargo test the_price_table` rewrites it");
    }
}

#[test]
fn every_price_has_a_source_and_a_date() {
    let data = data();
    let services = fields(&data["services"]["regions"]).into_iter().map(|(_, services)| services);
    for table in [&data["instances"], &data["databases"]].into_iter().chain(services) {
        let (source, taken) = (table["source"].as_str().unwrap(), table["taken"].as_str().unwrap());
        assert!(source.len() > 20, "{source:?}");
        let digits: Vec<usize> = taken.split('-').map(str::len).collect();
        assert_eq!(digits, [4, 2, 2], "{taken}");
    }
    for derived in [&data["factors"]["source"], &data["databases"]["estimatedFrom"]] {
        assert!(derived.as_str().unwrap().len() > 20, "{derived}");
    }
}

#[test]
fn a_region_without_prices_is_marked_as_an_estimate() {
    let (first, frankfurt, nowhere) =
        (Prices::of("us-east-1"), Prices::of("eu-central-1"), Prices::of("xx-north-9"));
    assert_eq!([first.is_estimated(), frankfurt.is_estimated(), nowhere.is_estimated()], [false, true, true]);
    let of = |prices: &Prices| prices.instance_hourly("t3.micro").unwrap();
    assert_eq!(of(&first), Price { usd: 0.0104, is_estimated: false });
    assert_eq!(of(&frankfurt), Price { usd: 0.012, is_estimated: false });
    assert_eq!(of(&nowhere), Price { usd: 0.0104 * ELSEWHERE, is_estimated: true });
    assert!((nowhere.nat_gateway_hourly() - 0.045 * ELSEWHERE).abs() < 1e-9);
    assert!(nowhere.database_hourly("db.t4g.micro").unwrap().is_estimated);
}

#[test]
fn a_family_that_a_region_lacks_is_estimated_from_the_first_region() {
    let (name, factor, families) = REGIONS.iter().find(|(name, ..)| *name == "af-south-1").unwrap();
    assert!(!families.iter().any(|(family, _)| *family == "m8g"));
    let price = Prices::of(name).instance_hourly("m8g.large").unwrap();
    assert_eq!(price, Price { usd: 0.08976 * factor, is_estimated: true });
}

#[test]
fn sizes_cost_their_share_of_the_large_one() {
    let prices = Prices::of(FIRST);
    let instance = |name: &str| prices.instance_hourly(name).map(|price| price.usd);
    assert_eq!(instance("t3.micro"), Some(0.0104));
    assert_eq!(instance("m7i.4xlarge"), Some(0.1008 * 8.0));
    assert_eq!(instance("m8g.large"), Some(0.08976));
    assert_eq!(instance("z9.large"), None);
    assert_eq!(instance("t3.enormous"), None);
    let database = |class: &str| prices.database_hourly(class).map(|price| price.usd);
    assert_eq!(database("db.t4g.micro"), Some(0.016));
    assert_eq!(database("db.r7g.2xlarge"), Some(0.239 * 4.0));
    assert_eq!(database("db.m7g.micro"), None);
    assert_eq!(database("t3.micro"), None);
}

#[test]
fn a_database_whose_family_has_no_source_is_marked_as_an_estimate() {
    let of = |class: &str| Prices::of(FIRST).database_hourly(class).unwrap().is_estimated;
    assert_eq!((of("db.m7g.large"), of("db.m8g.large")), (false, true));
}

/// A price in cents.
fn cents(price: f64) -> String {
    format!("{:.2}", price * 100.0)
}

#[test]
fn a_task_costs_its_processors_and_its_memory() {
    let prices = Prices::of(FIRST);
    assert_eq!(cents(prices.fargate_hourly(1024, 0)), "4.05");
    assert_eq!(cents(prices.fargate_hourly(0, 1024)), "0.44");
    // The smallest task, and a large one: 4 vCPU and 16 GB.
    assert_eq!(cents(prices.fargate_hourly(256, 512)), "1.23");
    assert_eq!(cents(prices.fargate_hourly(4096, 16_384)), "23.30");
}

#[test]
fn a_load_balancer_costs_an_address_for_each_zone() {
    assert_eq!(cents(Prices::of(FIRST).load_balancer_hourly(0)), "2.25");
    assert_eq!(cents(Prices::of(FIRST).load_balancer_hourly(3)), "3.75");
    assert_eq!(cents(Prices::of("eu-central-1").load_balancer_hourly(2)), "3.70");
}

#[test]
fn each_kind_of_storage_has_its_price() {
    let prices = Prices::of(FIRST);
    let volumes = ["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"];
    assert_eq!(
        volumes.map(|kind| cents(prices.volume_monthly(kind))),
        ["8.00", "10.00", "12.50", "12.50", "4.50", "1.50", "5.00"]
    );
    let database = ["gp3", "gp2", "io1", "io2", "standard"];
    assert_eq!(
        database.map(|kind| cents(prices.database_storage_monthly(kind))),
        ["11.50", "11.50", "12.50", "12.50", "10.00"]
    );
    assert_eq!(cents(prices.backup_monthly()), "9.50");
}

#[test]
fn processors_follow_from_the_size() {
    let all = ["t3.micro", "db.m7g.large", "m7i.xlarge", "db.r6g.16xlarge", "m7i.metal-24xl", "odd"];
    assert_eq!(all.map(vcpus), [Some(2), Some(2), Some(4), Some(64), None, None]);
}
