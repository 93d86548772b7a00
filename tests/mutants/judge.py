"""Judges a mutant: runs the tests that reach it, the nearest ones first, until one fails."""

import os
import re
import resource
import selectors
import subprocess
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import texts
from project import Binary

# Tests that see any change of a generated or formatted file, whatever it means; and one that writes to a file of its own, so
# two mutants at the same time would disturb each other.
NO_JUDGES = ("workflow::workflow_file_is_the_one_generated_from_the_table", "permissions::handbook::",
             "permissions::second_engine::")

# The stack's tests that come first, by the start of a mutant's file. All others follow.
NEAR = [
    ("functions/src/components/network", "network deploys rolls_back idempotency"),
    ("functions/src/components/egress", "egress network deploys rolls_back idempotency"),
    ("functions/src/components/security_groups", "network deploys not_owned idempotency"),
    ("functions/src/components/instance", "network deploys roles idempotency"),
    ("functions/src/components/database", "service deploys life_cycle idempotency"),
    ("functions/src/components/load_balancer", "service deploys not_owned idempotency"),
    ("functions/src/components/service", "service deploys roles idempotency"),
    ("functions/src/contract/roles", "roles"),
    ("functions/src/contract/tagging", "tags drift"),
    ("functions/src/deployment/estimate", "estimates command"),
    ("functions/src/deployment", "records announcements conclusions"),
    ("functions/src/steps/admit", "records concurrency bad_input approval interrupted"),
    ("functions/src/steps/conclude", "conclusions records announcements interrupted"),
    ("functions/src/aws", "retries service_failures"),
    ("simulator/src/authorization", "permissions roles"),
    ("simulator/src", "deploys preflight"),
    (texts.TEMPLATE, "template wiring agrees installation permissions"),
    (texts.WORKFLOW, "agrees workflow omissions life_cycle rolls_back approval"),
]

# A mutant may need more memory than the tests, but not all of the machine's.
BYTES_MAX = 6 * 2**30
# A test takes so many times as long as usual, and so many seconds more, before it counts as hanging.
PATIENCE, PATIENCE_SECONDS = 8, 60


