"""Refusals in the shape of the vendor's errors, the same over HTTP and inside a session."""

from simulator.shapes import Json


class RefusedError(Exception):
    """A request or an event that the provider does not accept; the session, if any, goes on."""

    def __init__(
        self,
        message: str,
        code: str | None = None,
        param: str | None = None,
        *,
        kind: str = "invalid_request_error",
        status: int = 400,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: Json = {"type": kind, "code": code, "message": message, "param": param}


def missing(param: str) -> RefusedError:
    """A required field that is not there."""
    return RefusedError(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)


def unknown(param: str) -> RefusedError:
    """A field that the API does not have (any more)."""
    return RefusedError(f"Unknown parameter: '{param}'.", "unknown_parameter", param)


def invalid(param: str, why: str) -> RefusedError:
    """A field whose value is not acceptable."""
    return RefusedError(f"Invalid value for '{param}': {why}", "invalid_value", param)


def of_status(status: int) -> RefusedError:
    """What the provider says with an HTTP status when it is out of sorts, or the caller is."""
    kind, code, message = _STATUSES.get(status, ("server_error", None, f"Simulated error {status}."))
    return RefusedError(message, code, kind=kind, status=status)


_STATUSES: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The simulated provider does not like this request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again in 1s."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
