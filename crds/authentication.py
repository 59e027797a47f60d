"""How callers prove who they are: a block of a Policy."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from crds.base import ApiModel, ObjectName, Team
from crds.rules import Rule, Unique, exactly_one, matching


class AuthenticationMode(StrEnum):
    """Whether callers must show a key or a token."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    NONE = "None"


class SecretRef(ApiModel):
    """A Secret in the Policy's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


_NAME = "[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"([a-z0-9]([-.a-z0-9]{{0,251}}[a-z0-9])?/)?{_NAME}"
_LABELS = (
    'write labels as Kubernetes has them, at least one, such as tidegate.dev/callers: "true": a name of at most 63 '
    "letters, digits, '-', '_' and '.', with a domain and '/' before it if wanted; a value of the same characters"
)


def _are_labels(labels: dict[str, str]) -> bool:
    return bool(labels) and all(re.fullmatch(_LABEL_KEY, key) for key in labels)


class SecretSelector(ApiModel):
    """Secrets in the Policy's own namespace, by their labels."""

    match_labels: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=63), matching(f"({_NAME})?", _LABELS)]],
        Rule(f'size(self) > 0 && self.all(k, k.matches(r"^({_LABEL_KEY})$"))', _LABELS, _are_labels),
    ] = Field(max_length=8, description="Labels that a Secret must have, all of them. At least one.")


class KeySource(ApiModel):
    """Keys that callers may use. Exactly one of secretRef and secretSelector."""

    rules: ClassVar = (exactly_one("secret_ref", "secret_selector", example="secretRef: {name: NAME}"),)

    secret_ref: SecretRef | None = Field(
        default=None,
        description=(
            "Secret with the keys. The name of an entry is the caller's name; its value is the key, or JSON with key "
            "or sha256 (the key's SHA-256 in hex) and, if wanted, expires (a time, such as 2027-01-31T12:00:00Z)."
        ),
    )
    secret_selector: SecretSelector | None = Field(
        default=None,
        description="Secrets with keys, by their labels: every one of this namespace that has them, now or later.",
    )
    team: Team | None = Field(default=None, description="Team that these callers belong to.")


_LOOPBACK = r"(localhost|127\.0\.0\.1|\[::1\])"
_HOST = r"([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])"
_REST = r"(:[1-9][0-9]{0,4})?(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)?(\?[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*)?"

JwksUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    matching(
        f"(https://{_HOST}|http://{_LOOPBACK}){_REST}",
        "write an https:// address, such as https://idp.example.com/jwks.json (http:// for this machine's loopback "
        "alone: whoever changes the keys on their way can be anybody); no user name or password, no fragment",
    ),
]

Visible = matching("[!-~]+", "write it without spaces, in ASCII, as it is in the tokens")
Issuer = Annotated[str, StringConstraints(min_length=1, max_length=512), Visible]
Audience = Annotated[str, StringConstraints(min_length=1, max_length=256), Visible]
ClaimName = Annotated[str, StringConstraints(min_length=1, max_length=128), Visible]


class Jwks(ApiModel):
    """The public keys of an issuer, a JSON Web Key Set (RFC 7517). Exactly one of inline and url."""

    rules: ClassVar = (exactly_one("inline", "url", example="url: https://idp.example.com/jwks.json"),)

    inline: Annotated[str, StringConstraints(min_length=1, max_length=16_384)] | None = Field(
        default=None,
        repr=False,  # a private key may have been pasted
        description="The set itself, as JSON text: '{\"keys\": [...]}'. Public keys alone: RSA, EC or Ed25519.",
    )
    url: JwksUrl | None = Field(
        default=None,
        description=(
            "Where the issuer publishes the set (jwks_uri). It is fetched when the Policy is loaded, every ten minutes "
            "or so, and when a token names a key that is not known; when it cannot be had, the keys that are known "
            "stay. https, or http on loopback; redirects are not followed."
        ),
    )


class Claims(ApiModel):
    """Claims of a token that say who the caller is."""

    key: ClaimName = Field(
        default="sub",
        description=(
            "Name of the claim that has the caller's name: text of 1 to 255 printable ASCII characters. A token "
            "without it is refused."
        ),
    )
    team: ClaimName | None = Field(
        default=None,
        description=(
            "Name of the claim that has the caller's team: text as in team. A token without it is refused. Absent: "
            "the team in team, or none."
        ),
    )


