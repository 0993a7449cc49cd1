"""What changes something over HTTP: who is let in, what is refused before it reaches Kubernetes, what is written."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from logcaster_guard.adapters.token_gate import TokenGate
from logcaster_guard.domain.errors import Unavailable
from logcaster_guard.domain.events import AnswerDenied, RevisionMarked, RunAnswered, RunClosed, RunOpened
from logcaster_guard.domain.inbox.commands import Wish
from logcaster_guard.domain.rules import Action
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Caller, Gate, Kind
from logcaster_guard.web.changes import MAX_BODY, Recent
from logcaster_guard.web.server import serving
from tests.engine.bench import KEY, PROD, Bench, bench, in_mid_run, rule
from tests.fakes.clock import FakeClock

HELD = "s3cret-of-the-one-on-call"
ASKS = rule(action=Action.ALERT_THEN)
WORDS = ("approve", "veto", "abandon", "freeze", "unfreeze", "resume", "mark", "rollback")
APPROVAL_TOKEN = "0123456789abcdef"  # noqa: S105 - it names a plan, and is no secret


class Reviews:
    """`ports.Gate`: tokens are names; those in `allowed` may change everything."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.known = {"alice", "bob", "eve\u202e\x1b[2J"}
        self.away = False
        self.asked: list[tuple[str, str, str, str]] = []

    async def caller(self, token: str) -> Caller | None:
        if self.away:
            raise Unavailable("the API server is away")
        return next((Caller(name) for name in self.known if name.startswith(token)), None)

    async def may_change(self, caller: Caller, kind: Kind, namespace: str, name: str) -> bool:
        self.asked.append((caller.name, str(kind), namespace, name))
        return caller.name in self.allowed

    async def aclose(self) -> None:
        pass


class Client:
    def __init__(self, url: str) -> None:
        self._url = url

    async def post(
        self,
        word: str,
        body: object = None,
        *,
        by: str | None = HELD,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        sent = {"Content-Type": "application/json", **(headers or {})}
        if by is not None:
            sent.setdefault("Authorization", f"Bearer {by}")
        content = json.dumps(body).encode() if raw is None else raw
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.post(f"{self._url}/api/v1/{word}", content=content, headers=sent)

    async def heard(self) -> list[Mapping[str, Any]]:
        async with httpx.AsyncClient(trust_env=False) as client:
            (target,) = (await client.get(f"{self._url}/api/v1/status")).json()["targets"]
            return list(target["heard"])


@contextlib.asynccontextmanager
async def served(guard: Guard, gate: Gate | None) -> AsyncIterator[Client]:
    async with serving(guard, "127.0.0.1:0", gate) as url:
        assert url is not None
        yield Client(url)


def freeze(**more: str) -> dict[str, str]:
    return {"target": KEY, "reason": "database move", **more}


async def asked(made: Bench) -> RunOpened:
    await made.bad_v2()
    await made.pass_(301.0)
    return made.told(RunOpened)[-1]


def noted(made: Bench) -> dict[str, str]:
    found: dict[str, str] = made.cluster.object(Kind.DEPLOYMENT, PROD)["metadata"]["annotations"]
    return {k.partition("/")[2]: v for k, v in found.items() if k.startswith("guard.logcaster.io/")}


async def test_without_a_gate_nothing_can_be_changed_by_anybody() -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, None) as client:
            answers = [await client.post(word, freeze(approval_token=APPROVAL_TOKEN)) for word in WORDS]
        assert {(a.status_code, "set web.auth" in a.json()["error"]) for a in answers} == {(403, True)}
        assert noted(made) == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Basic {HELD}"}, 401),
        ({"Authorization": HELD}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {HELD}x"}, 401),
        ({"Authorization": f"Bearer {HELD[:-1]}"}, 401),
        ({"Authorization": f"Bearer {HELD.upper()}"}, 401),
        ({"Cookie": f"token={HELD}"}, 401),
        ({"Authorization": f"Bearer {HELD}", "Content-Type": "text/plain"}, 415),
        ({"Authorization": f"Bearer {HELD}", "Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Authorization": f"Bearer {HELD}", "Origin": "https://elsewhere.example"}, 403),
        ({"Authorization": f"Bearer {HELD}", "Origin": "null"}, 403),
    ],
)
async def test_who_is_not_known_or_comes_from_a_foreign_page_is_refused(headers: dict[str, str], status: int) -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            answers = [
                await client.post(word, freeze(approval_token=APPROVAL_TOKEN), by=None, headers=headers)
                for word in WORDS
            ]
        for answer in answers:
            assert answer.status_code == status
            assert (answer.headers.get("WWW-Authenticate", "").startswith("Bearer")) == (status == 401)
            assert HELD not in answer.text
        assert noted(made) == {}


