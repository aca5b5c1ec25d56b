"""RingCentral's two error formats: one of the API and one of the token endpoint. No I/O."""

from dataclasses import KW_ONLY, dataclass, field

from app.simulator.scripting.model import Json


@dataclass(eq=False)
class Refused(Exception):
    """An API request that RingCentral refuses, with the content of the error response.

    `top_code` is a word such as InsufficientPermissions, for errors whose numbered code is in `errors` only.
    """

    status: int
    code: str
    message: str
    _: KW_ONLY
    top_code: str | None = None
    parameter: str | None = None
    permission: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    def body(self) -> Json:
        """Return the error object. It repeats the extra fields of its first error at the top."""
        extra: Json = {}
        if self.parameter is not None:
            extra["parameterName"] = self.parameter
        if self.permission is not None:
            extra["permissionName"] = self.permission
        inner: Json = {"errorCode": self.code, "message": self.message} | extra
        return {"errorCode": self.top_code or self.code, "message": self.message, "errors": [inner]} | extra


@dataclass(eq=False)
class TokenRefused(Exception):
    """A request that the token endpoint refuses, in OAuth form."""

    status: int
    error: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.status} {self.error} {self.code}: {self.message}"

    def body(self) -> Json:
        return {
            "error": self.error,
            "error_description": self.message,
            "errors": [{"errorCode": self.code, "message": self.message}],
        }


def invalid(parameter: str) -> Refused:
    """A parameter has an invalid value."""
    return Refused(400, "CMN-101", f"Parameter [{parameter}] value is invalid", parameter=parameter)


def not_found(parameter: str) -> Refused:
    """A resource does not exist, or does not exist yet."""
    message = f"Resource for parameter [{parameter}] is not found"
    return Refused(404, "CMN-102", message, parameter=parameter)


def lacks_scope(scope: str) -> Refused:
    """The application lacks a scope."""
    message = f"In order to call this API endpoint, application needs to have [{scope}] permission"
    return Refused(403, "CMN-401", message, top_code="InsufficientPermissions", permission=scope)


def lacks_permission(permission: str) -> Refused:
    """The user lacks a permission."""
    message = f"[{permission}] permission required"
    return Refused(403, "CMN-408", message, top_code="InsufficientPermissions", permission=permission)
