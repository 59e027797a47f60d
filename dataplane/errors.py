"""Every refusal of the gateway's own, in one catalogue: what the client sees, and what `docs/reference/errors.md`
is made from. A refusal is raised by any stage and becomes an HTTP answer before the upgrade; how a session ends
after it is the business of `dataplane.realtime.endings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from dataplane.faults import OF_CODE, Fault


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of refusal. `type` and `code` are what OpenAI-style clients branch on."""

    status: int
    type: str
    meaning: str
    """What happened and what to do, for the reference; the message of a refusal is more precise."""
    retry_after: int = 0
    """Seconds that the client is told to wait before it tries again, in the header Retry-After; 0: it is told
    nothing."""


INVALID = "invalid_request_error"
CATALOGUE: dict[str, Kind] = {
    "invalid_json": Kind(400, INVALID, "The body is not a JSON object. Send one, encoded as UTF-8."),
    "invalid_path": Kind(
        400, INVALID, "The path has dot segments, encoded slashes or control characters. Send it plain."
    ),
    "invalid_header": Kind(400, INVALID, "The request head is malformed. Check header names and values."),
    "invalid_value": Kind(400, INVALID, "A field or parameter has a value that cannot be used. The message names it."),
    "unknown_guardrail": Kind(
        400,
        INVALID,
        "The query parameter `guardrails` names one that there is not, or not for this caller; or the path is relayed "
        "unread. The message says what may be asked for.",
    ),
    "guardrail_blocked": Kind(
        400,
        "guardrail_error",
        "A guardrail of a Policy does not let the request pass, or its answer. The message gives the Policy's reason, "
        "or the names of guardrail and rule. In a stream that has begun, it is an event, and the stream ends.",
    ),
    "missing_model": Kind(400, INVALID, "No model was named and the Backend has no defaultModel. Name one."),
    "upgrade_required": Kind(
        426, INVALID, "A Realtime path takes WebSocket connections only. Connect with a WebSocket client."
    ),
    "several_domains": Kind(
        400,
        INVALID,
        "The request refers to what different providers keep, by ids of responses, encrypted content, or ids of items "
        "alone. The message says what to send instead.",
    ),
    "other_provider": Kind(
        400,
        INVALID,
        "On a WebSocket of the Responses API: what is asked is served, or kept, by another provider than the one that "
        "the connection is with. Open another connection for it.",
    ),
    "invalid_encrypted_content": Kind(
        400,
        INVALID,
        "Encrypted content that was not made here for this caller, or was changed. Send it as it was answered, or "
        "leave the item out.",
    ),
    "credentials_required": Kind(
        401,
        "authentication_error",
        "No key was sent. Send one as `Authorization: Bearer KEY`, or as the client's SDK does.",
    ),
    "invalid_api_key": Kind(
        401, "authentication_error", "The key is not known here, or has expired. Ask whoever runs the gateway."
    ),
    "invalid_token": Kind(
        401,
        "authentication_error",
        "The token (JWT) is not accepted: it has expired, is for somebody else, or is not signed by an issuer that a "
        "Policy trusts. The message says which. Get a new one.",
    ),
    "ambiguous_credentials": Kind(
        401, "authentication_error", "Several different keys were sent in one request. Send one."
    ),
    "access_revoked": Kind(
        401,
        "authentication_error",
        "What the caller showed was revoked while the session was being opened. Ask whoever runs the gateway.",
    ),
    "authentication_not_configured": Kind(
        401,
        "authentication_error",
        "The Backend injects a credential and no Policy says how callers authenticate. "
        "The message holds the YAML to apply.",
    ),
    "model_not_allowed": Kind(
        403,
        "permission_error",
        "A Policy does not allow this model to this caller, be there such a model or not; or the request could get it "
        "another one than it names. The message says what is allowed.",
    ),
    "origin_not_allowed": Kind(
        403,
        "permission_error",
        "A Policy lists the origins of pages that may open WebSockets, and this page's is not among them. Add it to "
        "`session.origins`.",
    ),
    "model_not_priced": Kind(
        403,
        "permission_error",
        "A Policy limits what may be spent, and the price of this model is not known. The message says what to write.",
    ),
    "limit_too_low": Kind(
        403,
        "permission_error",
        "A limit of a Policy is lower than what is set aside before a turn of this model begins, so none ever can: "
        "trying again is of no use. Whoever runs the gateway must raise the limit, or lower `reserve`.",
    ),
    "conversation_not_allowed": Kind(
        403,
        "permission_error",
        "The request names a stored conversation, which under an injected credential belongs to all callers. Use "
        "`previous_response_id`.",
    ),
    "path_not_allowed": Kind(
        403,
        "permission_error",
        "The path mints credentials or touches the account; it must be named in the Backend's routes.",
    ),
    "call_id_not_allowed": Kind(
        403, "permission_error", "Attaching to a call by call_id is refused under an injected credential."
    ),
    "conversation_id_not_allowed": Kind(
        403,
        "permission_error",
        "Resuming a conversation by its id is refused under an injected credential.",
    ),
    "unknown_host": Kind(
        404, "not_found_error", "No route serves this host and path. Check the URL, or expose a Backend there."
    ),
    "undeclared_path": Kind(404, "not_found_error", "The Backend serves other paths. Declare this one in spec.routes."),
    "model_not_found": Kind(
        404, "not_found_error", "The Backend does not know this model. Use one of those in spec.models."
    ),
    "response_not_found": Kind(
        404,
        INVALID,
        "No response of this id was made here for this caller. Send the id as the gateway answered it, with the same "
        "key.",
    ),
    "domain_gone": Kind(
        404,
        INVALID,
        "The providers that made it are no longer among those of the Backend, and no other can read it. Send the "
        "conversation in full.",
    ),
    "method_not_allowed": Kind(405, INVALID, "The path takes another method. The Allow header names it."),
    "request_timeout": Kind(408, INVALID, "The body did not arrive in time. Send it without long pauses."),
    "body_too_large": Kind(
        413, INVALID, "The body is over the gateway's limit. Send less, or upload by a Passthrough path."
    ),
    "unsupported_encoding": Kind(
        415, INVALID, "A body that must be read is compressed. Send it without Content-Encoding."
    ),
    "expectation_failed": Kind(
        417, INVALID, "The Expect header asks for something else than 100-continue. Leave it out."
    ),
    "head_too_large": Kind(
        431,
        INVALID,
        "The request head is over 32 KiB, or has more than 128 fields. Send fewer or shorter header fields.",
    ),
    "internal_error": Kind(500, "server_error", "The gateway failed. Its log has the details under the request's id."),
    "configuration_error": Kind(
        500, "server_error", "An object behind this route is invalid. The message names it; see its conditions."
    ),
    "upstream_unreachable": Kind(502, "upstream_error", "The provider could not be reached. The message says why."),
    "upstream_address_refused": Kind(
        502, "upstream_error", "The provider's address is in a range that the install does not allow."
    ),
    "upstream_refused": Kind(
        502,
        "upstream_error",
        "The provider refused the request; the message is the provider's. The status is too, where it has one.",
    ),
    "upstream_rate_limited": Kind(
        429, "rate_limit_error", "The provider's own limit or budget is reached; its message says which."
    ),
    "upstream_credential_rejected": Kind(
        502, "upstream_error", "The provider refused the gateway's own credential. Renew the Secret."
    ),
    "upstream_protocol_error": Kind(
        502, "upstream_error", "The provider answered something that is not the protocol expected."
    ),
    "limit_exceeded": Kind(
        429,
        "rate_limit_error",
        "A limit of a Policy is reached. The message says which, how much is left, and when it begins anew; so do the "
        "headers Retry-After, RateLimit-Policy and RateLimit.",
    ),
    "limits_unavailable": Kind(
        503,
        "server_error",
        "A Policy limits what callers may take, and its store cannot be asked. Try again soon.",
        2,
    ),
    "shutting_down": Kind(
        503, "server_error", "This gateway takes no new sessions, since it is shutting down. Connect again.", 1
    ),
    "overloaded": Kind(
        503,
        "server_error",
        "This gateway has as many sessions as it may, or hardly any memory or file descriptors left. Try again later; "
        "run more gateways.",
        5,
    ),
    "backend_overloaded": Kind(
        503,
        "server_error",
        "The Backend has as many sessions here as its `maxSessions` allows. Try again later, or raise it.",
        5,
    ),
    "issuer_keys_unavailable": Kind(
        503,
        "server_error",
        "The keys of the token's issuer were never fetched, so that no token of it can be verified. Try again later; "
        "the gateway's log says why they cannot be fetched.",
        5,
    ),
    "upstream_unavailable": Kind(
        503,
        "upstream_error",
        "Each provider has asked to be left alone for a while (Retry-After), or is a Service of the cluster none of "
        "whose endpoints is ready: then whoever runs it must see why its pods are not ready. Try again soon.",
        2,
    ),
    "upstream_timeout": Kind(504, "upstream_error", "The provider did not answer in time."),
}


