"""Print the shape of the code base: the size of folders, modules and functions, beside well-kept projects.

`python -m bench.shape [--long]` reads the source under `app/` and runs nothing. `--long` also lists what
is over a limit.
tests/contract/test_shape.py holds the limits.
"""

import argparse
import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

ANCHORS = {
    "files per folder, median": "2-6",
    "imports per module, mean": "4-7",
    "imports per module, maximum": "10-20",
    "comment lines, percent": "2.4-7.8",
}
"""Measured once on jbi, reader, procrastinate, gidgethub, polar, httpx and datasette."""


@dataclass(frozen=True, slots=True)
class Module:
    """One source file. `imports` counts the modules of `app` and of other packages that it imports from."""

    path: Path
    lines: int
    imports: int
    comments: int
    code_lines: int
    functions: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table. `limit` None: printed for orientation only."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False
    over: Sequence[str] = ()

    @property
    def is_met(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def read_modules(package: Path) -> list[Module]:
    """Parse every Python file below a folder."""
    return [_read(path) for path in sorted(package.rglob("*.py"))]


def _read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    documented = _docstring_lines(tree)
    comments = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    filled = {number for number, line in enumerate(text.splitlines(), 1) if line.strip()}
    return Module(
        path=path.relative_to(ROOT),
        lines=text.count("\n"),
        imports=len(_imported(tree)),
        comments=len(comments - documented),
        code_lines=len(filled - documented),
        functions=list(_functions(tree)),
    )


def _imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def measure(modules: Sequence[Module]) -> list[Measure]:
    """Return the rows of the table."""
    folders = Counter(module.path.parent for module in modules if module.path.name != "__init__.py")
    imports = sorted(module.imports for module in modules)
    functions = [(f"{module.path} {name}", length) for module in modules for name, length in module.functions]
    comments = 100 * sum(module.comments for module in modules) / sum(module.code_lines for module in modules)
    return [
        Measure("files", len(modules)),
        Measure("lines outside of the simulator", _lines_outside(modules, "app/simulator")),
        Measure("files per folder, median", statistics.median(folders.values()), 6),
        Measure(
            "files per folder, maximum",
            max(folders.values()),
            13,
            over=[f"{folder}: {number}" for folder, number in folders.items() if number > 13],
        ),
        Measure("imports per module, mean", round(statistics.mean(imports), 1)),
        Measure("imports per module, 90th percentile", imports[int(len(imports) * 0.9)], 15),
        Measure(
            "imports per module, maximum",
            imports[-1],
            22,
            over=[f"{module.path}: {module.imports}" for module in modules if module.imports > 22],
        ),
        Measure(
            "longest module, lines",
            max(module.lines for module in modules),
            450,
            over=[f"{module.path}: {module.lines}" for module in modules if module.lines > 450],
        ),
        Measure(
            "longest function, lines",
            max(length for _, length in functions),
            60,
            over=[f"{name}: {length}" for name, length in functions if length > 60],
        ),
        Measure("comment lines, percent", round(comments, 1), 2, at_least=True),
    ]


def _lines_outside(modules: Sequence[Module], folder: str) -> int:
    return sum(module.lines for module in modules if not module.path.is_relative_to(folder))


def table(measures: Sequence[Measure]) -> str:
    """Return the rows as Markdown."""
    rows = ["| | here | limit | well-kept projects |", "| --- | ---: | ---: | ---: |"]
    for row in measures:
        sign = ">=" if row.at_least else "<="
        limit = "" if row.limit is None else f"{sign} {row.limit:g}"
        rows.append(f"| {row.name} | {row.value:g} | {limit} | {ANCHORS.get(row.name, '')} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when a limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="list what is over a limit")
    options = parser.parse_args(arguments)
    measures = measure(read_modules(ROOT / "app"))
    print(table(measures))
    for row in measures:
        for line in row.over if options.long else ():
            print(f"{row.name}: {line}")
    return 0 if all(row.is_met for row in measures) else 1


if __name__ == "__main__":
    sys.exit(main())
