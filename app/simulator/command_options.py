"""Options of commands that are declared once, as the fields of a model."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from app.simulator.scripting.traffic import check_mix
from app.simulator.settings import DEFAULT_MIX

M = TypeVar("M", bound=BaseModel)
_NAMES = {"duration_seconds": "--duration"}


def add_options(
    command: Callable[..., None], model: type[BaseModel], names: Mapping[str, str] = _NAMES
) -> None:
    """Give a command that takes `**options` an option for each described field of the model.

    `names` has the options that are not named after their field.
    """
    parameters = []
    for name, field in model.model_fields.items():
        if field.description is None:
            continue
        kind, default = field.annotation, field.get_default(call_default_factory=True)
        if isinstance(default, Mapping):
            # Typer has no mapping type: the command gets a list of texts.
            kind, default = list[str] | None, None
        flags = [names[name]] if name in names else []
        annotation: Any = Annotated[kind, typer.Option(*flags, help=field.description)]
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    own = [one for one in inspect.signature(command).parameters.values() if one.kind is one.KEYWORD_ONLY]
    # Typer reads the options of a command from its signature.
    command.__signature__ = inspect.Signature(parameters + own)  # type: ignore[attr-defined]


def read_options(model: type[M], options: Mapping[str, Any], names: Mapping[str, str] = _NAMES) -> M:
    """Validate the options of a command; raises BadParameter, which names the invalid ones."""
    try:
        return model(**options)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            field = ".".join(map(str, item["loc"]))
            problems.append(f"{names.get(field) or '--' + field.replace('_', '-')}: {item['msg']}")
        raise typer.BadParameter("; ".join(problems)) from error


def read_mix(texts: list[str] | None) -> dict[str, float]:
    """Read `script=weight` pairs, by default an ordinary day. Raises ValueError with a message for people."""
    if not texts:
        return dict(DEFAULT_MIX)
    mix: dict[str, float] = {}
    for text in texts:
        name, separator, weight = text.partition("=")
        try:
            mix[name.strip()] = float(weight) if separator else 1.0
        except ValueError as error:
            raise ValueError(f"{text!r} is not script=weight") from error
    return dict(check_mix(mix))
