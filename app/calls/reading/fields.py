"""The parameter `fields`: which parts of a response a reader wants. Pure.

A name is that of a field, or of a field of an object in it: `from.phoneNumber`. A list is gone through item
by item. Whatever can be chosen is read from the model of the response.
"""

import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

MOST_NAMES = 100

Chosen = Mapping[str, "Chosen | None"]
"""The fields that are wanted, each with those of its object that are, or None for all of it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of an object, each with the shape of its own if it is an object or a list of objects.

    `is_open`: whether it has further fields that the model does not list.
    """

    fields: Mapping[str, "Shape | None"] = field(default_factory=dict)
    is_open: bool = False


def shape_of(model: type[BaseModel], *, open_models: Collection[type], without: Collection[str]) -> Shape:
    """Return the shape of a model on the wire. `without`: fields that cannot be chosen."""
    shapes = {
        info.alias or name: _shape_of_type(info.annotation, open_models)
        for name, info in model.model_fields.items()
    }
    return Shape({name: shape for name, shape in shapes.items() if name not in without}, model in open_models)


def _shape_of_type(annotation: Any, open_models: Collection[type]) -> Shape | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return shape_of(annotation, open_models=open_models, without=())
    origin = get_origin(annotation)
    if origin is dict:
        return Shape(is_open=True)
    if origin in (list, Union, types.UnionType, Annotated):
        found = [_shape_of_type(part, open_models) for part in get_args(annotation)]
        return next((shape for shape in found if shape is not None), None)
    return None


def read_fields(text: str, shape: Shape) -> Chosen:
    """Return what a list of names with commas chooses.

    Raises ValueError for a name that does not exist; the message lists those that do.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) > MOST_NAMES:
        raise ValueError(f"Choose at most {MOST_NAMES} fields")
    chosen: dict[str, Any] = {}
    for name in names:
        _check(name, shape)
        _add(chosen, name.split("."))
    return chosen


def _check(name: str, shape: Shape) -> None:
    at: Shape | None = shape
    above = ""
    for part in name.split("."):
        if at is None:
            raise ValueError(f"There is no field `{name}`: `{above}` has no fields of its own")
        if not part or (part not in at.fields and not at.is_open):
            known = ", ".join(f"{above}.{one}" if above else one for one in sorted(at.fields))
            raise ValueError(f"There is no field `{name}`; there are {known}")
        at = at.fields.get(part, Shape(is_open=True) if at.is_open else None)
        above = f"{above}.{part}" if above else part


def _add(chosen: dict[str, Any], path: list[str]) -> None:
    name, *rest = path
    if not rest or chosen.get(name, ()) is None:
        chosen[name] = None  # all of it, whatever else is chosen of it
    else:
        _add(chosen.setdefault(name, {}), rest)


def pick(value: Any, chosen: Chosen | None) -> Any:
    """Return the chosen parts of a JSON value. What is null, or is missing, stays so."""
    if chosen is None:
        return value
    if isinstance(value, list):
        return [pick(item, chosen) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {name: pick(item, chosen[name]) for name, item in value.items() if name in chosen}