class Refusal(Exception):
    """A request that is not served. Raised by any stage; answered as `status` with `body()`.

    `message` says what happened and what to do; it never holds a key. `status` differs from the catalogue's only
    where an upstream's own refusal is passed on; `relayed` is its body then, where that goes on as it came. `fault`:
    what it says of the provider that was asked, if one was; by default what the code says."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        relayed: bytes | None = None,
        fault: Fault | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.kind = CATALOGUE[code]
        self.status = status or self.kind.status
        self.headers = {**self._wait(), **(headers or {})}
        self.fault = fault or OF_CODE.get(code)
        self.unsent = False
        """Is it sure that the provider got nothing of the request?"""
        self.worked = False
        """Did the provider do its work, which counts as used?"""
        self._relayed = relayed

    def _wait(self) -> dict[str, str]:
        return {"Retry-After": str(self.kind.retry_after)} if self.kind.retry_after else {}

    def body(self) -> bytes:
        """The error in OpenAI's shape: `{"error": {message, type, param, code}}`; `relayed` where there is one."""
        if self._relayed is not None:
            return self._relayed
        error = {"message": self.message, "type": self.kind.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


def shutting_down() -> Refusal:
    """What a request for a session, or for another WebSocket, is answered once the gateway takes nothing new."""
    return Refusal("shutting_down", "This gateway is shutting down. Connect again: another takes over.")
