"""Writes what this version leaves behind: `python -m tests.versions VERSION`."""

from __future__ import annotations

import sys

from tests.versions.kept import FOLDER, write

write(FOLDER / sys.argv[1])
