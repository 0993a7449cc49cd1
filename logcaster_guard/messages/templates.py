"""Templates of messages: jinja2 in its sandbox, and of its language only what ends by itself and stays small.

A template may show parameters, put them through filters, and choose by conditions. There are no loops, calls,
attributes, macros or arithmetic, so that its output is at most a few times as long as what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST_TEMPLATE = 4_000
LONGEST_TEXT = 16_000
"""Characters of a template, and of a text that one gives; a longer one is cut."""

_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Filter,
    nodes.Test,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
)
_TESTS = ("defined", "none")


class BadTemplate(ValueError):
    """The text is no template that a message could have; says what was found in it."""


class Templates:
    """Compiles templates that may use these filters."""

    def __init__(self, filters: Mapping[str, Callable[..., Any]]) -> None:
        # Messages go to channels that escape by themselves, never into a page.
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        self._environment.globals.clear()
        self._environment.filters = dict(filters)
        self._environment.tests = {name: self._environment.tests[name] for name in _TESTS}

    def compiled(self, text: str, parameters: Collection[str]) -> Template:
        """The template, which may show these parameters; raises `BadTemplate`."""
        if len(text) > LONGEST_TEMPLATE:
            raise BadTemplate(f"a text of {len(text):,} characters, where {LONGEST_TEMPLATE:,} are allowed")
        try:
            tree = self._environment.parse(text)
            self._check(tree, parameters)
            return self._environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise BadTemplate(f"no template (line {error.lineno}: {error.message})") from error
        except (RecursionError, SyntaxError, MemoryError) as error:
            raise BadTemplate("a template that is nested too deeply") from error

    def _check(self, tree: nodes.Template, parameters: Collection[str]) -> None:
        for node in tree.find_all(nodes.Node):
            if not isinstance(node, _ALLOWED):
                raise BadTemplate(f"{type(node).__name__.lower()} in line {node.lineno} of the template")
        unknown = sorted({node.name for node in tree.find_all(nodes.Name)} - set(parameters))
        if unknown:
            raise BadTemplate(f"the unknown parameter {unknown[0]!r:.60}")


def rendered(template: Template, values: Mapping[str, Any]) -> str:
    """What the template says of these values; raises `BadTemplate` where it cannot."""
    try:
        text = template.render(values)
    except (TemplateError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadTemplate(f"a template that cannot be filled in ({type(error).__name__}: {error})"[:300]) from error
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
