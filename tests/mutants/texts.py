"""Mutations of the template and of the workflow file: a whole text each, which the tests read instead of the file."""

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator

TEMPLATE = "template.yaml"
WORKFLOW = "statemachine/deploy.asl.json"


@dataclass(frozen=True)
class Text:
    """A mutated text, which is written only if it is drawn. `was` and `now` are for people."""

    file: str
    kind: str
    was: str
    now: str
    write: Callable[[], str] = field(compare=False, repr=False)
    original: str = field(compare=False, repr=False)

    @property
    def text(self) -> str:
        return self.write()

    @property
    def line(self) -> int:
        """The first line that differs."""
        pairs = enumerate(zip(self.original.splitlines(), self.text.splitlines()), start=1)
        return next((number for number, (left, right) in pairs if left != right), 1)


# ---------------------------------------------------------------- the template, line by line

# A value without spaces that is no YAML tag: in `Key: value`, `[a, b]`, `{Key: value}` or `- value`.
VALUE = re.compile(r"(?<=[:\[,-] )(?!!)'?(?:\$\{[^}]*\}|[\w*?./:%@#-])+'?(?<!:)(?=$|[,}\] ])|(?<=\[)(?!!)[\w./:-]+(?=[,\]])")
KEY = re.compile(r"^( *)(?:- )?([\w':/.-]+):(?: |$)")
# Texts that only people read, and what looks like a page of text.
FOR_PEOPLE = ("Description", "AlarmDescription", "Comment", "Sid", "Label", "DashboardBody", "DashboardName", "Default", "AllowedPattern")


def template_mutants(text: str) -> Iterator[Text]:
    lines = text.splitlines(keepends=True)
    for index in mutable_lines(lines):
        line = lines[index]
        block = block_of(lines, index)
        if is_one_of_several(lines, index, block) or KEY.match(line) and not line.lstrip().startswith("- "):
            shown = line.strip() + (" …" if block > index + 1 else "")
            shorter = lambda index=index, block=block: "".join(lines[:index] + lines[block:])
            yield Text(TEMPLATE, "left-out", f"{owner_of(lines, index)}: {shown}", "(left out)", shorter, text)
        for kind, now in changed_values(line.rstrip("\n")):
            other = lambda index=index, now=now: "".join(lines[:index] + [now + "\n"] + lines[index + 1:])
            yield Text(TEMPLATE, kind, f"{owner_of(lines, index)}: {line.strip()}", now.strip(), other, text)


def owner_of(lines: list[str], index: int) -> str:
    """The resource to which a line belongs."""
    above = (line for line in reversed(lines[:index + 1]) if re.match(r"  \w", line))
    return next(above, "").strip().rstrip(":")


def mutable_lines(lines: list[str]) -> Iterator[int]:
    """The lines below `Globals`, `Conditions` and `Resources` that a computer reads."""
    section, skip_below = "", None
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if skip_below is not None and indent > skip_below:
            continue
        skip_below = None
        if indent == 0:
            section = line.split(":")[0]
            continue
        key = KEY.match(line)
        if key and key.group(2) in FOR_PEOPLE:
            skip_below = indent
            continue
        is_type = indent == 4 and key and key.group(2) == "Type"
        if section in ("Globals", "Conditions", "Resources") and indent > 2 and not is_type:
            yield index


def block_of(lines: list[str], index: int) -> int:
    """The line after the block that begins here."""
    indent = len(lines[index]) - len(lines[index].lstrip())
    end = index + 1
    while end < len(lines) and lines[end].strip() and len(lines[end]) - len(lines[end].lstrip()) > indent:
        end += 1
    return end


def is_one_of_several(lines: list[str], index: int, block: int) -> bool:
    """Whether the line begins an element of a list with other elements."""
    indent = len(lines[index]) - len(lines[index].lstrip())
    starts = lines[index][:indent] + "- "
    return lines[index].startswith(starts) and (lines[index - 1].startswith(starts) or lines[block].startswith(starts))


def changed_values(line: str) -> Iterator[tuple[str, str]]:
    """The line with another value: numbers ten times as large, switches off, names of nothing, wider resources."""
    for match in VALUE.finditer(line.split(" #")[0]):
        value, (start, end) = match.group(), match.span()
        bare = value.strip("'")
        if bare in ("true", "false"):
            kind, now = "switch", value.replace(bare, "false" if bare == "true" else "true")
        elif bare.isdigit():
            kind, now = "number", value.replace(bare, f"{bare}0")
        elif bare in ("Allow", "Deny"):
            kind, now = "effect", "Deny" if bare == "Allow" else "Allow"
        elif bare in ("*", "2012-10-17"):
            continue
        else:
            kind, now = "name", value.replace(bare, f"{bare}-mutant")
        yield kind, line[:start] + now + line[end:]
    if match := re.search(r"Resource: (!\w+ )?[^'\n]+$", line):
        yield "wider", line[:match.start()] + "Resource: '*'"


