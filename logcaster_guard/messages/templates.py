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
    """The text is no template that a message could have: `phrase` and `values` make the phrase of what was found."""

    def __init__(self, phrase: str, /, **values: object) -> None:
        super().__init__(phrase, values)
        self.phrase, self.values = phrase, values


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
            raise BadTemplate("found.template_long", length=f"{len(text):,}", most=f"{LONGEST_TEMPLATE:,}")
        try:
            tree = self._environment.parse(text)
            self._check(tree, parameters)
            return self._environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise BadTemplate("found.template_broken", line=error.lineno, words=error.message) from error
        except (RecursionError, SyntaxError, MemoryError) as error:
            raise BadTemplate("found.template_deep") from error

    def _check(self, tree: nodes.Template, parameters: Collection[str]) -> None:
        for node in tree.find_all(nodes.Node):
            if not isinstance(node, _ALLOWED):
                raise BadTemplate("found.template_part", part=type(node).__name__.lower(), line=node.lineno)
        unknown = sorted({node.name for node in tree.find_all(nodes.Name)} - set(parameters))
        if unknown:
            raise BadTemplate("found.template_parameter", name=f"{unknown[0]!r:.60}")


def rendered(template: Template, values: Mapping[str, Any]) -> str:
    """What the template says of these values; raises `BadTemplate` where it cannot."""
    try:
        text = template.render(values)
    except (TemplateError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        words = f"{type(error).__name__}: {error}"[:260]
        raise BadTemplate("found.template_unfillable", words=words) from error
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
