"""The settings of the source `scrape`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from logcaster_guard.fields.faults import Refused, described
from logcaster_guard.fields.section import BaseUrl, Duration, Section, Size, WholeNumber, pattern_of
from logcaster_guard.messages.texts import phrase

_HTTP_PATH = re.compile(r"/[\x21-\x22\x24-\x3e\x40-\x7e]{0,500}")


def _check_http_path(text: str) -> str:
    if not _HTTP_PATH.fullmatch(text):
        raise Refused(described(text), phrase("allowed.url_path"))
    return text


class ScrapeSection(Section):
    """The pods' own /metrics, for a guard without Prometheus."""

    port: Annotated[int, Field(ge=1, le=65_535)] = Field(default=9999, description="the pods' port")
    path: Annotated[str, AfterValidator(_check_http_path), pattern_of(_HTTP_PATH)] = Field(
        default="/metrics", description="the path"
    )
    timeout: Duration = Field(default=5.0, description="for a whole answer")
    max_bytes: Size = Field(default=4 << 20, description="larger answers are refused")
    max_series: WholeNumber = Field(default=20_000, description="answers with more series are refused")
    min_requests: WholeNumber = Field(default=100, description="with fewer requests in the lookback there is no data")
    proxy: BaseUrl | None = Field(default=None, description="proxy for these requests")
