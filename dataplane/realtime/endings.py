"""How a session ends: one table of reason, event sent first, close code and metric label.

docs/reference/endings.md is made from it. Where a session ends because a peer said Close, that code and reason
are relayed as they came; `code` here is what the other leg gets where there is none to relay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Initiator = Literal["client", "upstream", "gateway"]


@dataclass(frozen=True, slots=True)
class Ending:
    """One row. `event` is the error event's (type, code), or None where the dialect needs none."""

    label: str
    initiator: Initiator
    code: int
    event: tuple[str, str] | None
    meaning: str
    reserved: bool = False
    """Nothing raises it yet; what it will look like is promised."""


CLIENT_CLOSED = Ending("client_closed", "client", 1000, None, "The client said Close; code and reason are relayed.")
CLIENT_LOST = Ending("client_lost", "client", 1001, None, "The client's connection ended without a Close frame.")
UPSTREAM_CLOSED = Ending(
    "upstream_closed", "upstream", 1000, None, "The upstream said Close; code and reason are relayed."
)
UPSTREAM_LOST = Ending(
    "upstream_lost",
    "upstream",
    1011,
    ("upstream_error", "upstream_lost"),
    "The upstream's connection ended without a Close frame. Reconnect; the conversation starts anew.",
)
UPSTREAM_INVALID = Ending(
    "upstream_invalid",
    "upstream",
    1011,
    ("upstream_error", "upstream_protocol_error"),
    "The upstream broke the WebSocket protocol, or a limit of this session on messages.",
)
PROTOCOL_ERROR = Ending("protocol_error", "gateway", 1002, None, "The client broke the WebSocket protocol.")
BAD_UTF8 = Ending("bad_utf8", "gateway", 1007, None, "A text message of the client was not UTF-8.")
MESSAGE_TOO_BIG = Ending(
    "message_too_big",
    "gateway",
    1009,
    ("invalid_request_error", "message_too_big"),
    "A message was over the limit, or what this session held of an unfinished one, of either side, was more than there "
    "was room for. Send audio in smaller parts.",
)
AMBIGUOUS_AUDIO = Ending(
    "ambiguous_audio",
    "gateway",
    1008,
    ("invalid_request_error", "invalid_value"),
    "A long audio event, already on its way, turned out to hold more than audio. Send `type` first, then `audio`.",
)
CLIENT_SILENT = Ending(
    "client_silent", "client", 1001, None, "The client answered no Ping: it is gone, or cannot be reached."
)
UPSTREAM_SILENT = Ending(
    "upstream_silent",
    "upstream",
    1011,
    ("upstream_error", "upstream_lost"),
    "The upstream answered no Ping. Reconnect; the conversation starts anew.",
)
CLIENT_STALLED = Ending(
    "client_stalled", "client", 1001, None, "The client took nothing of what waited for it for a minute."
)
UPSTREAM_STALLED = Ending(
    "upstream_stalled",
    "upstream",
    1011,
    ("upstream_error", "upstream_lost"),
    "The upstream took nothing of what waited for it for a minute.",
)
TOO_MANY_FRAGMENTS = Ending(
    "too_many_fragments",
    "gateway",
    1009,
    ("invalid_request_error", "too_many_fragments"),
    "A message came in more fragments than `session.maxFragments` allows.",
)
IDLE = Ending(
    "idle", "gateway", 1001, ("session_error", "idle_timeout"), "No message passed for as long as `session.idle` says."
)
DURATION = Ending(
    "duration",
    "gateway",
    1001,
    ("session_error", "session_expired"),
    "The session was as long as `session.duration` says.",
)
MODEL_NOT_ALLOWED = Ending(
    "model_not_allowed",
    "gateway",
    1008,
    ("permission_error", "model_not_allowed"),
    "The provider used a model of its own choice that `models.allow` of a Policy does not allow, since the client had "
    "named none: to transcribe with, or to answer with in a session that began without a model.",
)
OPERATOR = Ending("operator", "gateway", 1001, ("session_error", "ended_by_operator"), "An operator ended the session.")
DRAINING = Ending(
    "draining",
    "gateway",
    1001,
    ("session_error", "gateway_draining"),
    "The gateway is shutting down. Reconnect: another takes over; the conversation starts anew.",
)
INTERNAL = Ending(
    "internal_error", "gateway", 1011, ("server_error", "internal_error"), "The gateway failed; see its log."
)
GUARDRAIL = Ending(
    "guardrail",
    "gateway",
    1011,
    ("guardrail_error", "guardrail_blocked"),
    "A guardrail blocked what was said. The message says why.",
)
LIMIT = Ending(
    "limit",
    "gateway",
    1008,
    ("rate_limit_error", "limit_exceeded"),
    "A limit of a Policy was reached. The message says which, and when to come back.",
)
REVOKED = Ending(
    "revoked",
    "gateway",
    1008,
    ("authentication_error", "access_revoked"),
    "What the caller had shown (a key, a token) is not admitted any more, or the Backend was deleted, and "
    "`session.onRevoke` is EndSession.",
)
CREDENTIALS_NOT_CONFIGURED = Ending(
    "credentials_not_configured",
    "gateway",
    4001,
    ("server_error", "credentials_not_configured"),
    "The provider's cloud credentials are not configured in the gateway.",
    reserved=True,
)
PROJECT_MISSING = Ending(
    "project_missing",
    "gateway",
    4002,
    ("server_error", "project_missing"),
    "The provider's cloud project is not configured in the gateway.",
    reserved=True,
)

ENDINGS = (
    CLIENT_CLOSED,
    CLIENT_LOST,
    UPSTREAM_CLOSED,
    UPSTREAM_LOST,
    UPSTREAM_INVALID,
    PROTOCOL_ERROR,
    BAD_UTF8,
    MESSAGE_TOO_BIG,
    AMBIGUOUS_AUDIO,
    CLIENT_SILENT,
    UPSTREAM_SILENT,
    CLIENT_STALLED,
    UPSTREAM_STALLED,
    TOO_MANY_FRAGMENTS,
    IDLE,
    DURATION,
    MODEL_NOT_ALLOWED,
    OPERATOR,
    DRAINING,
    INTERNAL,
    GUARDRAIL,
    LIMIT,
    REVOKED,
    CREDENTIALS_NOT_CONFIGURED,
    PROJECT_MISSING,
)
