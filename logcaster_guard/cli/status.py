"""`logcaster-guard status`: every target as the running daemon sees it now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from logcaster_guard.cli.asking import (
    DEFAULT_ADDRESS,
    PHASE_STYLES,
    Address,
    AsJson,
    Json,
    ask,
    instant,
    labelled,
    plain,
    readings,
    show,
    show_json,
    span,
    spoken,
    table,
    unmeasured,
)
from logcaster_guard.messages.texts import Phrase, Texts, phrase

_WIDTH = 11
"""Columns of a label and the blanks behind it."""


def status(address: Address = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Show targets, triggers and sources, as the running daemon sees them now."""
    answer = ask(address, "/api/v1/status")
    if as_json:
        show_json(answer)
        return
    show(list(_Page(spoken(answer)).lines(answer)))


class _Page:
    """The daemon's account on a terminal, in the daemon's language."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def lines(self, answer: Json) -> Iterator[Text | Table]:
        """All that is shown."""
        yield self._plain(phrase("page.head", version=answer["version"], at=instant(answer["at"])))
        if (held := answer["authority"]) is not None:
            lease, own = {key: held[key] for key in ("role", "holder", "lease", "epoch")}, held["role"] == "holding"
            yield self._plain(phrase("page.lease", own=own, **lease), margin="  ")
        for sentence in [*answer["stuck"], *answer["missing"]]:
            yield plain(sentence, "bold red")
        yield from (self._problem(p, "") for p in answer["problems"] if len(p["targets"]) != 1)
        for target in answer["targets"]:
            yield Text()
            yield from self._target(target, [p for p in answer["problems"] if p["targets"] == [target["target"]]])

    def _plain(self, said: Phrase, style: str = "", margin: str = "") -> Text:
        return plain(margin + self._texts.text(said), style)

    def _labelled(self, label: str, value: Phrase, style: str = "") -> Text:
        return labelled(self._texts, label, self._texts.text(value), _WIDTH, style)

    def _problem(self, problem: Json, margin: str) -> Text:
        since, sentence = instant(problem["since"]), problem["sentence"]
        return self._plain(phrase("page.problem", since=since, sentence=sentence), "bold red", margin)

    def _target(self, target: Json, problems: Sequence[Json]) -> Iterator[Text | Table]:
        name, at = target["name"], instant(target["looked_at"])
        yield self._plain(phrase("page.target", target=target["target"], name=name, at=at), "bold")
        yield from (self._problem(p, "  ") for p in problems)
        present, destination = target["present"], target["destination"]
        yield self._labelled("serves", phrase("page.not_known_yet") if present is None else _release(present))
        yield self._labelled("goes back", phrase("page.nowhere") if destination is None else _release(destination))
        yield from self._held(target)
        for sentence in target["unproven"]:
            yield labelled(self._texts, "marks", sentence, _WIDTH, "bold red")
        if (found := target["configuration"]) is not None:
            yield from self._configuration(found)
        if (run := target["run"]) is not None:
            since = instant(run["opened_at"])
            said = phrase("page.run", run=run["run"], step=run["step"], since=since)
            yield self._labelled("run", said, "bold yellow")
        yield self._triggers(target["triggers"])
        yield self._sources(target["sources"])

    def _held(self, target: Json) -> Iterator[Text]:
        """What keeps the guard, or an owner, from acting."""
        if (frozen := target["frozen"]) is not None:
            by, since = " ".join(filter(None, (frozen["by"], frozen["who"]))), instant(frozen["at"])
            said = phrase("page.frozen", since=since, by=by, reason=frozen["reason"])
            yield self._labelled("frozen", said, "bold cyan")
        for owner in target["suspended"]:
            since, revision = instant(owner["since"]), owner["revision"]
            said = phrase("page.suspended", owner=owner["owner"], since=since, revision=revision)
            yield self._labelled("suspended", said, "bold cyan")
        for owed in target["deferred"]:
            said = phrase("page.deferred", object=owed["object"], since=instant(owed["since"]), reason=owed["reason"])
            yield self._labelled("deferred", said)

    def _configuration(self, found: Json) -> Iterator[Text]:
        """Nothing where the pods refer to nothing."""
        if found["digest"] != "":
            told = [found["digest"][:12]] if found["digest"] else found["objects"]
            checksums, state = found["checksums_differ"], found["state"].replace("_", " ")
            said = phrase("page.configuration", state=state, told=told, checksums=checksums)
            yield self._labelled("config", said, "" if found["digest"] else "yellow")
        for edit in found["pending"]:
            keys, since = edit["keys"], instant(edit["since"])
            said = phrase("page.edit_pending", object=edit["object"], keys=keys, since=since)
            yield self._labelled("pending", said, "yellow")
        for heading, key in (("unread", "unreadable"), ("left out", "not_followed")):
            for one in found[key]:
                yield labelled(self._texts, heading, f"{one['object']}: {one['reason']}", _WIDTH)

    def _triggers(self, triggers: Sequence[Json]) -> Table:
        return self._table(
            "triggers",
            ("rule", "phase", "met for", "of", "readings"),
            [
                (
                    t["rule"],
                    plain(self._texts.word(t["phase"], "page"), PHASE_STYLES.get(t["phase"], "")),
                    span(t["credit_seconds"]),
                    span(t["duration_seconds"]),
                    readings(t["readings"]),
                )
                for t in triggers
            ],
        )

    def _sources(self, sources: Sequence[Json]) -> Table:
        return self._table(
            "sources",
            ("source", "state", "last answer", "reads", "missed polls"),
            [
                (s["source"], self._state(s), instant(s["last_answer_at"]), str(s["reads"]), str(s["missed_polls"]))
                for s in sources
            ],
        )

    def _state(self, source: Json) -> Text:
        state = "answers" if source["up"] else "failing" if source["reads"] else "not read yet"
        return plain(self._texts.word(state, "page"), "green" if source["up"] else "red")

    def _table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> Table:
        return table(self._texts.word(title, "page"), [self._texts.word(c, "page") for c in columns], rows)


def _release(release: Json) -> Phrase:
    images, status, rules = release["images"], release["status"], unmeasured(release)
    return phrase("page.release", images=images, revision=release["revision"], release_status=status, rules=rules)