@pytest.mark.parametrize("content", [None, "", "\n", "  ", "\x00"])
@pytest.mark.parametrize("token", ["", " ", "x", "\t"])
async def test_a_token_that_is_empty_or_missing_lets_nobody_in(tmp_path: Path, content: str | None, token: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    gates = [TokenGate(Secret(file=str(file)).read), TokenGate(Secret(env="NO_SUCH_VARIABLE").read)]
    for gate in [*gates, TokenGate(lambda: content or "")]:
        assert await gate.caller(token) is None
        assert await gate.caller(content or "") is None


async def test_a_new_token_is_taken_up_and_the_old_one_is_nobodys(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    gate = TokenGate(Secret(file=str(file)).read)
    assert await gate.caller("first") is not None
    file.write_text("second\n")
    assert [await gate.caller(t) is not None for t in ("first", "second", "sécond", "second\ud800")] == [
        False, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b"[" * 16_000, 400),
        (b'{"target": 1, "reason": "r"}', 400),
        (b'{"target": "default/logcaster-prod", "reason": "r", "force": "yes"}', 400),
        (b'{"target": "default/other", "reason": "r"}', 404),
        (b'{"target": "default/logcaster-prod"}', 400),
        (b'{"target": "default/logcaster-prod", "reason": " "}', 400),
        (b'{"target": "default/logcaster-prod", "reason": "a\\nb"}', 400),
        (b'{"target": "default/logcaster-prod", "reason": "' + b"x" * 600 + b'"}', 400),
        (b'{"target": "default/logcaster-prod", "reason": "false: alarm"}', 409),
        (b'{"target": "' + b"x" * MAX_BODY + b'"}', 413),
    ],
)
async def test_a_body_that_cannot_be_understood_writes_nothing(raw: bytes, status: int) -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            answer = await client.post("freeze", raw=raw)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
        assert noted(made) == {}


@pytest.mark.parametrize(
    "approval_token", ["", "x", APPROVAL_TOKEN.upper(), APPROVAL_TOKEN + "0", "*" * 16, "\u0660" * 16]
)
async def test_an_answer_needs_its_approval_token(approval_token: str) -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            for word in ("approve", "veto", "abandon", "rollback"):
                answer = await client.post(word, freeze(approval_token=approval_token))
                assert (answer.status_code, "approval_token: the 16 digits" in answer.json()["error"]) == (400, True)


async def test_only_whom_kubernetes_lets_patch_the_workload_may_freeze_it_and_their_name_is_told() -> None:
    async with bench() as made:
        await made.start()
        gate = Reviews("alice")
        async with served(made.guard, gate) as client:
            answer = await client.post("freeze", freeze(), by="bob")
            assert (answer.status_code, "bob may not patch Deployment default/" in answer.json()["error"]) == (
                403,
                True,
            )
            assert noted(made) == {}
            answer = await client.post("freeze", freeze(), by="alice")
            assert (answer.status_code, answer.json()["by"]) == (202, "alice")
        assert gate.asked == [(who, "Deployment", "default", PROD) for who in ("bob", "alice")]
        assert noted(made) == {"freeze": "database move (by alice)"}
        await made.pass_(60.0)
        freeze_ = made.guard.state.ledger(KEY).freeze
        assert freeze_ is not None
        assert freeze_.reason == "database move (by alice)"
        gate.allowed.clear()
        async with served(made.guard, gate) as client:
            assert (await client.post("unfreeze", freeze(), by="alice")).status_code == 403


async def test_where_kubernetes_cannot_be_asked_nothing_is_done() -> None:
    async with bench() as made:
        await made.start()
        gate = Reviews("alice")
        gate.away = True
        async with served(made.guard, gate) as client:
            answer = await client.post("freeze", freeze(), by="alice")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert noted(made) == {}


