"""Backend: where models are, what they are called and cost, and which paths lead to them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from crds.base import (
    ApiModel,
    HeaderName,
    Hostname,
    Label,
    Metadata,
    ModelName,
    ModelPattern,
    ObjectName,
    Path,
    SecretKey,
    Url,
)
from crds.quantities import Duration, lasting
from crds.rules import Rule, Unique, at_least_one, exactly_one, matching, refuse
from crds.upstream_tls import UpstreamTls


class RouteType(StrEnum):
    """How requests to a path are handled."""

    COMPLETIONS = "Completions"
    REALTIME = "Realtime"
    RESPONSES = "Responses"
    PASSTHROUGH = "Passthrough"


class SecretKeyRef(ApiModel):
    """One entry of a Secret in the Backend's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(
        default="Authorization",
        description='Entry of the Secret that holds the credential, with or without "Bearer " before it.',
    )


class PassthroughAuth(ApiModel):
    """The client's own credential goes on to the provider. Write `{}`."""


class Scheme(StrEnum):
    """How a credential is shown."""

    API_KEY = "ApiKey"
    BEARER = "Bearer"


class Auth(ApiModel):
    """The credential that the provider sees. Exactly one of secretRef and passthrough."""

    rules: ClassVar = (
        exactly_one("secret_ref", "passthrough", example="secretRef: {name: NAME}"),
        Rule(
            "!has(self.scheme) || has(self.secretRef)",
            "scheme says how the credential of secretRef is shown: remove it, or add secretRef",
            lambda auth: auth.scheme is None or auth.secret_ref is not None,
        ),
    )

    secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="A credential from a Secret. Callers then need one of their own: see Policy's authentication.",
    )
    passthrough: PassthroughAuth | None = Field(
        default=None, description="The client's own credential goes on to the provider. Write `{}`."
    )
    scheme: Scheme | None = Field(
        default=None,
        description=(
            "How Azure is shown the credential. ApiKey: in the header api-key. Bearer: in the header Authorization, as "
            "it takes tokens of Entra ID. Only with azure, where absent means ApiKey; all others are shown a Bearer."
        ),
    )


class OpenAIProvider(ApiModel):
    """The OpenAI API. Write `{}`."""


class AzureProvider(ApiModel):
    """A resource of Azure OpenAI, whose deployments are the models."""

    resource_name: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=64),
            matching(
                "[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]",
                "write the resource's name alone, such as my-resource for https://my-resource.openai.azure.com",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Name of the resource, which is at https://NAME.openai.azure.com. For another address, write url.",
    )
    api_version: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=18),
            matching(
                "[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?",
                "write a version of the API as Azure names them, such as 2025-04-01-preview; leave it out for GA",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "Version of the API before GA, whose paths name deployments and whose realtime events are those of the "
            "beta. Absent: the GA API, at /openai/v1."
        ),
    )


class XaiProvider(ApiModel):
    """The xAI API. Write `{}`."""


class ServiceRef(ApiModel):
    """One port of a Kubernetes Service."""

    name: Label = Field(description="Name of the Service.")
    namespace: Label | None = Field(
        default=None,
        description=(
            "Namespace of the Service. Absent: the Backend's own. In another one, a ReferenceGrant must let Backends "
            "of this namespace refer to Services there."
        ),
    )
    port: int = Field(
        ge=1,
        le=65535,
        strict=True,
        json_schema_extra={"format": "int32"},
        description="Port of the Service, as its spec.ports[].port has it.",
    )


class CustomProvider(ApiModel):
    """Something that speaks the OpenAI API: a Service of the cluster, or with `{}` the address in url."""

    service: ServiceRef | None = Field(
        default=None,
        description=(
            "A Service of this cluster, whose ready endpoints are called directly, by plain HTTP unless the provider "
            "has tls. It takes the place of url."
        ),
    )


_NO_ADDRESS = (
    "custom has no default address: add url, such as https://llm.example.com/v1, or in a cluster custom.service, such "
    "as service: {name: vllm, port: 8000}"
)


