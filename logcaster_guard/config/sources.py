"""The sections of `guard.yaml` about where signals are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, Strict, create_model

from logcaster_guard.domain.signals import Aggregate, SourceName, Unit
from logcaster_guard.fields.section import Duration, Metric, Section
from logcaster_guard.plugins import SOURCES

SectionT = TypeVar("SectionT", bound=Section)


class Sources(Section):
    """Where signals are read: a key for each source that there is."""

    def of(self, section: type[SectionT]) -> SectionT:
        """The section of this type."""
        return next(s for name in type(self).model_fields if isinstance(s := getattr(self, name), section))


if TYPE_CHECKING:
    SourcesSection = Sources  # its keys are those of a tuple, which no type checker follows
else:
    _KEYS: dict[str, Any] = {
        p.name.value: (p.section, Field(default=p.section(), description=p.meaning)) for p in SOURCES
    }
    SourcesSection = create_model("SourcesSection", __base__=Sources, **_KEYS)


class SignalSection(Section):
    """How one signal is read; what is left out of a built-in signal keeps its default."""

    source: Annotated[SourceName, Strict(False)] | None = Field(
        default=None,
        description=(
            "`prometheus`, `http`, `kubernetes` or `scrape`; `null`: as in the table above, `prometheus` for one's own"
        ),
    )
    query: str | None = Field(
        default=None, title="PromQL", description="what Prometheus is asked; required for one's own that it answers"
    )
    metric: Metric | None = Field(
        default=None,
        description="in place of a query, with the source `scrape`: a gauge of the pods; for one's own only",
    )
    aggregate: Annotated[Aggregate, Strict(False)] | None = Field(
        default=None,
        description="what is made of all series of `metric`: `max` (the default), `sum`, `min` or `avg`",
    )
    lookback: Duration | None = Field(
        default=None,
        description=(
            "how far back a reading reaches; `null`: `5m` where the query uses `$lookback`, else the present only"
        ),
    )
    unit: Annotated[Unit, Strict(False)] | None = Field(
        default=None,
        description=(
            "`ratio`, `seconds`, `bytes`, `per_second` or `count`; required for one's own, fixed for a built-in one"
        ),
    )
