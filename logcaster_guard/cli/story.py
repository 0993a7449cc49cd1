"""What the demo shows: the guard's own log lines and the users' experience, as a timeline for people."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from logcaster_guard.domain.notices import Silence

Fields = Mapping[str, Any]


class Timeline:
    """Prints one line a fact, with the seconds since the beginning."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def say(self, who: str, what: str, style: str = "") -> None:
        """`who` is one of people, cluster, users, guard."""
        since = Text(f"{self.elapsed:6.1f} s ", style="dim")
        name = Text(f"{who:<8}", style={"guard": "bold cyan", "users": "magenta"}.get(who, "bold"))
        if not self._console.is_terminal:
            self._console.print(Text(" ").join([since, name, Text(what)]), soft_wrap=True)
            return
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(since, name, Text(what, style=style))
        self._console.print(line)

    def verdict(self, text: str) -> None:
        """The last line, broken only where a terminal would break it."""
        self._console.print(text, soft_wrap=not self._console.is_terminal)


class GuardLog(io.StringIO):
    """A text stream that takes the guard's JSON log and tells its facts on the timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._rest = ""
        self.events: list[Fields] = []

    def writable(self) -> bool:
        """It is only written to."""
        return True

    def write(self, text: str) -> int:
        """Take whole lines; a part is kept until its end comes."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._take(json.loads(line))
        return len(text)

    def _take(self, fields: Fields) -> None:
        self.events.append(fields)
        teller = _TELLERS.get(str(fields.get("event")))
        if teller is not None:
            text, style = teller(fields)
            self._timeline.say("guard", text, style)


def _images(value: Any) -> str:  # noqa: ANN401 - a JSON value
    return ", ".join(value) if isinstance(value, list) else str(value)


def _evidence(fields: Fields) -> str:
    return ", ".join(f"{k} {v}" for k, v in (fields.get("evidence") or {}).items())


STEPS: Mapping[str, str] = {
    "suspend_owner": "the GitOps owner is suspended",
    "raise_autoscaler_minimum": "the autoscaler may not shrink the target",
    "pin_autoscaler": "the autoscaler keeps production at its next size",
    "restore_config_map": "the ConfigMap holds what the good release read",
    "restore_secret": "the Secret holds what the good release read",
    "copy_config_map": "a copy of the ConfigMap is there for the good release's pods",
    "copy_secret": "a copy of the Secret is there for the good release's pods",
    "await_stopped": "no bad pod runs any more",
    "restore_template": "the good pod template is written",
    "restore_variables": "the good environment variables are written",
    "restart_pods": "the pods are being replaced",
    "delete_stuck_pods": "no pod holds the rollout up",
    "create_helper": "a helper Deployment with the good release is there",
    "scale_helper": "the helper is scaled up",
    "await_helper": "the helper's pods are Ready",
    "scale_production": "production is scaled down",
    "judge_helper": "the good release is healthy beside production",
    "remove_helper": "the helper is removed",
    "restore_environment": "the other environment is there again",
    "roll_environment": "the other environment's pods start on what the good release read",
    "restore_later": "what the bad pods read is to be put back once they are gone",
    "scale_environment": "the other environment is scaled up",
    "await_environment": "the other environment is Ready",
    "check_environment": "the other environment is healthy",
    "switch_service": "the Service is switched",
    "await_endpoints": "only the other environment is reached",
    "judge_environment": "the other environment is no worse",
    "ask_people": "people were asked",
    "await_rollout": "every pod is of the good release and available",
    "verify_recovery": "the target is quiet",
}
"""What it means that a step is done, by its kind."""


def _step_done(fields: Fields, steps: list[str]) -> tuple[str, str]:
    index = int(fields.get("step", 0))
    name = steps[index] if index < len(steps) else str(index)
    detail = str(fields.get("detail") or "")
    words = STEPS.get(name, name)
    return f"step done: {words}" + (f" ({'revision ' if detail.isdigit() else ''}{detail})" if detail else ""), ""


def _time(value: object) -> str:
    """The time of day of an instant, in UTC."""
    try:
        return f"{datetime.fromisoformat(str(value)).astimezone(UTC):%H:%M:%S} UTC"
    except ValueError:
        return str(value)


def _asked(fields: Fields) -> str:
    """What people are asked, where they are asked before anything is changed."""
    if "until" not in fields:
        return ""
    silence = "it begins" if fields.get("silence") == Silence.CONSENT else "nothing is changed"
    return f"; `{fields.get('veto')}` stops it, without an answer {silence} at {_time(fields['until'])}"


def _tellers() -> Mapping[str, Callable[[Fields], tuple[str, str]]]:
    steps: list[str] = []

    def opened(fields: Fields) -> tuple[str, str]:
        steps[:] = list(fields.get("steps") or [])
        title = "ROLLBACK opened" if "until" not in fields else "PEOPLE ARE ASKED to roll back"
        text = f"{title}: {_images(fields.get('from_images'))} → {_images(fields.get('to_images'))}"
        text += " and what its ConfigMaps held" * ("restore_config_map" in steps)
        return f"{text} ({fields.get('strategy')}, run {fields.get('run')}){_asked(fields)}", "bold yellow"

    def closed(fields: Fields) -> tuple[str, str]:
        well = fields.get("outcome") == "recovered"
        return (
            f"ROLLBACK closed: {fields.get('outcome')} ({fields.get('reason')})",
            "bold green" if well else "bold red",
        )

    return {
        "revision.live": lambda f: (
            f"sees release {_images(f.get('images'))} (revision {f.get('revision') or 'not numbered yet'}"
            + (f", configuration {f['configuration'][:6]})" if f.get("configuration") else ")"),
            "",
        ),
        "revision.good": lambda f: (f"release {str(f.get('template'))[:12]} is known good from now on", "green"),
        "trigger.pending": lambda f: (f"{f.get('rule')}: condition met since {_time(f.get('onset'))}", "yellow"),
        "trigger.fired": lambda f: (f"{f.get('rule')} FIRED: {_evidence(f)}", "bold red"),
        "trigger.cleared": lambda f: (f"{f.get('rule')}: {f.get('reason')}", "green"),
        "trigger.refused": lambda f: (f"nothing is rolled back: {' '.join(f.get('reasons') or [])}", "bold yellow"),
        "run.opened": opened,
        "step.done": lambda f: _step_done(f, steps),
        "run.closed": closed,
        "target.frozen": lambda f: (f"target frozen: {f.get('reason')}", "bold red"),
        "source.failing": lambda f: (f"blind: {f.get('what')}: {f.get('fault')}", "yellow"),
        "run.crashed": lambda f: (f"run stopped on a defect: {f.get('exception')}", "bold red"),
    }


_TELLERS = _tellers()