async def test_without_a_journal_nothing_is_taken_in_that_it_could_not_tell_of() -> None:
    async with bench() as made:
        made.journal, made.journal_fault = None, "it is damaged"
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            answers = [await client.post(word, freeze()) for word in ("freeze", "unfreeze", "resume")]
            answers.append(await client.post("mark", freeze(mark="bad", revision="1")))
        assert {a.status_code for a in answers} == {503}
        assert all("no usable journal" in a.json()["error"] for a in answers)
        assert noted(made) == {}


async def test_a_veto_over_http_counts_and_can_be_followed_by_its_digest() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        async with served(made.guard, Reviews("alice")) as client:
            body = freeze(approval_token=opened.approval_token)
            wrong = await client.post("veto", {**body, "approval_token": APPROVAL_TOKEN}, by="alice")
            assert (wrong.status_code, "another run or plan" in wrong.json()["error"]) == (409, True)
            answer = await client.post("veto", body, by="alice")
            assert (answer.status_code, answer.json()["approval_token"]) == (202, opened.approval_token)
            await made.pass_(5.0)
            [closed] = made.told(RunClosed)
            assert closed.outcome == "vetoed"
            assert english().text(closed.reason) == "somebody vetoed it: by alice: database move"
            (heard,) = await client.heard()
            assert (heard["digest"], heard["counted"], heard["run"]) == (answer.json()["digest"], True, opened.run)
            # The same once more, word for word, after the run.
            again = await client.post("veto", body, by="alice")
            assert (again.status_code, "no rollback is open" in again.json()["error"]) == (409, True)
        assert (len(made.told(RunAnswered)), made.told(AnswerDenied)) == (1, [])


async def test_an_open_run_is_abandoned_and_the_guards_freeze_lifted_over_http() -> None:
    async with bench() as made:
        await in_mid_run(made)
        [opened] = made.told(RunOpened)
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            early = await client.post("approve", freeze(approval_token=opened.approval_token))
            assert (early.status_code, "does not ask any more" in early.json()["error"]) == (409, True)
            assert (await client.post("abandon", freeze(approval_token=opened.approval_token))).status_code == 202
            await made.pass_(10.0)
            [closed] = made.told(RunClosed)
            assert (closed.outcome, closed.freeze) == ("abandoned", True)
            assert "by the holder of the guard's token: database move" in english().text(closed.reason)
            assert (await client.post("resume", freeze())).status_code == 202
            await made.pass_(60.0)
            assert made.guard.state.ledger(KEY).freeze is None
            again = await client.post("resume", freeze())
            assert (again.status_code, again.json()["error"]) == (409, "Nothing is written: it is not frozen.")


async def test_a_rollback_over_http_is_that_of_the_plan_that_was_shown() -> None:
    async with bench() as made:
        await made.bad_v2()
        await made.pass_(60.0)
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            runs = made.guard.watches[KEY].manual
            shown = await runs.preview(Wish(Action.IMMEDIATE))
            assert isinstance(shown, Preview)
            body = freeze(approval_token=shown.approval_token, action="immediate_rollback")
            for wrong, status in (({"action": "sideways"}, 400), ({"to": "1 2"}, 400)):
                assert (await client.post("rollback", {**body, **wrong})).status_code == status
            assert (await client.post("rollback", body)).status_code == 202
        await made.pass_(60.0)
        [opened] = made.told(RunOpened)
        assert opened.rule == "manual"
        assert "by the holder of the guard's token: database move" in english().text(opened.reason)


async def test_a_release_is_marked_over_http_by_whom_kubernetes_lets_and_lifted_again() -> None:
    async with bench() as made:
        await made.good_v1()
        [known] = made.guard.state.ledger(KEY).records.values()
        bad = freeze(mark="bad", revision=known.revision)
        async with served(made.guard, Reviews("alice")) as client:
            wrong = [
                ({"mark": "good"}, 400),
                ({"mark": ""}, 400),
                ({"revision": ""}, 400),
                ({"revision": "1 2"}, 400),
                ({"revision": "9"}, 409),
                ({"mark": "not-bad"}, 409),
                ({"approval_token": APPROVAL_TOKEN}, 400),
            ]
            for more, status in wrong:
                answer = await client.post("mark", {**bad, **more}, by="alice")
                assert (answer.status_code, list(answer.json())) == (status, ["error"]), more
            assert (await client.post("mark", bad, by="bob")).status_code == 403
            assert noted(made) == {}
            answer = await client.post("mark", bad, by="alice")
            assert (answer.status_code, answer.json()["annotation"]) == (202, "guard.logcaster.io/mark")
            assert answer.json()["value"].startswith(f"{known.template} ")
            await made.pass_(60.0)
            (heard,) = await client.heard()
            assert (heard["digest"], heard["counted"]) == (answer.json()["digest"], True)
            marked = made.guard.state.ledger(KEY).records[known.template]
            assert english().text(marked.bad_reason) == "a person marked it bad: by alice: database move"
            lift = {**bad, "mark": "not-bad", "revision": known.template[:8]}
            assert (await client.post("mark", lift, by="alice")).status_code == 202
            await made.pass_(60.0)
        assert made.guard.state.ledger(KEY).records[known.template].bad_since is None
        assert [m.mark for m in made.told(RevisionMarked)] == ["bad", "not-bad"]


