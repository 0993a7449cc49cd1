"""What may be changed over HTTP, by whom, and how often somebody may fail to say who they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from logcaster_guard.domain.errors import ClusterError
from logcaster_guard.domain.inbox.annotations import Denied, objection_to_reason
from logcaster_guard.domain.inbox.commands import (
    ASKABLE,
    Mark,
    RunCommand,
    is_approval_token,
    is_name_of_release,
    wished,
)
from logcaster_guard.domain.inbox.freezes import FreezeCommand
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.domain.rules import Action
from logcaster_guard.engine.command_writer import CommandWriter, Said, Written
from logcaster_guard.engine.manual_runs import ManualRuns
from logcaster_guard.engine.read_model import ReadModel
from logcaster_guard.messages.texts import english, phrase
from logcaster_guard.ports import Caller, Clock, Gate

MAX_BODY = 16 << 10
PATH = "/api/v1/"

_BODY_WITHIN = 10.0
_OFTEN, _WITHIN, _PEERS = 10, 60.0, 1_024
_AT_ONCE = 4
_CHALLENGE = 'Bearer realm="logcaster-guard"'

Json = dict[str, str]
Say = Callable[[Said, Json], Awaitable[Written | Denied]]


class NotTaken(Exception):
    """A request that is refused: the status, why, and headers. Its own text is English."""

    def __init__(self, status: int, why: Reason, **headers: str) -> None:
        super().__init__(english().text(why))
        self.status = status
        self.why = why
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Recent:
    """How often something happened lately, by the address that it came from; at most `_PEERS` are remembered."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, peer: str) -> float:
        """Seconds until it has happened fewer than `_OFTEN` times within `_WITHIN` seconds; 0 if it has now."""
        seen, now = self._seen.get(peer), self._monotonic()
        if seen is None or len(seen) < _OFTEN:
            return 0.0
        return max(0.0, seen[0] + _WITHIN - now)

    def note(self, peer: str) -> None:
        """It happened once more."""
        self._seen.setdefault(peer, deque(maxlen=_OFTEN)).append(self._monotonic())
        self._seen.move_to_end(peer)
        while len(self._seen) > _PEERS:
            self._seen.popitem(last=False)


class ServedGuard(Protocol):
    """What is served of a guard. Its inside begins anew with each term, so each part is asked for when it is needed."""

    @property
    def read_model(self) -> ReadModel:
        """What is shown."""

    @property
    def commands(self) -> CommandWriter:
        """What writes on the workload what people say."""

    @property
    def clock(self) -> Clock:
        """The guard's clock."""

    def manual(self, target: str) -> ManualRuns:
        """The rollbacks of this target that people ask for."""


