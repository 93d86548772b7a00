"""Draws the sample: the same seed and the same sources give the same mutants in the same order."""

import json
import math
import random
import tomllib
from collections import defaultdict
from pathlib import Path

import sites
import texts

# The parts of the project, and their share of the sample.
SHARES = {"functions/src": 0.5, "simulator/src": 0.2, texts.TEMPLATE: 0.18, texts.WORKFLOW: 0.12}

# Programs that only Lambda runs; the generator of the workflow file, which stands for it in every test; unit tests; tables that
# are compared with AWS's own data.
LEFT_OUT = ("functions/src/bin/", "functions/src/program.rs", "functions/src/workflow/", "simulator/src/services/ec2/tests.rs")


def candidates(project: Path) -> dict[str, list]:
    """All mutants of each part."""
    found = {part: [] for part in SHARES}
    for part in ("functions/src", "simulator/src"):
        for path in sorted((project / part).rglob("*.rs")):
            file = path.relative_to(project).as_posix()
            if not file.startswith(LEFT_OUT):
                found[part] += sites.sites(file, path.read_bytes())
    for mutant in texts.text_mutants(project):
        found[mutant.file].append(mutant)
    return found


def drawn(project: Path, seed: int, count: int) -> dict[str, list]:
    """Mutants of each part in the order in which they are taken. A kind's chance grows with the root of its frequency, so that
    frequent kinds do not displace rare ones. Half as many again are drawn, for those that do not compile."""
    known = known_equivalents(project)
    order = {}
    for part, mutants in candidates(project).items():
        generator = random.Random(f"{seed} {part}")
        by_kind = defaultdict(list)
        for mutant in mutants:
            if (mutant.file, mutant.was, mutant.now) not in known:
                by_kind[mutant.kind].append(mutant)
        wanted, taken = quota(part, count), []
        while by_kind and len(taken) < wanted + (wanted + 1) // 2:
            kinds = sorted(by_kind)
            kind = generator.choices(kinds, [math.sqrt(len(by_kind[kind])) for kind in kinds])[0]
            mutant = by_kind[kind].pop(generator.randrange(len(by_kind[kind])))
            if not by_kind[kind]:
                del by_kind[kind]
            if not any(overlap(mutant, other) for other in taken):
                taken.append(mutant)
        order[part] = taken
    return order


def quota(part: str, count: int) -> int:
    """How many mutants of a part are tried."""
    others = sum(round(count * share) for other, share in SHARES.items() if other != "functions/src")
    return count - others if part == "functions/src" else round(count * SHARES[part])


def overlap(one, other) -> bool:
    """Whether two mutants change the same bytes of a Rust file: only one of them can be in the build."""
    if not isinstance(one, sites.Site) or one.file != other.file:
        return False
    return one.start <= other.end and other.start <= one.end


def known_equivalents(project: Path) -> set[tuple[str, str, str]]:
    entries = tomllib.loads((project / "tests/mutants/equivalent.toml").read_text()).get("equivalent", [])
    without = [entry for entry in entries if not entry.get("because")]
    if without:
        raise SystemExit(f"equivalent.toml: each entry needs `because`: {json.dumps(without)}")
    return {(entry["file"], entry["was"], entry["now"]) for entry in entries}