class Provider(ApiModel):
    """One service that runs models: what it is, where it is and how to authenticate to it."""

    rules: ClassVar = (
        exactly_one("openai", "azure", "xai", "custom", example="openai: {}"),
        Rule(
            "!has(self.azure) || has(self.azure.resourceName) != has(self.url)",
            "azure needs one address: set exactly one of azure.resourceName and url, for example azure: {resourceName: "
            "my-resource}",
            lambda provider: provider.azure is None or (provider.azure.resource_name is None) != (provider.url is None),
        ),
        Rule(
            "!has(self.auth) || !has(self.auth.scheme) || has(self.azure)",
            "auth.scheme is for azure alone, since the others take nothing but a Bearer: remove it",
            lambda provider: provider.auth is None or provider.auth.scheme is None or provider.azure is not None,
        ),
        Rule(
            "!has(self.custom) || has(self.custom.service) || has(self.url)",
            _NO_ADDRESS,
            lambda provider: provider.custom is None or provider.custom.service is not None or provider.url is not None,
        ),
        Rule(
            "!has(self.custom) || !has(self.custom.service) || !has(self.url)",
            "custom.service is an address, and so is url: remove one of the two",
            lambda provider: provider.custom is None or provider.custom.service is None or provider.url is None,
        ),
        Rule(
            "!has(self.tls) || !has(self.url) || self.url.startsWith('https://')",
            "tls is for addresses that begin with https://, and this url does not: write https:// there, or remove tls",
            lambda provider: provider.tls is None or provider.url is None or provider.url.startswith("https://"),
        ),
    )

    name: Label = Field(description="Name of the provider, unique in this Backend. Targets and Policies use it.")
    openai: OpenAIProvider | None = Field(
        default=None, description="The OpenAI API, at https://api.openai.com/v1 unless url says otherwise. Write `{}`."
    )
    azure: AzureProvider | None = Field(
        default=None,
        description=(
            "Azure OpenAI, at the resource of that name, or at the address in url. A target's model is the name of a "
            "deployment."
        ),
    )
    xai: XaiProvider | None = Field(
        default=None,
        description=(
            "The xAI API, at https://api.x.ai/v1 unless url says otherwise; its voice sessions are billed by time. "
            "Write `{}`."
        ),
    )
    custom: CustomProvider | None = Field(
        default=None,
        description=(
            "Any service that speaks the OpenAI API: at the address in url (then write `{}`), or a Service of the "
            "cluster."
        ),
    )
    url: Url | None = Field(
        default=None,
        description=(
            "Address that replaces the default of the provider's kind: http or https, a host, and optionally a port "
            "and a path. The client's path is appended; a /v1 that both have is not doubled."
        ),
    )
    auth: Auth | None = Field(
        default=None, description="Credential for the provider. Absent: requests are sent without one."
    )
    tls: UpstreamTls | None = Field(
        default=None,
        description=(
            "TLS towards the provider, where that is not a public server that anybody may call: private authorities, "
            "a client certificate, another name. A Service is called by HTTPS then."
        ),
    )
    domain: Label | None = Field(
        default=None,
        description=(
            "Providers of one domain in this namespace share what the vendor keeps: stored responses and encrypted "
            "content, as credentials of one organisation do. What one of them made, any of them may be asked about. "
            "Absent: this provider alone has what it made."
        ),
    )
    default_model: ModelName | None = Field(default=None, description="Model to ask for where a request names none.")
    model_override: ModelName | None = Field(default=None, description="Model to ask for whatever a request names.")
    weight: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "Share of what the Backend takes, relative to the other providers of the same priority. Where a model has "
            "targets, the share of each is its own weight times this. 0: none. Absent: 1."
        ),
    )
    priority: int | None = Field(
        default=None,
        ge=0,
        le=15,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "The providers with the lowest number take everything. Those of the next are asked where each of these is "
            "ejected, rests, has as many sessions as its maxSessions allows, or has just failed. Absent: 0."
        ),
    )
    max_sessions: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "Realtime sessions, and WebSockets of other paths, that each gateway process holds with this "
            "provider at a time. Further ones go to the others; where those have no room either, they are refused with "
            "503 and Retry-After. Absent: no cap."
        ),
    )


class Target(ApiModel):
    """One place that serves a model."""

    provider: Label = Field(description="Name of one of this Backend's providers.")
    model: ModelPattern | None = Field(
        default=None,
        description=(
            "What the provider calls the model. A '*' becomes what the '*' of the model's public name matched. "
            "Absent: the requested name goes on as it is."
        ),
    )
    weight: int = Field(
        default=1,
        ge=0,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description="Share of the requests, relative to the other targets. 0: none.",
    )


