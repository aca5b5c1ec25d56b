"""Errors in RingCentral's two envelopes: that of the API and that of the token endpoint. No I/O."""

from app.simulator.scripting.model import Json


class Refused(Exception):
    """An API request that RingCentral refuses, with everything its answer says.

    `top_code` is a word such as InsufficientPermissions where the numbered code sits inside only.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        top_code: str | None = None,
        parameter: str | None = None,
        permission: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.top_code = top_code
        self.parameter = parameter
        self.permission = permission
        self.headers = headers or {}

    def body(self) -> Json:
        """Return the error envelope; the first error's extra field is repeated at the top."""
        extra: Json = {}
        if self.parameter is not None:
            extra["parameterName"] = self.parameter
        if self.permission is not None:
            extra["permissionName"] = self.permission
        inner: Json = {"errorCode": self.code, "message": self.message} | extra
        return {"errorCode": self.top_code or self.code, "message": self.message, "errors": [inner]} | extra


class TokenRefused(Exception):
    """A request to the token endpoint that is refused in OAuth form."""

    def __init__(self, status: int, error: str, code: str, message: str) -> None:
        super().__init__(f"{status} {error} {code}: {message}")
        self.status = status
        self.error = error
        self.code = code
        self.message = message

    def body(self) -> Json:
        return {
            "error": self.error,
            "error_description": self.message,
            "errors": [{"errorCode": self.code, "message": self.message}],
        }


def invalid(parameter: str) -> Refused:
    """A parameter whose value cannot be taken."""
    return Refused(400, "CMN-101", f"Parameter [{parameter}] value is invalid", parameter=parameter)


def not_found(parameter: str) -> Refused:
    """A resource that does not exist, or does not exist yet."""
    message = f"Resource for parameter [{parameter}] is not found"
    return Refused(404, "CMN-102", message, parameter=parameter)


def lacks_scope(scope: str) -> Refused:
    """The application may not."""
    message = f"In order to call this API endpoint, application needs to have [{scope}] permission"
    return Refused(403, "CMN-401", message, top_code="InsufficientPermissions", permission=scope)


def lacks_permission(permission: str) -> Refused:
    """The user may not."""
    message = f"[{permission}] permission required"
    return Refused(403, "CMN-408", message, top_code="InsufficientPermissions", permission=permission)
