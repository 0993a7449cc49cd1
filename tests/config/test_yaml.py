from __future__ import annotations

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from logcaster_guard.config import yaml as strict
from logcaster_guard.config.yaml import Leaf, Position, Table, load_yaml, plain
from logcaster_guard.fields.faults import MAX_FAULTS


@pytest.fixture(params=["libyaml", "pure Python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure Python":
        monkeypatch.setattr(strict, "_LOADER", pyyaml.SafeLoader)
    elif not pyyaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")


def leaf(text: str) -> Leaf:
    document = load_yaml(f"k: {text}".encode(), "f")
    assert not document.faults
    assert isinstance(document.root, Table)
    node = document.root.entries["k"].value
    assert isinstance(node, Leaf)
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        ("0.5", 0.5),
        ("-12.25", -12.25),
        *((t, t) for t in ("no", "on", "yes", "off", "y", "True", "NULL", "~", "5:00", "1_000", "0o17", "017", "0x1f")),
        *((t, t) for t in (".nan", ".inf", "-.inf", "1e3", ".5", "5.", "+5", "2024-01-01", "5m", "90%", "=")),
        ('"true"', "true"),
        ("'5'", "5"),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
@pytest.mark.usefixtures("loader")
def test_a_scalar_is_text_unless_it_is_plainly_something_else(text: str, value: object) -> None:
    found = leaf(text).value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("content", "line", "column", "words"),
    [
        (b"", 1, 1, "an empty file"),
        (b" \n\n", 1, 1, "an empty file"),
        (b"a: 1\nb: 2\na: 3\n", 3, 1, 'the key "a" again'),
        (b"a: {x: 1, x: 2}", 1, 11, 'the key "x" again'),
        (b"a: &x 1\n", 1, 4, 'the anchor "&x"'),
        (b"a: 1\nb: *a\n", 2, 4, 'the alias "*a"'),
        (b"a: {<<: {b: 1}}", 1, 5, "the merge key"),
        (b"a: !!str 5", 1, 4, 'the tag "tag:yaml.org,2002:str"'),
        (b"a: !!python/object/apply:os.system [x]", 1, 4, "the tag"),
        (b"a: 1\n---\nb: 2\n", 2, 1, "a second document"),
        (b"%YAML 1.2\n---\na: 1\n", 1, 1, "a YAML directive"),
        (b"a:\n\tb: 1\n", 2, 1, "a tab"),
        (b"a: 1\x00\n", 1, 5, "the invisible character U+0000"),
        ("a: x\u202ey\n".encode(), 1, 5, "the invisible character U+202E"),
        (b'a: "x\\ny\\u0007"\n', 1, 4, "text with the invisible character U+0007"),
        (b"a: ok\nb: \xff\n", 2, 4, "the byte 0xff, which is not UTF-8"),
        ("a: 1".encode("utf-16"), 1, 1, "UTF-16"),
        (b"a: 1\rb: 2", 1, 5, "a lone carriage return"),
        (b"a: " + b"[" * 60, 1, 53, "more than 50 levels of nesting"),
        (b"? " * 60, 1, 101, "more than 50 levels of nesting"),
        (b"a: " + b"9" * 50_000, 1, 4, "a number of 50,000 characters"),
        (b"[" + b"1," * 60_000 + b"]", 1, 100_000, "more than 50,000 values"),
        (b"x" * (1 << 20) + b"x", 1, 1, "a file of more than 1 MiB"),
        (b"a: b: c", 1, 5, "broken YAML"),
        (b"a: 1\n  b: 2", 2, 4, "broken YAML"),
        (b"a: [1, 2\nb: 3", 2, 2, "broken YAML"),
        (b"a: [1, 2", 1, 9, "broken YAML"),
        (b"a: @x", 1, 4, "broken YAML"),
        (b'a: "x', 1, 6, "broken YAML"),
        (b"a:\nb: 1", 1, 3, 'nothing after "a"'),
        (b"- \n- 1", 1, 2, "nothing after -"),
        (b"?\n: 1", 1, 2, "an empty key"),
        (b"? [a]\n: 1", 1, 3, "a list or mapping as a key"),
    ],
)
def test_what_is_refused_is_told_with_its_place(content: bytes, line: int, column: int, words: str) -> None:
    fault = load_yaml(content, "f.yaml").faults[0]
    assert (fault.line, fault.column) == (line, column)
    assert words in fault.found


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("content", [b"{" * 100_000, b"? " * 100_000, b"- " * 100_000, b"[{a: " * 50_000])
def test_bombs_end_in_one_fault(content: bytes) -> None:
    document = load_yaml(content, "f")
    assert document.root is None
    assert len(document.faults) == 1


def test_an_alias_bomb_is_not_expanded() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    document = load_yaml("\n".join(lines).encode(), "f")
    assert len(document.faults) == MAX_FAULTS
    assert document.root is not None
    assert len(str(plain(document.root))) < 5_000


def test_every_fault_of_a_file_is_told_in_one_go() -> None:
    content = b"a: &x 1\nb: *x\na: 2\nc: !t y\nd:\n"
    assert [f.line for f in load_yaml(content, "f").faults] == [1, 2, 3, 4, 5]


def test_faults_are_bounded() -> None:
    assert len(load_yaml(b"a: 1\n" * 5_000, "f").faults) == MAX_FAULTS


def test_comments_alone_are_an_empty_mapping() -> None:
    document = load_yaml(b"# nothing yet\n", "f")
    assert document.root == Table(Position(1, 1), {})
    assert not document.faults


def test_windows_line_ends_and_a_byte_order_mark_are_welcome() -> None:
    document = load_yaml(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "f")
    assert not document.faults
    assert document.root is not None
    assert plain(document.root) == {"a": 1, "b": 2}


def test_keys_are_text_whatever_they_look_like() -> None:
    document = load_yaml(b"on: 1\n5: 2\nnull: 3\n", "f")
    assert not document.faults
    assert document.root is not None
    assert plain(document.root) == {"on": 1, "5": 2, "null": 3}


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("error_rate > X", Position(1, 17)),
        ('"error_rate > X"', Position(1, 18)),
        ("'it''s > X'", Position(1, 13)),
        (r'"a \"b\" > X"', Position(1, 15)),
        ("|\n   error_rate\n     > X\n", Position(3, 8)),
        (">-\n  error_rate\n  > X\n", Position(3, 5)),
        ("error_rate\n   > X", Position(2, 6)),
        ('"\\u0065rror > X"', Position(1, 4)),
    ],
)
def test_a_place_inside_a_text_is_found_in_the_file(text: str, wanted: Position) -> None:
    found = leaf(text)
    assert found.locate(str(found.value).index("X")) == wanted


