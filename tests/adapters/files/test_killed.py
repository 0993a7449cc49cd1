"""A guard that is killed while it builds or exchanges: it is found done, or begun anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.adapters.files.samples import Site


def kills(site: Site, *ways: str) -> list[int]:
    """How often a child was killed; whatever came of it otherwise ends the whole."""
    command = [sys.executable, "-m", "tests.adapters.files.killed", str(site.folder), *ways]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    assert done.stderr == ""
    return [int(line) for line in done.stdout.split()]


def test_killed_at_any_call_it_is_found_done_or_begun_anew(quick_site: Site) -> None:
    build, repeat, other = kills(quick_site, "build=46", "repeat=2", "other=2")
    assert build >= 4
    assert min(repeat, other) >= 12


@pytest.mark.slow
def test_killed_at_each_call_of_a_build(quick_site: Site) -> None:
    assert kills(quick_site, "build=1") >= [150]
