"""What Secrets hold in tests, and the search for it wherever nothing of a Secret may be.

Every Secret that a guard may see holds a value that begins with `CANARY`. What is written while tests run is searched
for it: files at the end of the session, everything else on the way (`note`), and the test in which it was found tells.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any

CANARY = "canary-4711-kept-in-a-secret"
ONE, TWO, THREE = (f"{CANARY}-{number}" for number in ("one", "two", "three"))
KEEPERS = frozenset({"etcd"})
"""Folders in which an API server keeps Secrets."""
AUDIT_LOG = "audit.jsonl"
_PART = 1 << 24


def encoded(value: str) -> str:
    """As a Secret's `data` holds it."""
    return base64.b64encode(value.encode()).decode()


def _aligned() -> Iterator[bytes]:
    """What every base64 of it holds, wherever in a text it stands: what its neighbours leave as it is."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + CANARY.encode())
        bits, known = 8 * before, 8 * (before + len(CANARY))
        yield whole[-(-bits // 6) : known // 6]


def _digests() -> Iterator[bytes]:
    for value in (ONE, TWO, THREE):
        for text in (value, encoded(value)):
            yield hashlib.sha256(text.encode()).hexdigest().encode()


FORMS = (CANARY.encode(), *_aligned(), *_digests())
"""What a value may look like where it is not meant to be; a plain digest tells a short one."""

found: list[str] = []
"""Where it was found since somebody last asked."""
in_play = False
"""Whether this test has made a Secret, so that what costs more to search is searched."""


def is_in(content: bytes | str) -> bool:
    """Whether a Secret's value stands in it, in any form."""
    data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    return any(form in data for form in FORMS)


def plays() -> None:
    """A test makes a Secret."""
    global in_play  # noqa: PLW0603 - of the test that runs now
    in_play = True


def note(place: str, content: bytes | str) -> None:
    """Remember the place where a Secret's value stands in what was written there."""
    if is_in(content):
        found.append(place)


def told() -> list[str]:
    """A sentence for each place where it was found, told once; the next test begins."""
    global in_play  # noqa: PLW0603 - of the test that runs now
    places = dict.fromkeys(found)
    found.clear()
    in_play = False
    return [f"A Secret's value stands in {place}, where nothing of a Secret may be." for place in places]


def files_with_it(root: Path) -> Iterator[Path]:
    """The files below a folder that hold it, other than those in which an API server keeps Secrets."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in KEEPERS]
        for file in (Path(folder, name) for name in names):
            # Tests leave behind what cannot be read, and what goes away meanwhile.
            with contextlib.suppress(OSError):
                if S_ISREG(file.lstat().st_mode) and _tells(file):
                    yield file


def _tells(file: Path) -> bool:
    if file.name != AUDIT_LOG:
        return any(map(is_in, _parts(file)))
    return any(_is_told(json.loads(line)) for line in file.read_bytes().splitlines() if is_in(line))


def _parts(file: Path) -> Iterator[bytes]:
    """A file in pieces that overlap."""
    before = b""
    with file.open("rb") as opened:
        while part := opened.read(_PART):
            yield before + part
            before = part[-max(map(len, FORMS)) :]


def _is_told(request: Mapping[str, Any]) -> bool:
    """Whether a request other than one for Secrets holds it."""
    return (request.get("objectRef") or {}).get("resource") != "secrets"