Usd = Annotated[
    str,
    StringConstraints(min_length=1, max_length=17),
    matching(
        r"[0-9]{1,7}(\.[0-9]{1,9})?", 'write USD per million tokens as a decimal in quotes, such as "0.40" or "32"'
    ),
]
"""USD per million tokens, as a decimal: text, since a float would round it."""


UsdPer = Annotated[
    str,
    StringConstraints(min_length=1, max_length=17),
    matching(r"[0-9]{1,7}(\.[0-9]{1,9})?", 'write USD as a decimal in quotes, such as "0.08" or "0.004"'),
]
"""USD for one of something, as a decimal: text, since a float would round it."""


class Price(ApiModel):
    """What a model costs in USD: per million tokens, by direction and modality; where time is billed, per minute. At
    least one price."""

    rules: ClassVar = (
        at_least_one(
            "input_text",
            "input_audio",
            "input_image",
            "cached_text",
            "cached_audio",
            "cached_image",
            "output_text",
            "output_audio",
            "session_minute",
            "audio_minute",
            "item",
        ),
    )

    input_text: Usd | None = Field(default=None, description="Text tokens of the input that were not cached.")
    input_audio: Usd | None = Field(default=None, description="Audio tokens of the input that were not cached.")
    input_image: Usd | None = Field(default=None, description="Image tokens of the input that were not cached.")
    cached_text: Usd | None = Field(default=None, description="Text tokens of the input, read from a cache.")
    cached_audio: Usd | None = Field(default=None, description="Audio tokens of the input, read from a cache.")
    cached_image: Usd | None = Field(default=None, description="Image tokens of the input, read from a cache.")
    output_text: Usd | None = Field(default=None, description="Text tokens of the output.")
    output_audio: Usd | None = Field(default=None, description="Audio tokens of the output.")
    session_minute: UsdPer | None = Field(
        default=None,
        description=(
            "A minute of a realtime session, by the clock, at a provider that bills time (xai), while the server "
            "detects turns by voice."
        ),
    )
    audio_minute: UsdPer | None = Field(
        default=None,
        description=(
            "A minute of audio that is billed by its length: in both directions at a provider that bills time (xai), "
            "while the client ends turns itself; and what a transcription model says that it heard."
        ),
    )
    item: UsdPer | None = Field(
        default=None,
        description=(
            "An item that a client adds to the conversation at a provider that bills time (xai), unless it is audio or "
            "the output of a function."
        ),
    )


def _stars_have_a_source(model: Model) -> bool:
    if "*" in model.name:
        return True
    for index, target in enumerate(model.targets):
        if target.model and "*" in target.model:
            message = "'*' stands for what the '*' in name matched, but name has none: write the exact model"
            raise refuse(message, "targets", index, "model")
    return True


class Model(ApiModel):
    """A public model name, or a pattern of names, and what serves it."""

    rules: ClassVar = (
        Rule(
            "self.name.contains('*') || self.targets.all(t, !has(t.model) || !t.model.contains('*'))",
            "a target's model may hold '*' only when name does: write the exact model, or a pattern as name",
            _stars_have_a_source,
        ),
        Rule(
            "self.targets.exists(t, t.weight > 0)",
            "every target has weight 0, so nothing serves the model: give one a weight above 0",
            lambda model: any(target.weight for target in model.targets),
        ),
    )

    name: ModelPattern = Field(
        description=(
            "Name that clients ask for: exact, or a pattern in which one '*' stands for any text, such as gpt-*. "
            "Unique in this Backend. Where a client names a model inside a session, to transcribe with, the session's "
            "provider is sent the first target of its own with a weight above 0; the client goes on to see this name. "
            "Names that are not declared are sent as they are there."
        )
    )
    targets: tuple[Target, ...] = Field(
        min_length=1, max_length=16, description="What serves the model. Requests are shared by weight."
    )
    price: Price | None = Field(
        default=None, description="What the model costs. It wins over the built-in price catalogue."
    )


class Expose(ApiModel):
    """How the gateway serves the Backend without the Gateway API. `{}` means the path /<namespace>/<name>/."""

    hostnames: Annotated[tuple[Hostname, ...], Unique()] = Field(
        default=(),
        max_length=16,
        description=(
            "Host names that requests must have. A leading '*.' matches any subdomain. Absent: every host name."
        ),
    )
    path_prefix: Path | None = Field(
        default=None,
        description="Path before the Backend's own paths. It is stripped before a request goes on to the provider.",
    )


