"""What every kind shares: the base model, metadata, and the kinds of text that fields hold."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from crds.rules import Rule, matching

GROUP: Final = "tidegate.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "tidegate.dev/v1alpha1"

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PCHAR = r"A-Za-z0-9\-._~!$&'()+,;=:@%"  # RFC 3986 path characters, without the "*" that patterns use
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_LETTERS = "lower-case letters, digits and '-', beginning and ending with a letter or digit"

Label = Annotated[str, StringConstraints(min_length=1, max_length=63), matching(_LABEL, f"write a name of {_LETTERS}")]
"""An RFC 1123 label: names of providers and namespaces."""

ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(rf"{_LABEL}(\.{_LABEL})*", f"write a name of {_LETTERS}; parts may be joined by '.'"),
]
"""An RFC 1123 subdomain: names of Kubernetes objects and of their sections."""

SecretKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching("[-._A-Za-z0-9]+", "write the name of a Secret's entry: letters, digits, '-', '_' and '.'"),
]

CallerName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    matching("[!-~]([ -~]*[!-~])?", "write a caller's name as it is: ASCII on one line, without spaces at its ends"),
]
"""The name of a Secret's entry, or what a token's claim says (OpenID Connect Core §2: `sub` has at most 255 ASCII
characters)."""

Team = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    matching(
        "[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?",
        "write a team of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    ),
]

ModelName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    matching("[!-)+-~]*", "write one exact model name: no '*', no spaces, ASCII only"),
]

ModelPattern = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    matching(r"[!-)+-~]*\*?[!-)+-~]*", "write a model name with at most one '*', no spaces, ASCII only"),
]
"""A model name, or a pattern in which one "*" stands for any text."""

Path = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    matching(f"/[{_PCHAR}/]*", "write a path that begins with '/', such as /v1; no query, no '*', no spaces"),
]

Hostname = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        rf"(\*\.)?{_LABEL}(\.{_LABEL})*",
        "write a host name in lower case, such as voice.example.com or *.example.com; no scheme, port or path",
    ),
]

ServerName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        rf"{_LABEL}(\.{_LABEL})*",
        "write a host name in lower case, such as llm.example.com; no '*', scheme, port or path",
    ),
]
"""What a server's certificate is to be for."""

Origin = Annotated[
    str,
    StringConstraints(min_length=1, max_length=300),
    matching(
        rf"[a-z][a-z0-9+.-]*://((\*\.)?{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:{_PORT})?",
        "write the origin of a page in lower case, such as https://app.example.com, https://*.example.com or "
        "http://localhost:3000; no path, no '/' at the end",
    ),
    Rule(
        "!self.startsWith('ws:') && !self.startsWith('wss:')",
        "write the origin of the page, which begins with https:// or http://, and not the address of the WebSocket",
        lambda origin: not origin.startswith(("ws:", "wss:")),
    ),
]
"""Scheme, host and port of a page (RFC 6454), as a browser sends them in `Origin`; "*." stands for any subdomain."""

Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    matching(
        rf"https?://([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(:{_PORT})?(/[{_PCHAR}*/]*)?",
        "write http:// or https://, a host, and optionally a port and a path, such as "
        "https://api.example.com/v1; no user name or password, no query, no fragment",
    ),
]

HeaderName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    matching(
        "[!#$%&'*+.^_`|~0-9A-Za-z-]+",
        "write a header name: letters, digits and '-', such as x-team; no spaces, no ':'",
    ),
]
"""A token of RFC 9110 §5.6.2. Names are kept as written; compare them without regard to case."""

HeaderText = Annotated[
    str,
    StringConstraints(max_length=4096),
    matching(r"[^\x00-\x08\x0a-\x1f\x7f]*", "write the value on one line, without control characters"),
]


def _whole(value: object) -> object:
    """JSON has one kind of number: 1.0 is 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ApiModel(BaseModel):
    """Base of every object in the API: camelCase outside, frozen, and nothing that it does not know.

    A field that is null counts as absent, and 1.0 as 1, as they do for the API server.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # what was written may be a credential in the wrong place
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_as_the_api_server_does(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: _whole(entry) for key, entry in value.items() if entry is not None}
        return value

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> ApiModel:
        for rule in self.rules:
            rule.enforce(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json = handler.resolve_ref_schema(handler(core_schema))
        if cls.rules:
            json["x-kubernetes-validations"] = [rule.as_validation() for rule in cls.rules]
        return json


# The rest of Kubernetes' ObjectMeta: legal in a file, of no use to Tidegate.
_UNUSED_METADATA = {
    "annotations",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "labels",
    "managedFields",
    "ownerReferences",
    "selfLink",
}


class Metadata(ApiModel):
    """The part of Kubernetes' ObjectMeta that Tidegate reads; labels, annotations and the like are let go."""

    name: ObjectName
    namespace: Label = "default"
    uid: str | None = None
    generation: int = Field(default=0, strict=True)
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _let_go(cls, value: object) -> object:
        if isinstance(value, dict):
            return {key: entry for key, entry in value.items() if key not in _UNUSED_METADATA}
        return value
