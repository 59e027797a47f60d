"""What one realtime session may take, and who may hold one: a block of a Policy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crds.base import ApiModel, Origin
from crds.quantities import Duration, Size, lasting, sized
from crds.rules import Unique, at_least_one


class SessionLimits(ApiModel):
    """What one realtime session may take, and who may hold one. At least one; what is not said has its default,
    whatever a broader Policy says: the narrowest Policy with this block wins whole."""

    rules: ClassVar = (at_least_one("idle", "duration", "max_message", "max_fragments", "origins", "on_revoke"),)

    idle: Annotated[Duration, lasting("1s", "24h", such_as="30m")] | None = Field(
        default=None,
        description=(
            "How long a session may go without a message in either direction, Pings aside. Then it ends with "
            "idle_timeout and close code 1001. From 1s to 24h; default 30m."
        ),
    )
    duration: Annotated[Duration, lasting("1s", "24h", such_as="1h")] | None = Field(
        default=None,
        description=(
            "How long a session may last. Then it ends with session_expired and close code 1001, be it in mid-turn. "
            "Providers have limits of their own: OpenAI ends a session after an hour, xAI after two. "
            "From 1s to 24h; default 3h."
        ),
    )
    max_message: Annotated[Size, sized("1Ki", "64Mi", such_as="24Mi")] | None = Field(
        default=None,
        description=(
            "Size of one message in either direction, in bytes or with a unit (k, M, Ki, Mi). A larger one of the "
            "client's ends the session with message_too_big and close code 1009, one of the provider's with "
            "upstream_protocol_error and 1011. From 1Ki to 64Mi; default 24Mi."
        ),
    )
    max_fragments: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "WebSocket frames that one message may come in, in either direction. More end the session, as a message "
            "that is too large does: the client's with too_many_fragments. From 1 to 1000000; default 65536."
        ),
    )
    # An empty list could mean every page or none.
    origins: Annotated[tuple[Origin, ...], Field(min_length=1, max_length=32), Unique()] | None = Field(
        default=None,
        description=(
            "Origins of the pages that may open WebSockets, of Passthrough paths too: scheme, host, and the port where "
            "it is not the usual one; '*.' before the host stands for any subdomain. A page of another origin gets "
            "403 with origin_not_allowed; clients that are no browsers send no Origin, and are let in. Absent: any."
        ),
    )
    on_revoke: Literal["KeepSession", "EndSession"] | None = Field(
        default=None,
        description=(
            "What becomes of a live session, or of a WebSocket of a Passthrough path, when its caller would not be let "
            "in any more: the key was removed or replaced or has expired, the token has expired or its issuer is gone, "
            "no Policy admits it, or the Backend was deleted. KeepSession: it goes on. EndSession: within a second it "
            "ends with access_revoked and close code 1008. What a session began with holds. Default KeepSession."
        ),
    )
