"""`logcaster-guard mark`: what it refuses before it writes anything; see tests/cluster/test_people.py for the rest."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from tests.cli.test_asking import run
from tests.fakes.guarded import INTERVAL, TARGET, Guarded

WHY = ("--reason", "it loses data")


@pytest.fixture
async def scene() -> AsyncIterator[Guarded]:
    async with Guarded.serving(run=True, runs=True) as scene:
        await scene.clock.advance(INTERVAL)
        yield scene


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bad", "--revision", "9"], 2, "--revision: found 9; allowed one of 7 ("),
        (["bad", "--revision", "7", "--target", "other"], 2, "--target: found other"),
        (["not-bad", "--revision", "7"], 1, "nothing is written: revision 7 is unproven, not bad"),
        (["bad", "--revision", "7", "--target", TARGET.name], 2, "nobody can be asked here: say --yes"),
        (["good", "--revision", "7"], 2, "'good' is not one of"),
        (["bad"], 2, "Missing option '--revision'"),
    ],
)
async def test_what_cannot_be_meant_is_refused_in_words(
    scene: Guarded, arguments: list[str], code: int, words: str
) -> None:
    result = await run("mark", *arguments, *WHY, "--address", scene.url)
    assert result.exit_code == code, result.output
    assert words in result.stderr


async def test_what_is_known_and_what_follows_is_shown_before_a_person_is_asked(scene: Guarded) -> None:
    [known] = scene.guard.state.ledger(TARGET.key).records.values()
    result = await run("mark", "bad", "--revision", known.template[:6], *WHY, "--address", scene.url)
    assert f"{TARGET.key}: revision 7, logcaster/logcaster-c:1.0.0, unproven" in result.stdout
    assert known.template in result.stdout
    assert "It will never be gone back to; a rollback to it that is under way ends." in result.stdout


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 600])
async def test_a_reason_is_needed(scene: Guarded, reason: str) -> None:
    result = await run("mark", "bad", "--revision", "7", "--yes", "--reason", reason, "--address", scene.url)
    assert (result.exit_code, "--reason: " in result.stderr) == (2, True)


@pytest.mark.parametrize("revision", ["7", "0" * 63, "A" * 64])
async def test_without_a_daemon_only_the_whole_hash_will_do(revision: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    result = await run(
        "mark", "bad", "--target", "a/b", "--revision", revision, "--yes", *WHY, "--address", address
    )  # fmt: skip
    assert (result.exit_code, "the whole hash of the release's template" in result.stderr) == (3, True)
