"""Reads the mapping files, once."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from app.projections.mappings.model import Crm, CrmMapping


@cache
def mappings() -> Mapping[Crm, CrmMapping]:
    """Return the mapping of each CRM. Raises ValidationError for a file that makes no sense."""
    folder = files("app.projections.mappings")
    return MappingProxyType(
        {crm: CrmMapping.model_validate(tomllib.loads(_text(folder / f"{crm}.toml"))) for crm in Crm}
    )


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")
