"""How commands ask the running daemon, and show what it tells."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from logcaster_guard.adapters.fetch import Answer, Fetcher
from logcaster_guard.cli.check import BAD_INPUT, spoken_here
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.message import Message, Reason
from logcaster_guard.fields.faults import Refused, escaped
from logcaster_guard.fields.urls import check_base_url
from logcaster_guard.messages.texts import Language, Phrase, Texts, english, phrase

Json = dict[str, Any]

UNREACHABLE = 3
"""Exit code: the daemon could not be asked."""

_TIMEOUT = 10.0
_MAX_BYTES = 16 << 20
_UNFOLDED = 240

Address = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        envvar="LOGCASTER_GUARD_ADDRESS",
        help="Where the daemon listens (its setting web.listen), or an http(s):// address that leads there.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the daemon answers, as JSON.")]
DEFAULT_ADDRESS = "127.0.0.1:9997"


def ask(address: str, path: str, **query: str | None) -> Json:
    """The daemon's answer; ends the command with one sentence, and 2 or 3, where there is none."""
    base = _base(address)
    given = urlencode({k: v for k, v in query.items() if v is not None})
    answer = asyncio.run(_fetch(f"{base}{path}" + (f"?{given}" if given else "")))
    if not isinstance(answer, Answer):
        raise ended(phrase("cli.no_daemon", address=base, why=answer), UNREACHABLE)
    return _understood(answer, base)


def spoken(answer: Json) -> Texts:
    """The language in which the daemon tells its sentences; English where it does not say."""
    known = answer.get("language") in set(Language)
    return Texts(Language(answer["language"])) if known else english()


def is_there(address: str) -> bool:
    """Whether anything answers at the address; ends the command with 2 where that is none."""
    base = _base(address)
    return isinstance(asyncio.run(_fetch(f"{base}/healthz")), Answer)


def show(lines: Sequence[Text | Table]) -> None:
    """Print to standard output; colours only on a terminal, and never with NO_COLOR."""
    lenient_output()
    # What is not shown on a terminal is not folded to fit one.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _UNFOLDED
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    for line in lines:
        console.print(line, soft_wrap=isinstance(line, Text))


def show_json(value: Json) -> None:
    """Print as JSON."""
    lenient_output()
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> Table:
    """A table that folds what is long instead of cutting it."""
    found = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(column, overflow="fold", header_style="dim")
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    return found


def labelled(texts: Texts, label: str, value: str, width: int, style: str = "") -> Text:
    """A line of what is known under its label, which takes at least `width` columns."""
    shown = texts.word(label, "page")
    return plain(f"  {shown}{' ' * max(1, width - cell_len(shown))}{value}", style)


def plain(text: object, style: str = "") -> Text:
    """A text of the daemon's: nothing in it is obeyed by the terminal."""
    return Text(escaped(str(text)), style=style)


def instant(text: str | None) -> str:
    """An instant to the second, in UTC; `-` for none."""
    return "-" if text is None else text[:19].replace("T", " ") + "Z"


def readings(values: Mapping[str, str]) -> str:
    """Readings in one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "-"


def unmeasured(release: Json) -> list[str]:
    """The rules that never measured a release, where that says how good it is."""
    return list(release["unmeasured"]) if release["status"] == ReleaseStatus.UNMEASURED else []


def span(seconds: float) -> str:
    """A length of time: `4.2s`, `5m`, `1h30m`."""
    if seconds < 60:
        return f"{round(seconds, 1):g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n)


PHASE_STYLES = {
    "firing": "bold red",
    "pending": "yellow",
    "cooling down": "cyan",
    "inactive": "green",
    "blind": "bold red",
}


def _base(address: str) -> str:
    base = address if "://" in address else f"http://{address}"
    try:
        check_base_url(base)
    except Refused as refusal:
        refused = phrase("cli.option", option="--address", found=refusal.found, allowed=refusal.allowed)
        raise ended(refused, BAD_INPUT) from None
    return base.rstrip("/")


async def _fetch(url: str) -> Answer | Message | Phrase:
    fetcher = Fetcher(monotonic=time.monotonic, timeout=_TIMEOUT, max_bytes=_MAX_BYTES)
    try:
        found = await fetcher.get(url)
    except TimeoutError:
        return phrase("cli.timed_out", seconds=f"{_TIMEOUT:.0f}")
    finally:
        await fetcher.aclose()
    if isinstance(found, Answer):
        return found
    return found.detail if isinstance(found.detail, Message) else phrase("found.as_is", text=found.detail)


def _understood(answer: Answer, base: str) -> Json:
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if isinstance(value, dict) and answer.status == 200:
        return value
    if isinstance(value, dict) and isinstance(value.get("error"), str) and answer.status in {400, 404}:
        raise ended(escaped(value["error"]), BAD_INPUT)
    if isinstance(value, dict) and isinstance(value.get("error"), str) and answer.status == 503:
        raise ended(escaped(value["error"]), UNREACHABLE)
    raise ended(phrase("cli.another_version", address=base, status=answer.status), UNREACHABLE)


def ended(sentence: Reason, code: int, texts: Texts | None = None) -> typer.Exit:
    """Say the sentence on standard error; raised, the answer ends the command with `code`.

    Texts tell it, those of the terminal's language by default; a text that is no phrase is told as it is.
    """
    texts = texts or Texts(spoken_here())
    typer.echo(texts.text(phrase("cli.error", error=sentence)), err=True)
    return typer.Exit(code)


def lenient_output() -> None:
    """Let standard output show what it can of characters that it does not know."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
