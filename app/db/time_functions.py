"""SQL functions over time that both databases have."""

from typing import Any

from sqlalchemy import Float, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Steps(FunctionElement[int]):
    """Whole steps of a number of seconds, since 1970 or between columns: `Steps(seconds, at[, since])`."""

    type = Integer()
    inherit_cache = True
    name = "aftercall_steps"


class Epoch(FunctionElement[float]):
    """Seconds since 1970."""

    type = Float()
    inherit_cache = True
    name = "aftercall_epoch"


@compiles(Epoch)
def _epoch(element: Any, compiler: Any, **kw: Any) -> str:
    return f"EXTRACT(EPOCH FROM {compiler.process(element.clauses, **kw)})"


@compiles(Epoch, "sqlite")
def _epoch_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"((julianday({compiler.process(element.clauses, **kw)}) - 2440587.5) * 86400.0)"


@compiles(Steps)
def _steps(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(FLOOR({compiler.process(element.clauses, **kw)}) AS BIGINT)"


@compiles(Steps, "sqlite")
def _steps_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST(({compiler.process(element.clauses, **kw)}) AS INTEGER)"
