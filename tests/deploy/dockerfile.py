"""The Dockerfile, read as the instructions that a builder would follow."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, its flags (`--from=…`), and the rest as written."""

    name: str
    flags: Mapping[str, str]
    rest: str

    @property
    def words(self) -> Sequence[str]:
        """The arguments: of the exec form if it is one, else split at blanks."""
        if self.rest.startswith("["):
            found = json.loads(self.rest)
            assert isinstance(found, list)
            return [str(word) for word in found]
        return self.rest.split()


def instructions() -> list[Instruction]:
    """All of them, comments and continuations resolved, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in filter(None, map(str.strip, whole.splitlines())):
        name, _, rest = line.partition(" ")
        flags = {}
        while match := re.match(r"--([a-z]+)=(\S+)\s+", rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        found.append(Instruction(name.upper(), flags, rest))
    return found


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def sent_to_builder(path: str) -> bool:
    """Whether `.dockerignore` lets the file through: the last pattern that matches it or a folder of it decides."""
    sent = True
    parts = path.split("/")
    prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        names = parts if pattern.startswith("**/") else prefixes
        if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
            sent = wanted
    return sent