# ---------------------------------------------------------------- the workflow file

# Numbers, texts and references that mean something.
NUMBERS = ("TimeoutSeconds", "IntervalSeconds", "MaxAttempts", "MaxDelaySeconds", "BackoffRate", "HeartbeatSeconds")
STATES = ("Next", "Default", "StartAt")
NAMES = ("StringEquals", "Variable", "ResultPath", "OutputPath", "InputPath", "action", "FunctionName", "Resource", "StringEqualsPath")
SWITCHES = ("BooleanEquals", "IsPresent", "End")
LEFT_OUT = ("Catch", "Retry", "Default", "TimeoutSeconds", "ResultSelector", "ResultPath", "OutputPath", "InputPath", "Result",
            "JitterStrategy", "MaxDelaySeconds", "Not", "Cause", "Error")
LISTS = ("Catch", "Retry", "Choices", "And", "Or", "ErrorEquals", "Branches")


def workflow_mutants(text: str) -> Iterator[Text]:
    machine = json.loads(text)
    original = written(machine)
    for path, value in walk(machine, ()):
        for kind, now, change in changes(machine, path, value):
            place = "/".join(str(part) for part in path)
            write = lambda path=path, change=change: changed_copy(machine, path, change)
            yield Text(WORKFLOW, kind, f"{place}: {json.dumps(value)[:120]}", now, write, original)


def changed_copy(machine: Any, path: tuple, change: Callable[[Any, Any], None]) -> str:
    mutant = copy.deepcopy(machine)
    change(at(mutant, path[:-1]), path[-1])
    return written(mutant)


def written(machine: Any) -> str:
    return json.dumps(machine, indent=2, ensure_ascii=False) + "\n"


def walk(value: Any, path: tuple) -> Iterator[tuple[tuple, Any]]:
    """Every value with its path, in the order of the file."""
    if path:
        yield path, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from walk(inner, (*path, key))


def at(machine: Any, path: tuple) -> Any:
    for key in path:
        machine = machine[key]
    return machine


def changes(machine: Any, path: tuple, value: Any) -> Iterator[tuple[str, str, Any]]:
    """The mutations of one value: a kind, the new value for people, and the change."""
    key = path[-1]
    if key in NUMBERS:
        for now in (value * 10, max(1, value // 10)):
            if now != value:
                yield "number", str(now), set_to(now)
    if key in STATES:
        for now in siblings_of(machine, path):
            if now != value:
                yield "next", now, set_to(now)
    if key in SWITCHES and isinstance(value, bool) and key != "End":
        yield "switch", str(not value).lower(), set_to(not value)
    if key in NAMES and isinstance(value, str):
        yield "name", f"{value}-mutant", set_to(f"{value}-mutant")
    if key in LEFT_OUT:
        yield "left-out", "(left out)", leave_out
    if isinstance(key, int) and path[-2] in LISTS and len(at(machine, path[:-1])) > 1:
        yield "left-out", "(left out)", leave_out
    if path[-2:-1] == ("Payload",) or path[-2:-1] == ("ResultSelector",) or path[-2:-1] == ("Parameters",) and key != "Payload":
        yield "left-out", "(left out)", leave_out


def siblings_of(machine: Any, path: tuple) -> list[str]:
    """Three states of the same machine as the reference: the first ones after it in the file."""
    if "States" not in path:
        return list(machine["States"])[1:3]
    last = len(path) - 1 - path[::-1].index("States")
    names = list(at(machine, path[:last + 1]))
    position = names.index(path[last + 1]) if last + 1 < len(path) - 1 else 0
    return [names[(position + step) % len(names)] for step in (2, 5, 9)]


def set_to(now: Any):
    def change(parent: Any, key: Any) -> None:
        parent[key] = now
    return change


def leave_out(parent: Any, key: Any) -> None:
    del parent[key]


def text_mutants(project: Path) -> list[Text]:
    """All mutants of both files."""
    template = template_mutants((project / TEMPLATE).read_text())
    workflow = workflow_mutants((project / WORKFLOW).read_text())
    return [*template, *workflow]
