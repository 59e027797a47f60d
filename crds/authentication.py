"""How callers prove who they are: a block of a Policy."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from crds.base import ApiModel, ObjectName, Team
from crds.rules import Rule


class AuthenticationMode(StrEnum):
    """Whether callers must show a key."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    NONE = "None"


class SecretRef(ApiModel):
    """A Secret in the Policy's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class KeySource(ApiModel):
    """Keys that callers may use."""

    secret_ref: SecretRef = Field(
        description="Secret with the keys. The name of an entry is the caller's name, its value is the key."
    )
    team: Team | None = Field(default=None, description="Team that these callers belong to.")


class Authentication(ApiModel):
    """How callers prove who they are."""

    rules: ClassVar = (
        Rule(
            "self.mode == 'None' || (has(self.keys) && size(self.keys) > 0)",
            "modes Required and Optional need keys: add keys: [{secretRef: {name: NAME}}], or write mode: None",
            lambda auth: auth.mode is AuthenticationMode.NONE or bool(auth.keys),
        ),
        Rule(
            "self.mode != 'None' || !has(self.keys) || size(self.keys) == 0",
            "mode None lets everybody in and takes no keys: remove keys, or write mode: Required",
            lambda auth: auth.mode is not AuthenticationMode.NONE or not auth.keys,
        ),
    )

    mode: AuthenticationMode = Field(
        default=AuthenticationMode.REQUIRED,
        description=(
            "Required: callers without a valid key get 401. Optional: callers without a key are let in as nobody, "
            "a wrong key gets 401. None: everybody is let in."
        ),
    )
    keys: tuple[KeySource, ...] = Field(
        default=(),
        max_length=32,
        description="Where valid keys are. Needed with the modes Required and Optional, not allowed with None.",
    )
