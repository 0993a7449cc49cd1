from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.sources.scrape.exposition import Sample, Unreadable, parse
from logcaster_guard.domain.signals import Fault

WANTED = frozenset({"m", "n"})


def one(line: str) -> Sample:
    (sample,) = parse((line + "\n").encode(), WANTED, max_series=10)
    return sample


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("m 1", (), 1.0),
        ("m\t2.5e3  1700000000000", (), 2500.0),
        ("  m   +3 ", (), 3.0),
        ('m{a="x",b="y"} 1', (("a", "x"), ("b", "y")), 1.0),
        ('m{ b = "y" , a="x" , } .5', (("a", "x"), ("b", "y")), 0.5),
        ("m{} 1", (), 1.0),
        (r'm{a="quote \" slash \\ line\nend \d"} 1', (("a", 'quote " slash \\ line\nend \\d'),), 1.0),
        ('m{a="}{, #",b="한국"} -1', (("a", "}{, #"), ("b", "한국")), -1.0),
        ("m +Inf", (), math.inf),
        ("m -Inf", (), -math.inf),
        ('m{le="+Inf"} 7', (("le", "+Inf"),), 7.0),
    ],
)
def test_lines_of_the_format_are_read(line: str, labels: tuple[tuple[str, str], ...], value: float) -> None:
    assert one(line) == Sample("m", labels, value)


def test_nan_is_a_value() -> None:
    assert math.isnan(one("m NaN").value)


def test_other_metrics_comments_and_blank_lines_are_passed_over() -> None:
    body = b'# HELP m what "it" is\n# TYPE m counter\n\nmm 1\nother{a="b"} 2\nm 3\r\n# EOF\n'
    assert parse(body, WANTED, max_series=10) == [Sample("m", (), 3.0)]
    assert parse(b"", WANTED, max_series=10) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"<html><body>\n", Fault.MALFORMED),
        (b'{"status":"UP"}\n', Fault.MALFORMED),
        (b"m\n", Fault.MALFORMED),
        (b"m \n", Fault.MALFORMED),
        (b"m one\n", Fault.MALFORMED),
        (b"m 1_000\n", Fault.MALFORMED),
        (b"m 1e\n", Fault.MALFORMED),
        (b"m 0x10\n", Fault.MALFORMED),
        (b"m 1 2 3\n", Fault.MALFORMED),
        (b'm{a="x" 1\n', Fault.MALFORMED),
        (b'm{a="x} 1\n', Fault.MALFORMED),
        (b"m{a=x} 1\n", Fault.MALFORMED),
        (b'm{a="x"b="y"} 1\n', Fault.MALFORMED),
        (b'm{a="x",a="y"} 1\n', Fault.MALFORMED),
        (b'm{a="\xff"} 1\n', Fault.MALFORMED),
        (b'm{a="x"} 1 # {trace="1"} 2\n', Fault.MALFORMED),
        (b"m 1\nm 2\n", Fault.MALFORMED),
        (b'm{a="1",b="2"} 1\nm{b="2",a="1"} 1\n', Fault.MALFORMED),
        (b"m{" + b"a" * 20_000 + b"} 1\n", Fault.MALFORMED),
        (b"m 1\nn", Fault.TRUNCATED),
        (b"\n" * 60_000, Fault.TOO_LARGE),
        (b"".join(b'm{a="%d"} 1\n' % n for n in range(11)), Fault.TOO_LARGE),
    ],
)
def test_what_is_not_the_format_is_refused_whole(body: bytes, fault: Fault) -> None:
    with pytest.raises(Unreadable) as refused:
        parse(body, WANTED, max_series=10)
    assert refused.value.failure.fault is fault


@given(st.binary(max_size=200) | st.text('m{}",=\\ab1 .\n', max_size=60).map(str.encode))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        parse(b"m" + body + b"\n", WANTED, max_series=10)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), st.text(max_size=10), max_size=4))
def test_escaped_labels_come_back_as_they_were(labels: dict[str, str]) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inside = ",".join(f'{k}="{escaped(v)}"' for k, v in labels.items())
    assert dict(one(f"m{{{inside}}} 1").labels) == labels
