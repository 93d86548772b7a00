"""The copy of the project with the mutants in it, and its build."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sites import ON, Site, has_syntax_error

HERE = Path(__file__).resolve().parent
ROOTS = ("functions/src/lib.rs", "simulator/src/lib.rs")

# Test binaries that judge no mutant: the emulator's test needs minutes, the crates without mutants cannot notice any.
NOT_JUDGES = ("end_to_end", "stackdrop-specs", "stackdrop-statemachine", "stackdrop-figures")


@dataclass(frozen=True)
class Binary:
    """A test binary: its name as cargo's target has it, its program, and the folder in which it runs."""

    package: str
    name: str
    program: str
    folder: str


class Copy:
    """The project under `target/mutants/copy`. Its own sources are restored after the build, since tests read them."""

    def __init__(self, project: Path, work: Path):
        self.project, self.folder, self.target = project, work / "copy", work / "build"
        self.record = work / "build.json"

    # ------------------------------------------------------------------ sources

    def refresh(self) -> None:
        """Copies what differs, so that cargo builds only that again."""
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=self.project,
                                check=True, capture_output=True, text=True).stdout
        files = [file for file in listed.split("\0") if file and (self.project / file).is_file()]
        for file in files:
            self.write(file, (self.project / file).read_bytes())
        for file in set(self.sources()) - set(files):
            (self.folder / file).unlink()

    def sources(self) -> list[str]:
        """The files of the copy, without what its tests write into its `target`."""
        paths = [path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file()]
        return sorted(path.as_posix() for path in paths if path.parts[0] != "target")

    def write(self, file: str, content: bytes) -> None:
        path = self.folder / file
        if path.is_file() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def mutated(self, mutants: dict[int, Site]) -> dict[str, bytes]:
        """The files of the copy that differ from the project: those with mutants, with a switch or with a text."""
        files = {file: (self.project / file).read_bytes() for file in {site.file for site in mutants.values()} | set(ROOTS)}
        for file in list(files):
            inside = {number: site for number, site in mutants.items() if site.file == file}
            files[file] = self.with_switches(files[file], inside)
        for root in ROOTS:
            files[root] += b"\n#[allow(missing_docs, clippy::all)]\npub mod mutant;\n"
        switch = (HERE / "mutant.rs").read_bytes()
        files["functions/src/mutant.rs"] = switch + (HERE / "first_page.rs").read_bytes()
        files["simulator/src/mutant.rs"] = switch
        files.update(self.with_texts())
        broken = [file for file, content in files.items() if file.endswith(".rs") and has_syntax_error(content)]
        if broken:
            raise SystemExit(f"the mutated sources have a syntax error: {broken}")
        return files

    @staticmethod
    def with_switches(source: bytes, mutants: dict[int, Site]) -> bytes:
        for number, site in sorted(mutants.items(), key=lambda pair: -pair[1].start):
            code = site.code.replace(ON, f"crate::mutant::on({number})").encode()
            source = source[:site.start] + code + source[site.end:]
        return source

    def with_texts(self) -> dict[str, bytes]:
        """Sources that read the template and the workflow file when they run, instead of containing them."""
        files = {"src/mutant_texts.rs": (HERE / "texts.rs").read_bytes()}
        for path in sorted([*(self.project / "src").rglob("*.rs"), *(self.project / "tests").rglob("*.rs")]):
            file = path.relative_to(self.project).as_posix()
            source = path.read_text()
            if file.startswith("tests/mutants/") or not re.search(r"\b(TEMPLATE|WORKFLOW)\b|include_str!", source):
                continue
            changed = self.reading(source, file)
            if changed != source:
                files[file] = changed.encode()
        library = files.get("src/lib.rs", (self.project / "src/lib.rs").read_bytes())
        files["src/lib.rs"] = library + b"\n#[allow(missing_docs, clippy::all)]\npub mod mutant_texts;\n"
        return files

    def reading(self, source: str, file: str) -> str:
        crate = "crate" if file.startswith("src/") else "stackdrop"
        has_own = re.search(r"const (TEMPLATE|WORKFLOW): &str = \"", source)
        source = re.sub(r"pub const (TEMPLATE|WORKFLOW): &str = include_str!\([^)]*\);", rf"pub use {crate}::mutant_texts::\1;", source)
        for name, text in (("TEMPLATE", "template.yaml"), ("WORKFLOW", "statemachine/deploy.asl.json")):
            source = re.sub(rf'include_str!\("[./]*{re.escape(text)}"\)', f"*{crate}::mutant_texts::{name}", source)
        # Tests that read the functions' code read the original.
        source = re.sub(r'include_str!\("[./]*(functions/src/[^"]*)"\)',
                        lambda match: f'include_str!("{self.project / match.group(1)}")', source)
        if has_own:
            return source
        parts = re.split(r"((?:pub )?use [^;]*;|//[^\n]*)", source)
        parts[::2] = [re.sub(r"(?<![\w:*])(TEMPLATE|WORKFLOW)\b", r"(*\1)", part) for part in parts[::2]]
        return "".join(parts)

    # ------------------------------------------------------------------ build

    def seed_target(self) -> None:
        """Takes over the compiled dependencies, as links: the AWS SDKs alone would take an hour."""
        own = self.project / "target"
        source = Path(os.environ.get("CARGO_TARGET_DIR", own)) / "debug"
        target = self.target / "debug"
        if target.exists() or not (source / "deps").exists():
            return
        print("Taking over the compiled dependencies", flush=True)
        for folder in ("build", "deps", ".fingerprint"):
            # Cargo rewrites fingerprints and lists of dependencies in place: these must be no links.
            link = shutil.copy2 if folder == ".fingerprint" else os.link
            ignored = shutil.ignore_patterns("*stackdrop*")
            shutil.copytree(source / folder, target / folder, copy_function=link, ignore=ignored, symlinks=True)
        for path in (target / "deps").iterdir():
            if path.suffix in ("", ".d") and path.is_file():
                path.unlink()

    def build(self, mutants: dict[int, Site], log: Path) -> tuple[dict[int, Site], list[Binary]]:
        """Builds all tests with the mutants that compile. Returns those, and the test binaries."""
        self.refresh()
        stamp = self.stamp(mutants)
        if self.record.exists():
            last = json.loads(self.record.read_text())
            if last["stamp"] == stamp and all(Path(binary["program"]).exists() for binary in last["binaries"]):
                kept = {number: site for number, site in mutants.items() if number in last["kept"]}
                return kept, [Binary(**binary) for binary in last["binaries"]]
        self.seed_target()
        kept = dict(mutants)
        for attempt in range(1, 9):
            print(f"Building with {len(kept)} switches (attempt {attempt})", flush=True)
            files = self.mutated(kept)
            for file, content in files.items():
                self.write(file, content)
            messages, succeeded = self.cargo(log)
            if succeeded:
                self.refresh()
                binaries = self.binaries(messages)
                record = {"stamp": stamp, "kept": sorted(kept), "binaries": [vars(binary) for binary in binaries]}
                self.record.write_text(json.dumps(record, indent=1))
                return kept, binaries
            broken = self.broken(messages, kept)
            if not broken:
                raise SystemExit(f"the copy does not compile, and no mutant is the reason: see {log}")
            for number in broken:
                site = kept.pop(number)
                print(f"  does not compile: {site.file}:{site.line} {site.kind}", flush=True)
                # It may have been the file's only mutant.
                self.write(site.file, (self.project / site.file).read_bytes())
        raise SystemExit(f"the copy still does not compile: see {log}")

    def cargo(self, log: Path) -> tuple[list[dict], bool]:
        command = ["cargo", "test", "--workspace", "--no-run", "--message-format=json"]
        environment = {**os.environ, "CARGO_TARGET_DIR": str(self.target)}
        with log.open("a") as errors:
            run = subprocess.run(command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        messages = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        with log.open("a") as errors:
            for message in compiler_errors(messages):
                errors.write(message["rendered"] + "\n")
        return messages, run.returncode == 0

    @staticmethod
    def broken(messages: list[dict], mutants: dict[int, Site]) -> set[int]:
        """The mutants at which rustc reports errors: those that contain the place, otherwise the nearest before it."""
        found = set()
        for error in compiler_errors(messages):
            for span in error["spans"] or []:
                inside = {number: site for number, site in mutants.items() if site.file == span["file_name"]}
                places = places_of(inside)
                at = {number for number, (start, end) in places.items()
                      if start <= span["byte_end"] and span["byte_start"] <= end}
                found |= at
            if not any(site.file == span["file_name"] for span in error["spans"] for site in mutants.values()):
                continue
            if not found:
                span = error["spans"][0]
                before = [(start, number) for number, (start, _) in places_of(
                    {n: site for n, site in mutants.items() if site.file == span["file_name"]}).items() if start <= span["byte_start"]]
                found |= {max(before)[1]} if before else set()
        return found

    def binaries(self, messages: list[dict]) -> list[Binary]:
        found = []
        for message in messages:
            if message.get("reason") != "compiler-artifact" or not message["profile"]["test"] or not message["executable"]:
                continue
            folder = Path(message["manifest_path"]).parent
            package = re.search(r'name = "([\w-]+)"', (folder / "Cargo.toml").read_text().split("[package]")[1]).group(1)
            kind = message["target"]["kind"][0]
            name = message["target"]["name"] if kind == "test" else f"{kind} {package}"
            if name not in NOT_JUDGES and package not in NOT_JUDGES:
                found.append(Binary(package, name, message["executable"], str(folder)))
        return sorted(found, key=lambda binary: (binary.package, binary.name))

    def stamp(self, mutants: dict[int, Site]) -> str:
        """Names a build: the sources of the project, and the mutants in them."""
        digest = hashlib.sha256(repr(sorted(mutants.items())).encode())
        for file in self.sources():
            digest.update(file.encode() + (self.folder / file).read_bytes())
        for path in sorted(HERE.glob("*.rs")):
            digest.update(path.read_bytes())
        return digest.hexdigest()


def compiler_errors(messages: list[dict]) -> list[dict]:
    found = [message["message"] for message in messages if message.get("reason") == "compiler-message"]
    return [message for message in found if message["level"].startswith("error")]


def places_of(mutants: dict[int, Site]) -> dict[int, tuple[int, int]]:
    """Where the code of each mutant of one file is in the mutated file."""
    places, shift = {}, 0
    for number, site in sorted(mutants.items(), key=lambda pair: pair[1].start):
        length = len(site.code.replace(ON, f"crate::mutant::on({number})").encode())
        places[number] = (site.start + shift, site.start + shift + length)
        shift += length - (site.end - site.start)
    return places