class Changes:
    """Answers POST requests with what was written on the workload. With no `gate` nothing can be changed."""

    def __init__(self, guard: ServedGuard, gate: Gate | None) -> None:
        self._guard = guard
        self._gate = gate
        self._failures = Recent(guard.clock.monotonic)
        self._told = Recent(guard.clock.monotonic)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._suspected = asyncio.Lock()
        self._log = structlog.get_logger()
        self._ways: Mapping[str, tuple[frozenset[str], Say]] = {
            **{str(command): (frozenset({"approval_token"}), self._answering(command)) for command in RunCommand},
            **{str(command): (frozenset(), self._freezing(command)) for command in FreezeCommand},
            "mark": (frozenset({"mark", "revision"}), self._mark),
            "rollback": (frozenset({"approval_token", "action", "to", "only"}), self._roll_back),
        }

    @property
    def words(self) -> frozenset[str]:
        """The last part of each path."""
        return frozenset(self._ways)

    async def take(self, word: str, request: web.Request) -> tuple[dict[str, Any], int]:
        """What is answered, and the status; raises `NotTaken`."""
        try:
            return await self._taken(word, request)
        except ClusterError as error:
            refusal = NotTaken(503, phrase("web.not_now", error=error.reason), Retry_After="5")
        except NotTaken as error:
            refusal = error
        peer = request.remote or ""
        if not self._told.wait(peer):
            # No more lines a minute than that: whoever reaches the port must not fill the log.
            self._told.note(peer)
            self._log.warning("web.refused", path=request.path, peer=peer, status=refusal.status, detail=str(refusal))
        raise refusal

    async def _taken(self, word: str, request: web.Request) -> tuple[dict[str, Any], int]:
        if self._gate is None:
            raise NotTaken(403, phrase("web.read_only"))
        elsewhere = self._guard.read_model.standing_by
        if elsewhere is not None:
            raise NotTaken(503, elsewhere)
        token = _token(request)
        _check_form(request)
        body = await _body(request)
        peer = request.remote or ""
        # Whoever shares an address with somebody who guesses waits behind the guesses, and still counts.
        lane = self._suspected if self._failures.wait(peer) else contextlib.nullcontext()
        async with lane, self._places:
            caller = await self._caller(self._gate, token, peer)
            given = self._given(word, body)
            place = self._guard.commands.place(given["target"])
            if not await self._gate.may_change(caller, place.kind, place.namespace, place.name):
                raise NotTaken(403, phrase("web.may_not_patch", caller=caller.name, place=str(place)))
            return await self._said(word, Said(given["target"], place, given["reason"], caller.name), given)

    async def _caller(self, gate: Gate, token: str, peer: str) -> Caller:
        caller = await gate.caller(token)
        if caller is not None:
            return caller
        wait = self._failures.wait(peer)
        if wait:
            raise NotTaken(429, phrase("web.too_often"), Retry_After=f"{wait:.0f}")
        self._failures.note(peer)
        challenge = f'{_CHALLENGE}, error="invalid_token"'
        raise NotTaken(401, phrase("web.token_of_nobody"), WWW_Authenticate=challenge)

    def _given(self, word: str, body: object) -> Json:
        wanted = self._ways[word][0]
        given = _strings(body, {"target", "reason", *wanted})
        targets = self._guard.read_model.targets
        if given.get("target") not in targets:
            raise NotTaken(404, phrase("web.no_such_target", targets=targets))
        objection = objection_to_reason(given.get("reason", ""))
        if objection is not None:
            raise NotTaken(400, phrase("web.of_key", key="reason", fault=objection))
        if "approval_token" in wanted and not is_approval_token(given.get("approval_token", "")):
            raise NotTaken(400, phrase("web.approval_token"))
        return given

    async def _said(self, word: str, said: Said, given: Json) -> tuple[dict[str, Any], int]:
        if not self._guard.read_model.journal_usable:
            raise NotTaken(503, phrase("web.without_journal"))
        written = await self._ways[word][1](said, given)
        if isinstance(written, Denied):
            raise NotTaken(409, phrase("web.nothing_written", why=written.reason))
        self._log.info("web.asked", word=word, target=said.target, user=said.who, annotation=written.annotation)
        told = {
            "target": said.target,
            "workload": str(written.place),
            "annotation": written.annotation,
            "value": written.value,
            "digest": written.digest,
            "by": said.who,
            "told": f"{PATH}status",
        }
        return told | ({"approval_token": given["approval_token"]} if "approval_token" in given else {}), 202

    def _answering(self, command: RunCommand) -> Say:
        return lambda said, given: self._guard.commands.answer(said, command, given["approval_token"])

    def _freezing(self, command: FreezeCommand) -> Say:
        return lambda said, _: self._guard.commands.freeze(said, command)

    async def _mark(self, said: Said, given: Json) -> Written | Denied:
        mark, revision = given.get("mark", ""), given.get("revision", "")
        if mark not in set(Mark):
            raise NotTaken(400, phrase("web.one_of", key="mark", words=list(Mark)))
        if not is_name_of_release(revision):
            raise NotTaken(400, phrase("web.a_revision", key="revision"))
        return await self._guard.commands.mark(said, Mark(mark), revision)

    async def _roll_back(self, said: Said, given: Json) -> Written | Denied:
        action, to, only = (given.get(key, "") for key in ("action", "to", "only"))
        if action not in ASKABLE:
            raise NotTaken(400, phrase("web.one_of", key="action", words=ASKABLE))
        if to and not is_name_of_release(to):
            raise NotTaken(400, phrase("web.a_revision", key="to"))
        wish = wished(Action(action), to, only or None)
        if isinstance(wish, Message):
            raise NotTaken(400, phrase("web.of_key", key="only", fault=wish))
        return await self._guard.commands.roll_back(said, wish, given["approval_token"])


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotTaken(401, phrase("web.say_who"), WWW_Authenticate=_CHALLENGE)
    return token.strip()


def _check_form(request: web.Request) -> None:
    """No form of a web page's can look like this, and no page of another origin may ask."""
    if request.content_type != "application/json":
        raise NotTaken(415, phrase("web.json_wanted"))
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        raise NotTaken(403, phrase("web.another_origin"))
    if request.query:
        raise NotTaken(400, phrase("web.no_query"))


async def _body(request: web.Request) -> object:
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            raw = await request.read()
        return json.loads(raw)
    except web.HTTPRequestEntityTooLarge:
        raise NotTaken(413, phrase("web.body_too_large", most=MAX_BODY)) from None
    except TimeoutError:
        raise NotTaken(408, phrase("web.body_late")) from None
    except (ValueError, RecursionError):
        raise NotTaken(400, phrase("web.no_json")) from None


def _strings(body: object, names: set[str]) -> Json:
    if not isinstance(body, dict) or set(body) - names or not all(isinstance(v, str) for v in body.values()):
        raise NotTaken(400, phrase("web.body_keys", names=sorted(names)))
    return body