def test_a_place_behind_the_end_of_a_text_is_its_end() -> None:
    found = leaf('"error_rate >"')
    assert found.locate(len("error_rate >")) == Position(1, 17)


yaml_like = st.text(
    alphabet=st.sampled_from("ab1.-:?[]{},&*!|>'\"%@`# \n\t\\<~é\u2028\ud7ff\x00u"), max_size=60
) | st.lists(
    st.sampled_from(
        [
            "a: ",
            "- ",
            "&x ",
            "*x ",
            "<<: ",
            "!!t ",
            "[",
            "]",
            "{",
            "}",
            "\n",
            "  ",
            "---\n",
            "...\n",
            "|\n",
            '"',
            "'",
            "? ",
            "5",
            "no",
        ]
    ),
    max_size=40,
).map("".join)


@given(yaml_like)
@settings(max_examples=400, deadline=None)
def test_no_text_raises_and_every_place_is_in_the_file(text: str) -> None:
    document = load_yaml(text.encode("utf-8", "surrogatepass"), "f")
    lines = text.split("\n")
    for fault in document.faults:
        assert 1 <= fault.line <= len(lines)
        assert fault.column >= 1
    if not document.faults:
        assert document.root is not None
        plain(document.root)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(content: bytes) -> None:
    document = load_yaml(content, "f")
    assert document.faults or document.root is not None


@given(
    st.recursive(
        st.booleans() | st.none() | st.integers(-(10**14), 10**14) | st.text("abé: #\"'-{[&*!%@|>, no5.", max_size=20),
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(st.text("abc", min_size=1), inner, min_size=1, max_size=3)
        ),
        max_leaves=10,
    )
)
@settings(max_examples=150, deadline=None)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    content = pyyaml.safe_dump({"k": value}, allow_unicode=True, default_style='"' if isinstance(value, str) else None)
    document = load_yaml(content.encode(), "f")
    if not document.faults:
        assert document.root is not None
        assert _listed(plain(document.root)) == {"k": value} or "~" in content


def _listed(value: object) -> object:
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, tuple) else value
