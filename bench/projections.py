"""The tables of docs/projections.md, made from the mapping files.

`python -m bench.projections` prints them; `--write` puts them into the page. A test compares the two.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from app.projections.mappings.catalogue import mappings
from app.projections.mappings.model import INPUT_TYPES, CrmMapping, FieldMapping, ObjectMapping, Scalar

PAGE = Path(__file__).parents[1] / "docs/projections.md"
_FORMS = {
    "text": "text",
    "integer": "number",
    "html": "HTML",
    "plain": "plain text",
    "choice": "see below",
    "boolean": "true or false",
    "utc": "UTC, `2026-03-10T18:07:41.012Z`",
    "utc without zone": "UTC, `2026-03-10 18:07:41`",
    "local": "the owner's time zone, `2026-03-10T11:07:41-07:00`",
    "local date": "the day in the owner's time zone, `2026-03-10`",
    "unix milliseconds": "milliseconds since 1970",
    "milliseconds": "milliseconds",
    "seconds": "whole seconds",
    "minutes": "whole minutes",
    "mm:ss": "`mm:ss`",
}


def describe(mapping: CrmMapping) -> str:
    """Return the section about one CRM, as Markdown."""
    return "\n\n".join(_describe_object(mapping, one) for one in mapping.objects)


def sections() -> Mapping[str, str]:
    """Return what stands between the page's markers, by their names."""
    return {"inputs": inputs_table()} | {crm.value: describe(one) for crm, one in mappings().items()}


def fill_in(page: str) -> str:
    """Return the page with the sections between their markers."""
    for name, section in sections().items():
        begin, end = f"<!-- projections:{name} -->", f"<!-- /projections:{name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{section}\n\n{end}{after}"
    return page


def inputs_table() -> str:
    """Return the inputs that fields are filled from."""
    return _table([("from", "meaning"), *((f"`{name}`", one.meaning) for name, one in INPUT_TYPES.items())])


def _describe_object(mapping: CrmMapping, one: ObjectMapping) -> str:
    parts = [f"### {mapping.name[0].upper()}{mapping.name[1:]}: {one.title}"]
    if one.method is not None:
        requests = [f"{one.method} {path}" for path in one.paths.values() or [one.path]]
        parts.append("\n".join(["```text", *requests, "```"]))
    parts.append(_table(_field_rows(one)))
    choices = _table(list(_choice_rows(one)))
    parts += [choices] if choices else []
    parts.append("\n".join(f"- {remark}" for remark in _remarks(one)))
    if one.sources:
        parts.append("Sources: " + ", ".join(f"<{source}>" for source in one.sources) + ".")
    return "\n\n".join(parts)


def _field_rows(one: ObjectMapping) -> list[tuple[str, ...]]:
    every = [(field, "") for field in one.fields]
    every += [(field, " (follow-up)") for request in one.follow_ups for field in request.fields]
    return [("field", "from", "as", "required", "at most"), *(_field_row(*pair) for pair in every)]


def _field_row(field: FieldMapping, where: str) -> tuple[str, ...]:
    form = "" if field.input is None else _FORMS[field.format] + (", as text" if field.as_text else "")
    required = "yes" if field.required else ""
    for key, values in field.not_for.items():
        required += f", except where `{key}` is {' or '.join(f'`{value}`' for value in values)}"
    limit = "" if field.limit is None else f"{field.limit:,}" + (" (ours)" if field.limit_is_ours else "")
    origin = f"always {_word(field.constant)}" if field.input is None else f"`{field.input}`"
    return f"`{field.name}`{where}", origin, form, required, limit


def _choice_rows(one: ObjectMapping) -> Iterator[tuple[str, ...]]:
    follow_ups = [field for request in one.follow_ups for field in request.fields]
    choices = [field for field in [*one.fields, *follow_ups] if field.values is not None]
    if choices:
        yield "", *(f"`{field.name}`" for field in choices)
    for key in dict.fromkeys(field.input for field in choices if field.input):
        for word in _ordered(key):
            cells = [_word((field.values or {}).get(word)) if field.input == key else "" for field in choices]
            if any(cells):
                yield f"`{key}` {word}", *cells


def _ordered(key: str) -> list[str]:
    return sorted(INPUT_TYPES[key].values)


def _word(value: Scalar | None) -> str:
    return "" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _remarks(one: ObjectMapping) -> Iterator[str]:
    where = f"`{one.external_id.field}`" if one.external_id.field else "none"
    yield f"External id: {where}. {one.external_id.remark}"
    found = ", ".join(
        f"`{one.field}` (the {one.what}, by {'e-mail' if one.by == 'ownerEmail' else 'number'})"
        for one in one.lookups
    )
    yield f"To look up: {found}."
    yield from one.remarks


def _table(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head, *rest = rows
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    if parser.parse_args().write:
        PAGE.write_text(fill_in(PAGE.read_text()))
    else:
        print("\n\n".join(sections().values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