class Timeouts(ApiModel):
    """How long the Backend's providers are waited for. At least one; what is not said has its default."""

    rules: ClassVar = (at_least_one("connect", "handshake", "first_event", "response", "idle"),)

    connect: Annotated[Duration, lasting("100ms", "1m", such_as="5s")] | None = Field(
        default=None,
        description=(
            "For a connection to the provider, name look-up and TLS included; then 504. From 100ms to 1m; default 5s."
        ),
    )
    handshake: Annotated[Duration, lasting("100ms", "5m", such_as="10s")] | None = Field(
        default=None,
        description="For the provider's answer to a WebSocket handshake; then 504. From 100ms to 5m; default 10s.",
    )
    first_event: Annotated[Duration, lasting("100ms", "1m", such_as="1s")] | None = Field(
        default=None,
        description=(
            "For a realtime session's first event, which the client's own handshake waits for, so that what the "
            "provider refuses is an HTTP status; then the session begins without one. From 100ms to 1m; default 1s."
        ),
    )
    response: Annotated[Duration, lasting("100ms", "1h", such_as="2m")] | None = Field(
        default=None,
        description=(
            "From the end of an HTTP request to the head of its answer, which for a completion that is not streamed "
            "comes when all of it is made; then 504. From 100ms to 1h; default 2m."
        ),
    )
    idle: Annotated[Duration, lasting("100ms", "1h", such_as="5m")] | None = Field(
        default=None,
        description=(
            "Between two pieces of an HTTP answer; then the answer is cut off. Not for realtime sessions: see "
            "session.idle of Policy. From 100ms to 1h; default 5m."
        ),
    )


_CREDENTIALS = "authorization|api-key|x-api-key|x-goog-api-key|cookie|proxy-authorization"
_NO_KEYS = "a header with a credential is no place to stick to: for callers write caller: {}"


class StickyCaller(ApiModel):
    """By the caller's key. Write `{}`."""


