#!/usr/bin/env python3
"""Runs checkov on the template as SAM transforms it. Each check that fails must be in `skipped.toml`, with the reason.

    SAM_PYTHON tests/security/checkov.py CHECKOV     # the Python that has SAM, and the program checkov: .ci/run has both

SAM's macro adds the versions, aliases and permissions of the functions, and checkov does not know it. An entry whose check no
longer fails is an error too: the list stays as short as it can be.
"""

import json
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TRANSFORMED = ROOT / "target" / "transformed.json"
SKIPPED = HERE / "skipped.toml"
SECONDS_MAX = 300


def transformed(template):
    """The template without SAM. What a packaged template has in S3 is there under an invented name."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")
    from samtranslator.translator.transform import transform
    from samtranslator.yaml_helper import yaml_parse

    fragment = yaml_parse(template)
    fragment["Globals"]["Function"]["CodeUri"] = "s3://bucket/code.zip"
    for resource in fragment["Resources"].values():
        if resource["Type"] == "AWS::Serverless::StateMachine":
            resource["Properties"]["DefinitionUri"] = "s3://bucket/deploy.asl.json"

    class NoManagedPolicies:
        """The roles of the template have policies of their own, so SAM looks for no managed ones."""

        def load(self):
            return {}

    return transform(fragment, {}, NoManagedPolicies())


def failed_checks(checkov):
    """Check, resource and description of each failure, and how many checks passed."""
    command = [checkov, "--file", TRANSFORMED, "--framework", "cloudformation", "--skip-download"]
    command += ["--compact", "--quiet", "--output", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    # checkov ends with 1 if a check failed; other codes are errors.
    if ended.returncode not in (0, 1):
        sys.exit(f"checkov ended with {ended.returncode}: {ended.stderr.strip()}")
    report = json.loads(ended.stdout)
    if report["summary"]["parsing_errors"]:
        sys.exit(f"checkov cannot read {TRANSFORMED}")
    failed = report["results"]["failed_checks"]
    found = sorted((check["check_id"], check["resource"], check["check_name"]) for check in failed)
    return found, report["summary"]["passed"]


def skips():
    """The entries of `skipped.toml`, each of them complete."""
    entries = tomllib.loads(SKIPPED.read_text())["skip"]
    for entry in entries:
        if set(entry) != {"check", "resources", "reason"} or not all(entry.values()):
            sys.exit(f"{SKIPPED}: an entry has a check, resources and a reason: {entry}")
    return entries


def problems(failed, entries):
    """A line for each failure without an entry, and for each resource of an entry without a failure."""
    covers = lambda entry, name, check, resource: entry["check"] == check and fnmatchcase(resource, name)
    pairs = [(entry, name) for entry in entries for name in entry["resources"]]
    for check, resource, description in failed:
        if not any(covers(entry, name, check, resource) for entry, name in pairs):
            yield f"{resource}: {check} fails: {description}"
    for entry, name in pairs:
        if not any(covers(entry, name, check, resource) for check, resource, _ in failed):
            yield f"tests/security/skipped.toml: {entry['check']} does not fail for {name}: remove the entry"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    TRANSFORMED.write_text(json.dumps(transformed((ROOT / "template.yaml").read_text()), indent=1))
    failed, passed = failed_checks(sys.argv[1])
    found = list(problems(failed, skips()))
    print(f"checkov: {passed} checks passed, {len(failed)} failed, {len(failed) - len(found)} of them as expected")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
