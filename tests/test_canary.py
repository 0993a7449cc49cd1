"""The search for what Secrets hold finds it in whatever form, and says where."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from logcaster_guard.domain.events import SignalSeen
from tests import canary, conftest
from tests.canary import ONE, TWO, encoded
from tests.cluster import planes
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.journal import MemoryJournal


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(3))
def test_a_value_is_found_in_base64_wherever_it_stands_in_what_was_encoded(before: int, after: int) -> None:
    assert canary.is_in(base64.b64encode(b"x" * before + ONE.encode() + b"y" * after))


def test_a_value_is_found_plain_and_as_a_digest_that_has_no_key() -> None:
    for text in (ONE, encoded(TWO)):
        assert canary.is_in(f"password={text}")
        assert canary.is_in(hashlib.sha256(text.encode()).hexdigest())
    assert not canary.is_in(canary.CANARY[:-1])


def test_what_was_written_is_told_once_with_its_place() -> None:
    canary.note("a log", "nothing")
    canary.note("a log", ONE)
    canary.note("a log", TWO)
    assert canary.told() == ["A Secret's value stands in a log, where nothing of a Secret may be."]
    assert canary.told() == []


def test_files_that_hold_it_are_found_other_than_where_an_api_server_keeps_secrets(tmp_path: Path) -> None:
    # They are gone before the files of all tests are searched.
    name = {"resource": "secrets"}
    asked = {"objectRef": name, "requestObject": {"data": {"password": encoded(ONE)}}}
    leaking = {"objectRef": {"resource": "configmaps"}, "requestObject": {"data": {"password": ONE}}}
    places = ("etcd/wal", "quiet/audit.jsonl", "loud/audit.jsonl", "deep/er/journal.db", "clean")
    files = [tmp_path / place for place in places]
    try:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        files[0].write_text(ONE)
        files[1].write_text(json.dumps(asked) + "\n")
        files[2].write_text(json.dumps(asked) + "\n" + json.dumps(leaking) + "\n")
        files[3].write_bytes(b"\0\xff" + encoded(TWO).encode())
        files[4].write_text("nothing")
        assert set(canary.files_with_it(tmp_path)) == {files[2], files[3]}
    finally:
        for file in files:
            file.unlink()


@pytest.mark.parametrize("secrets", [True, False])
async def test_what_was_written_to_an_api_server_is_searched_where_there_are_secrets(
    tmp_path: Path, *, secrets: bool
) -> None:
    async with planes.sandbox(tmp_path) as cluster:
        path = f"/api/v1/namespaces/{cluster.namespace}"
        if secrets:
            await cluster.admin.create(f"{path}/secrets", {"metadata": {"name": "a"}, "data": {"k": encoded(ONE)}})
        await cluster.admin.create(f"{path}/configmaps", {"metadata": {"name": "b"}, "data": {"k": ONE}})
        await cluster.admin.delete(f"{path}/configmaps/b")
    told = [f"A Secret's value stands in configmaps {cluster.namespace}/b, where nothing of a Secret may be."]
    assert canary.told() == (told if secrets else [])


async def test_what_a_journal_and_blobs_in_memory_take_is_searched() -> None:
    canary.plays()
    await MemoryJournal().append("run/1", [SignalSeen(datetime(2026, 1, 1, tzinfo=UTC), ONE)], 0)
    await MemoryBlobs().put(ONE.encode())
    assert [sentence.split(", ")[0] for sentence in canary.told()] == [
        "A Secret's value stands in the journal",
        "A Secret's value stands in a blob",
    ]


def test_a_file_that_holds_it_fails_the_whole_run_with_its_name(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.write_text(ONE)
    factory = SimpleNamespace(getbasetemp=lambda: tmp_path)
    config = SimpleNamespace(stash=pytest.Stash(), _tmp_path_factory=factory)
    session = SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)
    try:
        conftest.pytest_sessionfinish(session)  # type: ignore[arg-type] # what it asks of one
    finally:
        journal.unlink()
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert config.stash[conftest.LEAKS] == [f"A Secret's value stands in {journal}, where nothing of a Secret may be."]
