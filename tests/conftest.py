from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from tests import canary
from tests.real import attached, control_plane, postgresql, presence
from tests.real.prometheus import Prometheus
from tests.real.victoria_metrics import VictoriaMetrics

# Speed is not asserted; what is random is searched anew by people and the same in CI.
settings.register_profile("people", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if presence.continuous_integration() else "people")

PLAIN: Sequence[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
]

# What is told without settings is in the language of the terminal: here English, whoever runs the tests.
os.environ["LC_ALL"] = "C.UTF-8"

USED_PLANE = pytest.StashKey[str]()
LEAKS = pytest.StashKey[list[str]]()
RealControlPlane = control_plane.ControlPlane | attached.Attached
StartPrometheus = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Prometheus]]


@pytest.fixture(autouse=True)
def _logs_of_each_test() -> Iterator[None]:
    """A command that a test runs in this process sets the process's log up: not for the tests after it.

    What a test logs stands in its output plainly: colours, columns and boxes would take a tenth of all CPU time.
    """
    structlog.reset_defaults()
    structlog.configure(processors=PLAIN)
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _secrets_of_each_test() -> Iterator[None]:
    """What a test wrote, wherever it was, held nothing of a Secret."""
    canary.told()
    yield
    if leaks := canary.told():
        pytest.fail("\n".join(leaks))


@pytest.fixture(scope="session")
def real_control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealControlPlane]:
    """The session's real control plane; tests that ask for it are skipped where none is configured."""
    plane = presence.real_plane()
    if plane.way == "none":
        pytest.skip(f"no real control plane: {plane.why}")
    folder = tmp_path_factory.mktemp("control-plane")
    start = control_plane.start if plane.way == "assets" else attached.attach
    running = start(plane.path, folder)
    request.config.stash[USED_PLANE] = running.version
    yield running
    running.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgreSQL]:
    """The session's PostgreSQL 15."""
    if not (postgresql.BINARIES / "postgres").exists():
        presence.absent(f"there is no {postgresql.BINARIES / 'postgres'}: install PostgreSQL 15")
    server = postgresql.PostgreSQL.start()
    postgresql.prepare(server)
    yield server
    server.stop()


@pytest.fixture
def real_database(postgresql_server: postgresql.PostgreSQL) -> Iterator[postgresql.RealDatabase]:
    """An empty database of the test's own."""
    database = postgresql_server.new_database()
    yield database
    postgresql_server.drop(database)


@pytest.fixture
async def start_prometheus(tmp_path: Path) -> AsyncIterator[StartPrometheus]:
    """Starts real Prometheus servers that end with the test: `await start_prometheus([scrape_config, ...])`."""
    async with _starting(Prometheus, presence.required("prometheus"), tmp_path) as start:
        yield start


@pytest.fixture(params=["prometheus", "victoria-metrics"])
async def start_backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StartPrometheus]:
    """As `start_prometheus`, of each backend that answers PromQL."""
    kind = VictoriaMetrics if request.param == "victoria-metrics" else Prometheus
    async with _starting(kind, presence.required(request.param), tmp_path) as start:
        yield start


@asynccontextmanager
async def _starting(kind: type[Prometheus], binary: str, folder: Path) -> AsyncIterator[StartPrometheus]:
    numbers = count()
    async with AsyncExitStack() as stack:

        async def start(scrape_configs: Sequence[Mapping[str, Any]]) -> Prometheus:
            place = folder / f"prometheus-{next(numbers)}"
            place.mkdir()
            server = kind(binary, place)
            stack.push_async_callback(server.stop)
            await server.start(scrape_configs)
            return server

        yield start


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Search what a test logged and printed."""
    for name, text in report.sections:
        canary.note(f"the {name.lower()} of {report.nodeid}", text)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands over what its own summary would have told; then what all of them have written is searched."""
    config = session.config
    output: dict[str, str] | None = getattr(config, "workeroutput", None)
    if output is not None:
        if USED_PLANE in config.stash:
            output["control_plane"] = config.stash[USED_PLANE]
        return
    # The temporary folders of workers are below the one of their controller.
    written = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # no public way leads there
    for file in canary.files_with_it(written):
        canary.note(str(file), canary.CANARY)
    config.stash[LEAKS] = canary.told()
    if config.stash[LEAKS]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker used."""
    used = getattr(node, "workeroutput", {}).get("control_plane")
    if used is not None:
        node.config.stash[USED_PLANE] = used


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what of Secrets was found, and which real parts took part: a green run is not taken for more than it was."""
    if leaks := config.stash.get(LEAKS, []):
        terminalreporter.section("Secrets", red=True)
        for sentence in leaks:
            terminalreporter.write_line(sentence, red=True)
    terminalreporter.section("real parts")
    terminalreporter.write_line(presence.control_plane_line(config.stash.get(USED_PLANE, None)))
    terminalreporter.write_line(presence.prometheus_line())
    terminalreporter.write_line(presence.postgresql_line())
    for kind in ("sandbox", "real"):
        counts: Counter[str] = Counter()
        for outcome in ("passed", "failed", "error", "skipped"):
            reports = terminalreporter.stats.get(outcome, [])
            counts[outcome] = sum(1 for r in reports if _cluster_kind(r) == kind)
        if counts.total():
            told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
            terminalreporter.write_line(f"cluster tests, {kind}: {told}")


def _cluster_kind(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    if "cluster" not in getattr(report, "keywords", {}):
        return None
    parameters = report.nodeid.partition("[")[2].rstrip("]").split("-")
    return next((kind for kind in ("sandbox", "real") if kind in parameters), None)
