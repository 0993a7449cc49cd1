"""Measures the shape of the code: `python -m bench.shape [FOLDER]`.

A function's length is its lines from `def` to its end, without decorators and docstring. Parameters of constructors are
those of a written `__init__`, without `self`; values (dataclasses) are not counted. A callback is a constructor's
parameter whose annotation is a `Callable`.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "logcaster_guard"
MOST_PARAMETERS = 6
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One file, parsed. `name` is its path below the package."""

    name: str
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder directly below the package; the package itself for a file that stands there."""
        first, _, rest = self.name.partition("/")
        return first if rest else "."


def modules(package: Path) -> Sequence[Module]:
    """Every Python file below `package`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text()
        found.append(Module(path.relative_to(package).as_posix(), text.count("\n"), ast.parse(text)))
    return found


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines without decorators and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    head = function.body[0].lineno - function.lineno
    return head if not body else head + (body[-1].end_lineno or 0) - body[0].lineno + 1


def constructors(tree: ast.AST) -> Iterator[tuple[str, Sequence[ast.arg]]]:
    """Each class that writes its own `__init__`, with the parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for made in node.body:
                if isinstance(made, Function) and made.name == "__init__":
                    yield node.name, [*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs][1:]


def is_callback(parameter: ast.arg) -> bool:
    """Whether the parameter is a function that its owner calls."""
    return parameter.annotation is not None and "Callable[" in ast.unparse(parameter.annotation)


def rooms(found: Sequence[Module]) -> Iterator[str]:
    """A line for each room, and one for all of them."""
    by_room: dict[str, list[Module]] = defaultdict(list)
    for module in found:
        by_room[module.room].append(module)
    yield f"{'room':<14} {'files':>5} {'lines':>6} {'functions':>9} {'median':>6} {'longest':>7}  longest function"
    for room, inside in [*sorted(by_room.items()), ("all", list(found))]:
        sizes = [(length(f), f"{m.name}:{f.name}") for m in inside for f in functions(m.tree)]
        longest, where = max(sizes, default=(0, ""))
        middle = statistics.median(size for size, _ in sizes) if sizes else 0
        lines = sum(m.lines for m in inside)
        yield f"{room:<14} {len(inside):>5} {lines:>6} {len(sizes):>9} {middle:>6g} {longest:>7}  {where}"


def wiring(found: Sequence[Module]) -> Iterator[str]:
    """How objects are put together, and which names occur twice."""
    made = [(m, name, parameters) for m in found for name, parameters in constructors(m.tree)]
    histogram = Counter(len(parameters) for _, _, parameters in made)
    yield "parameters of constructors: " + ", ".join(f"{n}: {histogram[n]}" for n in sorted(histogram))
    many = [f"{m.name}:{name} {len(p)}" for m, name, p in made if len(p) > MOST_PARAMETERS]
    yield f"constructors of more than {MOST_PARAMETERS}: {len(many)} ({', '.join(many) or 'none'})"
    callbacks = [f"{m.name}:{n}.{p.arg}" for m, n, ps in made if m.room == "engine" for p in ps if is_callback(p)]
    yield f"callbacks between objects of the engine: {len(callbacks)} ({', '.join(callbacks) or 'none'})"
    names = Counter(Path(m.name).stem for m in found)
    twice = sorted(name for name, times in names.items() if times > 1 and name != "__init__")
    yield f"module names that occur more than once: {len(twice)} ({', '.join(twice) or 'none'})"


def main() -> None:
    """Print the shape of the package, or of the folder that is named."""
    found = modules(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
    print("\n".join([*rooms(found), *wiring(found)]))


if __name__ == "__main__":
    main()
