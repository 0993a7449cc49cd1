"""Notices that configuration files were replaced as a ConfigMap mount does it: a symlink is swapped, none is written.

Files are looked at by `stat`: no notification reaches across every kind of volume, and a swap changes inode and time of
what the names lead to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

Fingerprint = tuple[tuple[str, int, int, int], ...]


def fingerprint(paths: Iterable[Path | str]) -> Fingerprint:
    """What these files, and the *.yaml and *.yml of these directories, are now; what is not there is left out."""
    return tuple(entry for path in paths for name in _names(Path(path)) for entry in _entry(name))


def _names(path: Path) -> Sequence[Path]:
    try:
        if path.is_dir():
            return sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml"} and not p.name.startswith("."))
    except OSError:
        return []
    return [path]


def _entry(name: Path) -> list[tuple[str, int, int, int]]:
    try:
        status = os.stat(name)  # noqa: PTH116 - follows the mount's links, in one call
    except OSError:
        return []
    return [(str(name), status.st_ino, status.st_mtime_ns, status.st_size)]
