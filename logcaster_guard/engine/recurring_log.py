"""Lines for what happens over and over: one per change of its cause, then at growing intervals."""

from __future__ import annotations

import structlog

from logcaster_guard.domain.recurrence import Recurrences
from logcaster_guard.ports import Clock


class RecurringLog:
    """Merges repeats: `times` is how many occurrences a line stands for, where that is more than one."""

    def __init__(self, clock: Clock, **bound: str) -> None:
        self._clock = clock
        self._recurrences = Recurrences()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(**bound)

    def info(self, event: str, *, detail: str = "", about: str = "", **fields: object) -> None:
        """It has happened to `about`, for the cause that `detail` tells; `fields` are told with it."""
        if (times := self._times(event, about, detail)) is not None:
            self._log.info(event, **fields, **times)

    def warning(self, event: str, *, detail: str, about: str = "", **fields: object) -> None:
        """As `info`."""
        if (times := self._times(event, about, detail)) is not None:
            self._log.warning(event, detail=detail, **fields, **times)

    def error(self, event: str, *, detail: str, about: str = "", **fields: object) -> None:
        """As `info`."""
        if (times := self._times(event, about, detail)) is not None:
            self._log.error(event, detail=detail, **fields, **times)

    def _times(self, event: str, about: str, detail: str) -> dict[str, int] | None:
        times = self._recurrences.due(f"{event} {about}", detail, self._clock.monotonic())
        return None if times is None else {"times": times} if times > 1 else {}
