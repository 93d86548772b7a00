#!/usr/bin/env python3
"""Makes prices.json. Then `UPDATE=1 cargo test the_price_table` makes src/price_table.rs from it.

    prices.py --price-list REGION...   from AWS's price list, which anybody may read; replaces estimates by prices
    prices.py --libcloud PRICING.JSON  EC2 instances only, from Apache Libcloud's copy of that price list

Where the network has no way to AWS, the package `apache-libcloud` of PyPI has the copy: libcloud/data/pricing.json.
"""

import argparse
import csv
import datetime
import io
import json
import pathlib
import re
import statistics
import urllib.request

FILE = pathlib.Path(__file__).parent / "prices.json"
# "AWS Price List Bulk API" in the AWS Billing user guide: one CSV file for each service and region.
OFFER = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{service}/current/{region}/index.csv"
FAMILY = re.compile(r"(t[2-9]|[mcr][5-9])[a-z]*(-flex)?$")
DATABASE_FAMILY = re.compile(r"(t[3-9]|[mr][5-9]|x2)[a-z]*$")
SMALL = {"nano": 0.0625, "micro": 0.125, "small": 0.25, "medium": 0.5, "large": 1, "xlarge": 2}


def parts_of_large(size):
    """A size in parts of `large`; None for sizes without a number, such as `metal`."""
    larger = re.fullmatch(r"(\d+)xlarge", size)
    return 2 * int(larger[1]) if larger else SMALL.get(size)


def price_of_large(prices):
    """The price of `large` for each family, from prices by type.

    The lowest price counts: the copy also has prices of dedicated hardware, 6 to 10 % higher. AWS rounds the prices of small
    sizes, so the largest size with that price tells it best.
    """
    families = {}
    for name, usd in prices:
        family, _, size = name.rpartition(".")
        parts = parts_of_large(size)
        if parts and usd > 0:
            families.setdefault(family, []).append((parts, usd / parts))
    best = {}
    for family, each in sorted(families.items()):
        lowest = min(usd for _, usd in each)
        best[family] = round(max(one for one in each if one[1] <= 1.01 * lowest)[1], 6)
    return best


def from_libcloud(path, data):
    content = json.loads(path.read_text())
    by_region = {}
    for name, regions in content["compute"]["ec2_linux"].items():
        if FAMILY.fullmatch(name.partition(".")[0]):
            for region, usd in regions.items():
                by_region.setdefault(region, []).append((name, float(usd)))
    taken = datetime.datetime.fromtimestamp(content["updated"], datetime.UTC).date().isoformat()
    for region, prices in by_region.items():
        # A local zone has other prices, and no stack can be in one alone.
        if re.fullmatch(r"[a-z]+(-[a-z]+)+-\d", region):
            data["instances"]["regions"][region] = price_of_large(prices)
    data["instances"]["taken"] = taken
    data["instances"]["source"] = (
        "AWS's price list (EC2, on demand, Linux, shared), as libcloud/data/pricing.json of apache-libcloud has it"
    )
    first = data["instances"]["regions"]["us-east-1"]
    for region, families in data["instances"]["regions"].items():
        ratio = statistics.median(usd / first[name] for name, usd in families.items() if name in first)
        data["factors"]["regions"][region] = max(1.0, round(ratio, 2))


def offers(service, region):
    """The rows of one offer file that are on demand and not free."""
    with urllib.request.urlopen(OFFER.format(service=service, region=region)) as answer:
        lines = io.TextIOWrapper(answer, "utf-8", newline="")
        yield from paid(lines)


def paid(lines):
    for _ in range(5):  # the file's version and date
        next(lines)
    for row in csv.DictReader(lines):
        if row["TermType"] == "OnDemand" and float(row["PricePerUnit"]) > 0:
            yield row, row["Instance Type"] if "Instance Type" in row else "", float(row["PricePerUnit"])


def ends(row, usage):
    """Whether a row is of this usage; other regions than us-east-1 have a prefix: EUC1-NatGateway-Hours."""
    return row["usageType"] == usage or row["usageType"].endswith("-" + usage)


# The key in prices.json: the service, and the usage as the price list names it.
USAGES = {
    "natGateway": ("AmazonEC2", "NatGateway-Hours"),
    "endpoint": ("AmazonVPC", "VpcEndpoint-Hours"),
    "loadBalancer": ("AWSELB", "LoadBalancerUsage"),
    "fargateVcpu": ("AmazonECS", "Fargate-vCPU-Hours:perCPU"),
    "fargateGb": ("AmazonECS", "Fargate-GB-Hours"),
    "gp3Volume": ("AmazonEC2", "EBS:VolumeUsage.gp3"),
    "gp3Database": ("AmazonRDS", "RDS:GP3-Storage"),
    "backup": ("AmazonRDS", "RDS:ChargedBackupUsage"),
}
# An application load balancer: the price list has classic and network ones under the same usage.
APPLICATION = "LoadBalancing:Application"


def from_price_list(region, data):
    today = datetime.date.today().isoformat()
    services, instances, classes = {}, [], []
    for service in sorted({service for service, _ in USAGES.values()}):
        for row, kind, usd in offers(service, region):
            if service == "AmazonEC2" and kind and is_plain_linux(row) and FAMILY.fullmatch(kind.partition(".")[0]):
                instances.append((kind, usd))
            elif service == "AmazonRDS" and kind.startswith("db.") and is_single_postgres(row):
                if DATABASE_FAMILY.fullmatch(kind.split(".")[1]):
                    classes.append((kind, usd))
            for key, (of, usage) in USAGES.items():
                if of == service and ends(row, usage) and (of != "AWSELB" or row["operation"] == APPLICATION):
                    services[key] = usd
    data["instances"]["regions"][region] = price_of_large(instances)
    source = f"AWS's price list of {region}"
    families = families_of(classes)
    if region == "us-east-1":
        data["databases"] |= {"source": source, "taken": today, "families": families, "estimates": {}}
    first = data["databases"]["families"]
    ratios = [usd / first[family][size] for family, sizes in families.items() for size, usd in sizes.items()
              if size in first.get(family, {})]
    services["databaseFactor"] = round(statistics.median(ratios), 3)
    data["services"]["regions"][region] = {"source": source, "taken": today, "estimate": False, **services}


def is_plain_linux(row):
    return (row["Operating System"], row["Tenancy"], row["Pre Installed S/W"], row["CapacityStatus"]) == (
        "Linux", "Shared", "NA", "Used")


def is_single_postgres(row):
    return (row["Database Engine"], row["Deployment Option"]) == ("PostgreSQL", "Single-AZ")


def families_of(classes):
    """The price of each size up to `large`; larger ones follow from it."""
    families = {}
    for name, usd in classes:
        _, family, size = name.split(".")
        if (parts_of_large(size) or 2) <= 1:
            families.setdefault(family, {})[size] = usd
    return {family: sizes for family, sizes in sorted(families.items()) if "large" in sizes}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--libcloud", type=pathlib.Path)
    options.add_argument("--price-list", nargs="+", metavar="REGION", default=[])
    given = options.parse_args()
    data = json.loads(FILE.read_text())
    if given.libcloud:
        from_libcloud(given.libcloud, data)
    for region in given.price_list:
        from_price_list(region, data)
    FILE.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