class Sticky(ApiModel):
    """What requests have in common that go to the same provider, while that is healthy. Exactly one."""

    rules: ClassVar = (exactly_one("header", "caller", example="caller: {}"),)

    header: (
        Annotated[
            HeaderName,
            Rule(
                f'!self.lowerAscii().matches(r"^({_CREDENTIALS})$")',
                _NO_KEYS,
                lambda name: name.lower() not in _CREDENTIALS.split("|"),
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Name of a header of the request. Requests without it are balanced as if nothing were said here.",
    )
    caller: StickyCaller | None = Field(
        default=None,
        description="The caller's key. Callers without one are balanced as if nothing were said here. Write `{}`.",
    )


class Balance(ApiModel):
    """How requests are shared among the providers of one priority. At least one."""

    rules: ClassVar = (at_least_one("strategy", "sticky"),)

    strategy: Literal["LeastActive", "Weighted"] | None = Field(
        default=None,
        description=(
            "LeastActive: to the provider that has the fewest under way in this gateway process, in proportion to its "
            "weight; sessions are counted with sessions, requests with requests. Weighted: by chance, by weight. "
            "Absent: LeastActive for realtime sessions and WebSockets, Weighted for requests."
        ),
    )
    sticky: Sticky | None = Field(
        default=None,
        description=(
            "Keep requests that have something in common on one provider, in proportion to the weights; it goes before "
            "strategy. When a provider cannot be used, only what was its own moves."
        ),
    )


class Health(ApiModel):
    """When a provider is left out, and for how long. At least one; what is not said has its default."""

    rules: ClassVar = (at_least_one("eject_after", "eject_for", "eject_for_most"),)

    eject_after: int | None = Field(
        default=None,
        ge=1,
        le=100,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "Failures in a row after which a provider is ejected. From 1 to 100; default 3. One that refuses the "
            "gateway's own credential (401) is ejected at once."
        ),
    )
    eject_for: Annotated[Duration, lasting("100ms", "1h", such_as="5s")] | None = Field(
        default=None,
        description=(
            "How long the first time, give or take a tenth; twice as long each time that follows. Then one request at "
            "a time is let through, until one succeeds. From 100ms to 1h; default 5s."
        ),
    )
    eject_for_most: Annotated[Duration, lasting("100ms", "24h", such_as="5m")] | None = Field(
        default=None, description="No longer than this, whichever time it is. From 100ms to 24h; default 5m."
    )


_ROUTE = r"\*|/[A-Za-z0-9\-._~!$&'()+,;=:@%/]{0,255}"
_ROUTE_MESSAGE = (
    'write a path that begins with "/" (at most 256 characters, no query, no "*"), such as "/v1/realtime", '
    'or "*" alone for the rest'
)


def _routes_are_paths(routes: dict[str, RouteType]) -> bool:
    for path in routes:
        if not re.fullmatch(_ROUTE, path):
            raise refuse(_ROUTE_MESSAGE, path)
    return True


def _targets_exist(spec: BackendSpec) -> bool:
    known = {provider.name for provider in spec.providers}
    for i, model in enumerate(spec.models):
        for j, target in enumerate(model.targets):
            if target.provider not in known:
                message = f'no provider is called "{target.provider}"; providers here: {", ".join(sorted(known))}'
                raise refuse(message, "models", i, "targets", j, "provider")
    return True


class BackendSpec(ApiModel):
    """What the Backend is."""

    rules: ClassVar = (
        Rule(
            "!has(self.models) || self.models.all(m, m.targets.all(t, self.providers.exists(p, p.name == t.provider)))",
            "every target's provider must be the name of one of spec.providers",
            _targets_exist,
        ),
        Rule(
            "self.providers.exists(p, !has(p.weight) || p.weight > 0)",
            "every provider has weight 0, so nothing is served: give one a weight above 0",
            lambda spec: any(provider.weight != 0 for provider in spec.providers),
        ),
    )

    providers: Annotated[tuple[Provider, ...], Unique("name")] = Field(
        min_length=1, max_length=32, description="Services that run the models. Names are unique."
    )
    models: Annotated[tuple[Model, ...], Unique("name")] = Field(
        default=(),
        max_length=256,
        description=(
            "Public model names and what serves each; /v1/models lists the exact ones. Absent: every name goes on to "
            "every provider as it is, and a provider says what /v1/models lists."
        ),
    )
    routes: Annotated[
        dict[str, RouteType],
        Rule(f'self.all(k, k.matches(r"^({_ROUTE})$"))', _ROUTE_MESSAGE, _routes_are_paths),
    ] = Field(
        default={},
        max_length=64,
        description=(
            "How each path is handled. A key is the end of a path, such as /v1/realtime; the longest that fits wins, "
            "and '*' is the rest. Completions: a JSON request with a model; its usage is metered. Realtime: a "
            "WebSocket session, metered turn by turn. Responses: the Responses API, with the paths below this one, and "
            "over WebSockets; metered, and what a provider keeps is found again. Passthrough: relayed untouched and "
            "not metered. "
            "/v1/models is answered by the gateway, with what the caller may use, unless it stands here. "
            "Absent: the well-known paths of the providers, and nothing else."
        ),
    )
    expose: Expose | None = Field(
        default=None,
        description="Serve the Backend without an HTTPRoute. `{}` serves it at the path /<namespace>/<name>/.",
    )
    timeouts: Timeouts | None = Field(
        default=None,
        description="How long the providers are waited for. Absent, in whole or in part: the defaults.",
    )
    balance: Balance | None = Field(
        default=None,
        description="How requests are shared among the providers. Absent, in whole or in part: the defaults.",
    )
    health: Health | None = Field(
        default=None,
        description=(
            "When a provider that fails is left out. Whatever stands here, a request that a provider did not take goes "
            "to the next one, and a provider that says when to come back (Retry-After) is left alone until then. "
            "Absent, in whole or in part: the defaults."
        ),
    )
    max_sessions: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        strict=True,
        json_schema_extra={"format": "int32"},
        description=(
            "Realtime sessions of this Backend, and WebSockets of its other paths, that each gateway process "
            "holds at a time: two processes hold twice as many. Further ones are refused with 503 and Retry-After. "
            "Absent: no cap."
        ),
    )


class Backend(ApiModel):
    """A Backend says which providers and models there are, and which paths lead to them."""

    api_version: Literal["tidegate.dev/v1alpha1"] = "tidegate.dev/v1alpha1"
    kind: Literal["Backend"] = "Backend"
    metadata: Metadata
    spec: BackendSpec
