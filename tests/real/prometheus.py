"""A real Prometheus server for one test, and questions to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from logcaster_guard.sandbox.prometheus import PrometheusServer
from tests.real.waiting import until

Json = dict[str, Any]


class Prometheus(PrometheusServer):
    """The product's own launcher; `folder` is where file_sd files, if any, may be put."""

    async def query(self, expression: str) -> list[Json]:
        """The vector that an instant query answers with."""
        assert self._session is not None
        asked = {"query": expression, "nocache": "1"}  # VictoriaMetrics answers with older data without it
        async with self._session.get(f"{self.url}/api/v1/query", params=asked) as response:
            body = await response.json()
        assert body["status"] == "success", body
        result = body["data"]["result"]
        assert isinstance(result, list)
        return result

    async def value(self, expression: str) -> float | None:
        """The single number that an instant query answers with; None for an empty vector."""
        result = await self.query(expression)
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    async def until_value(self, expression: str, *, above: float, within: float = 30.0) -> float:
        """Wait until the query's single number exceeds `above`; raises `TimeoutError`."""

        async def exceeds() -> list[float]:
            value = await self.value(expression)
            return [] if value is None or value <= above else [value]

        return (await until(exceeds, within))[0]


def static_job(addresses: Sequence[str], proxy_url: str | None = None) -> Json:
    """A scrape job for `host:port` addresses."""
    job: Json = {"job_name": "static", "static_configs": [{"targets": list(addresses)}]}
    return job if proxy_url is None else {**job, "proxy_url": proxy_url}