class JwtIssuer(ApiModel):
    """Tokens (JWT, RFC 7519) of one issuer."""

    rules: ClassVar = (
        Rule(
            "!has(self.team) || !has(self.claims) || !has(self.claims.team)",
            "the team is either the same for all tokens (team) or in a claim of each (claims.team): remove one",
            lambda each: each.team is None or each.claims is None or each.claims.team is None,
        ),
    )

    issuer: Issuer = Field(description="Who issues the tokens: their claim iss, to the letter.")
    audiences: Annotated[tuple[Audience, ...], Unique()] = Field(
        min_length=1,
        max_length=8,
        description="Whom the tokens are for: their claim aud must have one of these. From 1 to 8.",
    )
    jwks: Jwks = Field(description="The issuer's public keys.")
    claims: Claims | None = Field(
        default=None, description="Claims that say who the caller is. Absent: sub has the caller's name."
    )
    team: Team | None = Field(default=None, description="Team that all of these callers belong to.")


_TAKEN_HEADERS = (
    "accept.*|access-control-.*|age|anthropic-.*|b3|baggage|cache-control|connection|content-.*|cookie2?|date|dnt|"
    "expect|forwarded|from|host|http2-settings|if-.*|keep-alive|max-forwards|openai-.*|origin|pragma|prefer|priority|"
    "proxy-.*|range|referer|sec-.*|server|set-cookie2?|te|trace(parent|state)|trailer|transfer-encoding|true-client-ip|"
    "upgrade.*|user-agent|via|x-b3-.*|x-envoy-.*|x-forwarded-.*|x-real-ip|x-request-id|x-stainless-.*|x-tidegate-.*"
)
"""Headers that say something else: about a connection, a body, a browser, the client's way here, a trace."""
_TAKEN_PARAMETERS = "api-version|call_id|guardrails|intent|model"

LocationHeader = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching("[A-Za-z0-9-]+", "write a header name of letters, digits and '-', such as x-gateway-key"),
    Rule(
        f'!self.lowerAscii().matches(r"^({_TAKEN_HEADERS})$")',
        "this header says something else in a request: take one of its own, such as x-gateway-key",
        lambda name: not re.fullmatch(_TAKEN_HEADERS, name.lower()),
    ),
]
LocationParameter = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching("[A-Za-z0-9._~-]+", "write a parameter name of letters, digits, '-', '_', '.' and '~', such as gw_key"),
    Rule(
        f'!self.matches(r"^({_TAKEN_PARAMETERS})$")',
        "this parameter says something else in a request: take one of its own, such as gw_key",
        lambda name: not re.fullmatch(_TAKEN_PARAMETERS, name),
    ),
]


class Location(ApiModel):
    """Where the credential is looked for, and nowhere else. Exactly one of header and query."""

    rules: ClassVar = (exactly_one("header", "query", example="header: x-gateway-key"),)

    header: LocationHeader | None = Field(
        default=None,
        description=(
            'Name of a header, case does not matter. Its value is the key or token, with or without "Bearer " before '
            "it. Headers that say something else (host, cookie, content-type, …) cannot be taken."
        ),
    )
    query: LocationParameter | None = Field(
        default=None,
        description=(
            "Name of a query parameter, for clients that can set no header. Others see addresses more easily than "
            "headers: prefer header."
        ),
    )


class Authentication(ApiModel):
    """How callers prove who they are."""

    rules: ClassVar = (
        Rule(
            "self.mode == 'None' || (has(self.keys) && size(self.keys) > 0) || (has(self.jwt) && size(self.jwt) > 0)",
            "modes Required and Optional need keys or jwt: add keys: [{secretRef: {name: NAME}}], or write mode: None",
            lambda auth: auth.mode is AuthenticationMode.NONE or bool(auth.keys or auth.jwt),
        ),
        Rule(
            "self.mode != 'None' || ((!has(self.keys) || size(self.keys) == 0) && "
            "(!has(self.jwt) || size(self.jwt) == 0) && !has(self.location))",
            "mode None lets everybody in and takes no keys, jwt or location: remove them, or write mode: Required",
            lambda auth: auth.mode is not AuthenticationMode.NONE or not (auth.keys or auth.jwt or auth.location),
        ),
    )

    mode: AuthenticationMode = Field(
        default=AuthenticationMode.REQUIRED,
        description=(
            "Required: callers without a valid key or token get 401. Optional: callers without one are let in as "
            "nobody, a wrong one gets 401. None: everybody is let in."
        ),
    )
    keys: tuple[KeySource, ...] = Field(
        default=(),
        max_length=32,
        description="Where valid keys are. The modes Required and Optional need keys or jwt; None allows neither.",
    )
    jwt: Annotated[tuple[JwtIssuer, ...], Unique("issuer")] = Field(
        default=(),
        max_length=8,
        description="Issuers whose tokens are accepted. Whoever is trusted to issue them may name any caller.",
    )
    location: Location | None = Field(
        default=None,
        description=(
            "Where the key or token is looked for, and nowhere else; it is taken out of the request there. Needed "
            "where a provider has auth.passthrough, so that the client's other credential can go on to it. Absent: "
            "wherever real clients put one (Authorization, api-key, x-api-key, x-goog-api-key, the query, WebSocket "
            "subprotocols)."
        ),
    )