async def test_names_cannot_pass_for_something_else_in_what_is_written() -> None:
    async with bench(rules=[ASKS]) as made:
        opened = await asked(made)
        async with served(made.guard, Reviews("eve\u202e\x1b[2J")) as client:
            answer = await client.post("veto", freeze(approval_token=opened.approval_token), by="eve")
        assert answer.status_code == 202
        await made.pass_(5.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["vetoed"]
        assert noted(made)["veto"].isprintable()


async def test_who_fails_again_and_again_waits_and_the_right_token_from_there_counts_all_the_same() -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            answers = [await client.post("freeze", freeze(), by="wrong") for _ in range(12)]
            assert [a.status_code for a in answers] == [401] * 10 + [429] * 2
            assert int(answers[-1].headers["Retry-After"]) <= 60
            assert (await client.post("freeze", freeze())).status_code == 202
            await made.pass_(61.0)
            assert (await client.post("freeze", freeze(), by="wrong")).status_code == 401


async def test_guesses_from_an_address_that_failed_are_asked_about_one_at_a_time() -> None:
    gate = Reviews("alice")
    at_once, most = 0, 0
    known = gate.caller

    async def slow(token: str) -> Caller | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return await known(token)

    gate.caller = slow  # type: ignore[method-assign]
    async with bench() as made:
        await made.start()
        async with served(made.guard, gate) as client:
            for _ in range(10):
                await client.post("freeze", freeze(), by="guess")
            most = 0
            guesses = [client.post("freeze", freeze(), by="guess") for _ in range(20)]
            *refused, right = await asyncio.gather(*guesses, client.post("freeze", freeze(), by="alice"))
    assert {a.status_code for a in refused} == {429}
    assert right.status_code == 202
    assert most == 1


async def test_who_only_knocks_cannot_fill_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            codes = [(await client.post("freeze", freeze(), by=None)).status_code for _ in range(30)]
    out, err = capfd.readouterr()
    assert codes == [401] * 30
    assert (out + err).count("web.refused") == 10


async def test_guesses_at_once_are_counted_one_by_one() -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, Reviews()) as client:
            answers = await asyncio.gather(*(client.post("freeze", freeze(), by="guess") for _ in range(40)))
        # Those that are asked about at the same time are not known to fail yet.
        assert sum(a.status_code == 401 for a in answers) <= 10 + 3


def test_addresses_that_failed_are_forgotten_before_they_fill_the_memory() -> None:
    clock = FakeClock()
    failures = Recent(clock.monotonic)
    for number in range(5_000):
        failures.note(str(number))
    assert len(failures._seen) == 1_024


async def test_get_changes_nothing_and_other_paths_take_no_post() -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client, httpx.AsyncClient(trust_env=False) as http:
            got = await http.get(f"{client._url}/api/v1/freeze", headers={"Authorization": f"Bearer {HELD}"})
            assert (got.status_code, got.headers["Allow"]) == (405, "POST")
            assert (await client.post("status", {})).status_code == 405
            assert (await client.post("nothing", {})).status_code == 405
            assert (await client.post("freeze?target=x", freeze())).status_code == 400
        assert noted(made) == {}


async def test_no_token_is_told_or_logged(capfd: pytest.CaptureFixture[str]) -> None:
    async with bench() as made:
        await made.start()
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            await client.post("freeze", freeze(), by="a-guess-that-is-secret-too")
            await client.post("freeze", freeze())
    out, err = capfd.readouterr()
    assert "web.asked" in out + err
    assert HELD not in out + err
    assert "a-guess-that" not in out + err
