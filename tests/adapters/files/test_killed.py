"""A guard that is killed while it builds or exchanges: it is found done, or begun anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.adapters.files.samples import Site


@pytest.mark.parametrize(("way", "every", "least"), [("build", 46, 4), ("repeat", 2, 12), ("other", 2, 12)])
def test_killed_at_any_call_it_is_found_done_or_begun_anew(quick_site: Site, way: str, every: int, least: int) -> None:
    command = [sys.executable, "-m", "tests.adapters.files.killed", str(quick_site.folder), way, str(every)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.stderr == ""
    assert int(done.stdout) >= least


@pytest.mark.slow
def test_killed_at_each_call_of_a_build(quick_site: Site) -> None:
    command = [sys.executable, "-m", "tests.adapters.files.killed", str(quick_site.folder), "build", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)
    assert done.stderr == ""
    assert int(done.stdout) >= 150
