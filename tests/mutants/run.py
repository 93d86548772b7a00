#!/usr/bin/env python3
"""Tries mutants: small mistakes in a copy of the project, each of which a test should notice. `just mutants --help`.

The report is `target/mutants/report.txt`; while it runs, `target/mutants/progress.txt` grows by a line a mutant.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
WORK = PROJECT / "target" / "mutants"


def with_tools() -> None:
    """Starts again with the Python that has the packages of requirements.txt."""
    tools, wanted = WORK / "tools", (HERE / "requirements.txt").read_text()
    python, stamp = tools / "bin" / "python", tools / "installed"
    if Path(sys.prefix) == tools:
        return
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(tools)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
                        "-r", str(HERE / "requirements.txt")], check=True)
        stamp.write_text(wanted)
    os.execv(str(python), [str(python), str(HERE / "run.py"), *sys.argv[1:]])


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="the same seed and sources give the same mutants")
    parser.add_argument("--count", type=int, default=60, help="mutants of functions, simulator, template and workflow (60)")
    parser.add_argument("--light", type=int, default=60, help="about so many mutants of specs, statemachine and figures (60)")
    parser.add_argument("--matrix", action="store_true", help="also run the fault matrix on what the other tests miss")
    parser.add_argument("--list", action="store_true", help="print the sample, and try nothing")
    parser.add_argument("--build", action="store_true", help="build the copy, and try nothing")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="try only these mutants of the sample")
    return parser.parse_args()


class Report:
    """Prints lines and keeps them in a file."""

    def __init__(self, file: Path):
        self.file, self.lock = file, threading.Lock()
        file.write_text("")

    def __call__(self, line: str) -> None:
        with self.lock, self.file.open("a") as file:
            print(line, flush=True)
            file.write(line + "\n")


def main() -> None:
    with_tools()
    import sample  # these need the packages
    chosen = options()
    order = sample.drawn(PROJECT, chosen.seed, chosen.count)
    numbered = {number: mutant for number, mutant in enumerate((mutant for part in order.values() for mutant in part), start=1)}
    if chosen.list:
        print("\n".join(shown(number, mutant) for number, mutant in numbered.items()))
        return
    report = Report(WORK / "report.txt")
    report(f"just mutants --seed {chosen.seed} --count {chosen.count} --light {chosen.light}{' --matrix' if chosen.matrix else ''}")
    tried, caught = semantic(chosen, order, numbered, report) if chosen.count else (0, 0)
    if chosen.build:
        return
    light_tried, light_caught = 0, 0
    if chosen.light:
        import light
        light_tried, light_caught = light.run(PROJECT, WORK, chosen.seed, chosen.light, report)
    report(score("functions, simulator, template and workflow", tried, caught))
    report(score("specs, statemachine and figures", light_tried, light_caught))


def score(what: str, tried: int, caught: int) -> str:
    return f"{what}: {tried} tried, {caught} caught ({100 * caught / tried:.1f} %)" if tried else f"{what}: none tried"


def shown(number: int, mutant) -> str:
    """A mutant as a difference."""
    was, now = (" ".join(text.split()) for text in (mutant.was, mutant.now))
    return f"{number} {mutant.file}:{mutant.line} {mutant.kind}\n  - {was}\n  + {now}"


def semantic(chosen: argparse.Namespace, order: dict, numbered: dict, report: Report) -> tuple[int, int]:
    """Builds the copy, and tries the sample. Returns how many were tried, and how many were caught."""
    import judge
    from project import Copy
    from sample import quota
    from sites import Site

    switches = {number: mutant for number, mutant in numbered.items() if isinstance(mutant, Site)}
    kept, binaries = Copy(PROJECT, WORK).build(switches, WORK / "build.log")
    if chosen.build:
        return 0, 0
    tried = {}
    for part, mutants in order.items():
        fits = [(number, mutant) for number, mutant in numbered.items()
                if mutant in mutants and (number in kept or number not in switches)]
        tried.update(fits[:quota(part, chosen.count)])
    if chosen.only:
        tried = {number: mutant for number, mutant in tried.items() if number in chosen.only}
    if not chosen.matrix:
        binaries = [binary for binary in binaries if binary.name != "matrix"]
    print("Running all tests without a mutant", flush=True)
    measured = judge.baseline(binaries, WORK)
    if measured.failed:
        raise SystemExit("these fail without a mutant:\n" + "\n".join(measured.failed))
    print(f"{len(measured.seconds)} tests pass; trying {len(tried)} mutants, two at a time", flush=True)
    verdicts = judge_all(chosen, tried, binaries, measured)
    for number, verdict in sorted(verdicts.items()):
        if verdict.caught_by is None:
            stages = ", ".join(f"{stage} ({count})" for stage, count in verdict.green.items()) or "no test reaches it"
            report(f"survived: {shown(number, tried[number])}\n  green: {stages}")
    results = {number: {"mutant": shown(number, tried[number]), **vars(verdict)} for number, verdict in sorted(verdicts.items())}
    (WORK / "results.json").write_text(json.dumps(results, indent=1))
    return len(verdicts), sum(verdict.caught_by is not None for verdict in verdicts.values())


def judge_all(chosen: argparse.Namespace, tried: dict, binaries: list, measured) -> dict:
    import judge
    progress = Report(WORK / "progress.txt")
    texts = WORK / "texts"
    texts.mkdir(exist_ok=True)

    def one(number: int):
        mutant = tried[number]
        package, environment = "", {"MUTANT": str(number)}
        if mutant.file.endswith(".rs"):
            package = f"stackdrop-{mutant.file.split('/')[0]}"
        else:
            path = texts / f"{number}{Path(mutant.file).suffix}"
            path.write_text(mutant.text)
            environment = {"MUTANT_TEMPLATE" if mutant.file == "template.yaml" else "MUTANT_WORKFLOW": str(path)}
        verdict = judge.judge(mutant, number, package, environment, binaries, measured, chosen.matrix)
        said = f"caught by {verdict.caught_by}" if verdict.caught_by else "SURVIVED"
        progress(f"{number} {mutant.file}:{mutant.line} {mutant.kind}: {said} ({verdict.seconds:.0f} s)")
        return verdict

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(tried, pool.map(one, tried)))


if __name__ == "__main__":
    main()
