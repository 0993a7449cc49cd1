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
    plain,
    readings,
    release_status,
    show,
    show_json,
    span,
    table,
)


def status(address: Address = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Show targets, triggers and sources, as the running daemon sees them now."""
    answer = ask(address, "/api/v1/status")
    if as_json:
        show_json(answer)
        return
    show(list(_lines(answer)))


def _lines(answer: Json) -> Iterator[Text | Table]:
    yield plain(f"LogCaster Guard {answer['version']}, {instant(answer['at'])}")
    if (held := answer["authority"]) is not None:
        whom = "this guard" if held["role"] == "holding" else held["holder"] or "nobody"
        yield plain(f"  {held['role']}: {whom} holds the lease {held['lease']} (epoch {held['epoch']})")
    for sentence in [*answer["stuck"], *answer["missing"]]:
        yield plain(sentence, "bold red")
    yield from (_problem(p, "") for p in answer["problems"] if len(p["targets"]) != 1)
    for target in answer["targets"]:
        yield Text()
        yield from _target(target, [p for p in answer["problems"] if p["targets"] == [target["target"]]])


def _problem(problem: Json, margin: str) -> Text:
    return plain(f"{margin}since {instant(problem['since'])}: {problem['sentence']}", "bold red")


def _target(target: Json, problems: Sequence[Json]) -> Iterator[Text | Table]:
    yield plain(f"{target['target']} ({target['name']}), looked at {instant(target['looked_at'])}", "bold")
    yield from (_problem(p, "  ") for p in problems)
    yield plain(f"  serves     {_release(target['present'], 'not known yet')}")
    yield plain(f"  goes back  {_release(target['destination'], 'nowhere: no other release is known to be good')}")
    frozen, run = target["frozen"], target["run"]
    if frozen is not None:
        by = " ".join(filter(None, (frozen["by"], frozen["who"])))
        yield plain(f"  frozen     since {instant(frozen['at'])} by {by}: {frozen['reason']}", "bold cyan")
    for owner in target["suspended"]:
        yield plain(
            f"  suspended  {owner['owner']} since {instant(owner['since'])}, until it wants another revision than "
            f"{owner['revision'] or 'the bad one'}",
            "bold cyan",
        )
    for sentence in target["unproven"]:
        yield plain(f"  marks      {sentence}", "bold red")
    if (found := target["configuration"]) is not None:
        yield from _configuration(found)
    if run is not None:
        yield plain(
            f"  run        {run['run']}: {run['step'] or 'ending'}, since {instant(run['opened_at'])}", "bold yellow"
        )
    yield _triggers(target["triggers"])
    yield _sources(target["sources"])


def _configuration(found: Json) -> Iterator[Text]:
    """Nothing where the pods refer to nothing."""
    differing = [*found["objects"], *(["annotations checksum/…"] if found["checksums_differ"] else [])]
    objects, words = ", ".join(differing), found["state"].replace("_", " ")
    if found["digest"]:
        yield plain(f"  config     {words}: {found['digest'][:12]}")
    elif found["digest"] is None:
        yield plain(f"  config     {words}{': ' if objects else ''}{objects}", "yellow")
    for edit in found["pending"]:
        keys = f" ({', '.join(edit['keys'])})" if edit["keys"] else ""
        yield plain(f"  pending    {edit['object']}{keys} since {instant(edit['since'])}: no pod has read it", "yellow")
    for heading, key in (("unread", "unreadable"), ("left out", "not_followed")):
        for one in found[key]:
            yield plain(f"  {heading:<9}  {one['object']}: {one['reason']}")


def _triggers(triggers: Sequence[Json]) -> Table:
    return table(
        "triggers",
        ("rule", "phase", "met for", "of", "readings"),
        [
            (
                t["rule"],
                plain(t["phase"], PHASE_STYLES.get(t["phase"], "")),
                span(t["credit_seconds"]),
                span(t["duration_seconds"]),
                readings(t["readings"]),
            )
            for t in triggers
        ],
    )


def _sources(sources: Sequence[Json]) -> Table:
    return table(
        "sources",
        ("source", "state", "last answer", "reads", "missed polls"),
        [
            (
                s["source"],
                plain("answers", "green") if s["up"] else plain("failing" if s["reads"] else "not read yet", "red"),
                instant(s["last_answer_at"]),
                str(s["reads"]),
                str(s["missed_polls"]),
            )
            for s in sources
        ],
    )


def _release(release: Json | None, otherwise: str) -> str:
    if release is None:
        return otherwise
    return f"{', '.join(release['images'])} (revision {release['revision']}, {release_status(release)})"