@dataclass
class Baseline:
    """What the tests do without a mutant: how long each takes, and which mutants each reaches."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    reached: dict[int, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    failed: list[str] = field(default_factory=list)

    def tests(self, binary: Binary) -> list[str]:
        return [test for name, test in self.seconds if name == binary.name]

    def limit(self, binary: Binary, test: str) -> float:
        """The seconds after which a test hangs. The first test of a module may work for the others of the module too."""
        module = test.rpartition("::")[0]
        longest = max(seconds for (name, other), seconds in self.seconds.items()
                      if name == binary.name and other.rpartition("::")[0] == module)
        return PATIENCE * longest + PATIENCE_SECONDS


@dataclass
class Run:
    """A run of some tests of a binary: how long each took, and why it ended, if not by itself."""

    seconds: dict[str, float]
    failed: str | None


def run(binary: Binary, tests: list[str] | None, environment: dict, limits: dict[str, float], stops: bool = True) -> Run:
    """Runs tests one after the other. Stops at the first that fails or hangs."""
    command = [binary.program, "--test-threads=1", *(["--exact", *tests] if tests is not None else [])]
    # Snapshots must not be rewritten; cargo sets the folder of the package in the same way.
    variables = {**os.environ, "INSTA_UPDATE": "no", "INSTA_FORCE_PASS": "0", "RUST_BACKTRACE": "0", "CARGO_MANIFEST_DIR": binary.folder,
                 **environment}
    process = subprocess.Popen(command, cwd=binary.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, start_new_session=True, preexec_fn=limit_memory)
    seconds, failed, began, current = {}, None, time.monotonic(), "its start"
    for line in lines(process, lambda: began + limits.get(current, max(limits.values(), default=600))):
        if line is None:
            failed = f"{current} hangs"
            break
        if not (match := re.match(r"test (\S+)(?: - should panic)? \.\.\. ?(\w*)", line)):
            continue
        current = match.group(1)
        if match.group(2):
            now = time.monotonic()
            seconds[current], began = now - began, now
        if match.group(2) == "FAILED":
            failed = current
            if stops:
                break
    if failed and stops:
        os.killpg(process.pid, 9)
    code = process.wait()
    if code != 0 and not failed:
        failed = f"{current} ends the program ({code})"
    return Run(seconds, failed)


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (BYTES_MAX, BYTES_MAX))


def lines(process: subprocess.Popen, deadline):
    """The lines of a program's output; `None` when a test takes too long. A test that starts has no line's end yet."""
    selector, text = selectors.DefaultSelector(), ""
    selector.register(process.stdout, selectors.EVENT_READ)
    while True:
        if not selector.select(timeout=max(0.0, deadline() - time.monotonic())):
            yield None
            return
        chunk = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
        if not chunk:
            return
        text += chunk
        *whole, text = text.split("\n")
        yield from whole
        if text.startswith("test ") and text.endswith("... "):
            yield text


def baseline(binaries: list[Binary], work: Path) -> Baseline:
    """Runs all tests once without a mutant, two binaries at a time, the longest first."""
    measured, lock = Baseline(), threading.Lock()

    def measure(binary: Binary) -> None:
        traces = work / "traces" / binary.package / binary.name.replace(" ", "-")
        traces.mkdir(parents=True, exist_ok=True)
        for old in traces.iterdir():
            old.unlink()
        result = run(binary, None, {"MUTANT_TRACE": str(traces)}, {}, stops=False)
        with lock:
            for test, seconds in result.seconds.items():
                measured.seconds[binary.name, test] = seconds
            if result.failed:
                measured.failed.append(f"{binary.name}: {result.failed}")
            for trace in traces.iterdir():
                for line in trace.read_text().splitlines():
                    number, test = line.split("\t")
                    measured.reached[int(number)].add((binary.name, test))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(measure, sorted(binaries, key=lambda binary: binary.name not in ("stack", "matrix"))))
    return measured


def stages(mutant, package: str, binaries: list[Binary], measured: Baseline, number: int, matrix: bool):
    """What to run for a mutant, in order: (name of the stage, binary, tests)."""
    stack = next(binary for binary in binaries if binary.name == "stack")
    others = [binary for binary in binaries if binary.name not in ("stack", "matrix")]
    reached = measured.reached.get(number, set())
    if package:
        for binary in sorted(others, key=lambda binary: binary.package != package):
            tests = [test for test in measured.tests(binary) if (binary.name, test) in reached]
            if tests:
                yield binary.name, binary, tests
    else:
        for binary in (binary for binary in others if binary.package == "stackdrop"):
            yield binary.name, binary, measured.tests(binary)
    all_tests = [test for test in measured.tests(stack) if not test.startswith(NO_JUDGES)]
    first = [test for test in all_tests if not package or ("stack", test) in reached]
    for tests in in_order(mutant, first, measured):
        yield "stack", stack, tests
    # A value that several tests share belongs to the test that came first: the others are tried too.
    rest = [test for test in all_tests if test not in first]
    if rest:
        yield "stack, all", stack, rest
    if matrix:
        binary = next(binary for binary in binaries if binary.name == "matrix")
        yield "matrix", binary, measured.tests(binary)


def in_order(mutant, tests: list[str], measured: Baseline) -> list[list[str]]:
    """The tests by module: the near modules first, then the fast ones."""
    words = next((words.split() for start, words in NEAR if mutant.file.startswith(start)), [])
    modules = defaultdict(list)
    for test in tests:
        modules[test.split("::")[0]].append(test)

    def rank(module: str) -> tuple:
        near = min((words.index(word) for word in words if word in module), default=len(words))
        return near, sum(measured.seconds["stack", test] for test in modules[module])

    return [modules[module] for module in sorted(modules, key=rank)]


@dataclass
class Verdict:
    """What the tests say about a mutant: the test that failed, or the stages that stayed green."""

    caught_by: str | None
    green: dict[str, int]
    seconds: float


def judge(mutant, number: int, package: str, environment: dict, binaries: list[Binary], measured: Baseline, matrix: bool) -> Verdict:
    began, green = time.monotonic(), defaultdict(int)
    for stage, binary, tests in stages(mutant, package, binaries, measured, number, matrix):
        limits = {test: measured.limit(binary, test) for test in tests}
        result = run(binary, tests, environment, limits)
        if result.failed:
            return Verdict(f"{stage}: {result.failed}", dict(green), time.monotonic() - began)
        green[stage] += len(result.seconds)
    return Verdict(None, dict(green), time.monotonic() - began)
