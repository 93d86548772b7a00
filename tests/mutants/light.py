"""Runs cargo-mutants on the crates that compile in seconds, each against its own tests."""

import json
import os
import shutil
import subprocess
from pathlib import Path

CRATES = {"stackdrop-specs": 0.5, "stackdrop-statemachine": 0.35, "stackdrop-figures": 0.15}
VERSION = "27.1.0"


def run(project: Path, work: Path, seed: int, count: int, report) -> tuple[int, int]:
    """Tries about `count` mutants. Returns how many were tried, and how many were caught."""
    install()
    tried = caught = 0
    for crate, share in CRATES.items():
        listed = subprocess.run(["cargo", "mutants", "--list", "--package", crate], cwd=project, check=True, capture_output=True, text=True)
        total = len(listed.stdout.splitlines())
        shards = max(1, round(total / max(1, count * share)))
        output = work / "light" / crate
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        command = ["cargo", "mutants", "--package", crate, "--output", str(output), "--shard", f"{seed % shards}/{shards}",
                   "--sharding", "round-robin", "--no-times", "--colors", "never"]
        environment = {**os.environ, "CARGO_TARGET_DIR": str(work / "light" / "build")}
        subprocess.run(command, cwd=project, env=environment, stdout=subprocess.DEVNULL, check=False)
        outcomes = json.loads((output / "mutants.out" / "outcomes.json").read_text())
        if outcomes["total_mutants"] == 0:
            raise SystemExit(f"cargo-mutants tried nothing on {crate}: see {output}")
        missed = (output / "mutants.out" / "missed.txt").read_text().splitlines()
        viable = outcomes["caught"] + outcomes["timeout"] + outcomes["missed"]
        report(f"{crate}: {viable - outcomes['missed']} of {viable} caught (part {seed % shards} of {shards})")
        for line in missed:
            report(f"  survived: {line}")
        tried, caught = tried + viable, caught + viable - outcomes["missed"]
    return tried, caught


def install() -> None:
    if shutil.which("cargo-mutants") is None:
        subprocess.run(["cargo", "install", "cargo-mutants", "--locked", "--version", VERSION], check=True)
