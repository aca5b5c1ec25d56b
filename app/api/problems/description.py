"""Problems in the API description, and the route that explains each type."""

from typing import Annotated, Any

from fastapi import FastAPI, Path
from fastapi.responses import JSONResponse
from pydantic import ConfigDict

from app.api.problems.responses import MEDIA_TYPE, PROBLEM_REFERENCE, Problem, open_problem_responses
from app.api.problems.types import PROBLEM_TYPES, Fault
from app.api.schemas import ApiModel
from app.errors import NotFound


class Explanation(ApiModel):
    """What all problems of one type have in common."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/forbidden",
                "title": "The API key is not allowed to do this",
                "status": 403,
                "fault": "caller",
                "whatToDo": "Use a key with the scope that `requiredScope` names.",
            }
        }
    )

    type: str
    title: str
    status: int
    fault: Fault
    what_to_do: str


def describe(app: FastAPI) -> None:
    """Add the route that explains problem types, and put problems into the OpenAPI document of `app`."""
    app.add_api_route(
        "/problems/{kind}",
        explain_problem,
        tags=["problems"],
        summary="Explain a type of problem",
        response_model=Explanation,
        responses=open_problem_responses(404),
        openapi_extra={"security": []},
    )
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_problems(plain())
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


async def explain_problem(kind: Annotated[str, Path(examples=["not-found"])]) -> JSONResponse:
    """Explain what the `type` of a problem means and what to do about it."""
    if kind not in PROBLEM_TYPES:
        raise NotFound(f"There is no problem type {kind}")
    found = PROBLEM_TYPES[kind]
    return JSONResponse(
        {
            "type": f"/problems/{kind}",
            "title": found.title,
            "status": found.status,
            "fault": found.fault,
            "whatToDo": found.remedy,
        }
    )


def _add_problems(description: dict[str, Any]) -> None:
    """Replace FastAPI's validation error, which none of our routes returns, with problems."""
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for model in ("HTTPValidationError", "ValidationError"):
        schemas.pop(model, None)
    problem = Problem.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    description["components"].setdefault("responses", {})["Problem"] = {
        "description": "A problem document; `type` and `detail` say what is wrong.",
        "content": {MEDIA_TYPE: {"schema": PROBLEM_REFERENCE}},
    }
    for operations in description.get("paths", {}).values():
        for operation in operations.values():
            responses = operation.get("responses", {})
            if "422" in responses:
                responses["422"]["content"] = {MEDIA_TYPE: {"schema": PROBLEM_REFERENCE}}
            if "requestBody" in operation:
                for status in ("400", "413", "415"):
                    responses.setdefault(status, {"$ref": "#/components/responses/Problem"})
