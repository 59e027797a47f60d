"""What to do about the fields of agentgateway that Tidegate has no counterpart for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_GUARDRAILS = (
    "guardrails are not imported: write them in a Policy (spec.guardrails); until then nothing holds in their place"
)
_BODY = "bodies go on as clients write them"
_OPEN = "nothing holds in its place, so that requests are let in that it refuses"
_CEL = "Tidegate computes nothing from requests (CEL)"
_TIMEOUTS = "write timeouts in the Backend"

SERVER: Final = "the API server writes it"
METADATA: Final[Mapping[str, str]] = dict.fromkeys(
    [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ],
    SERVER,
)
NOT_FOR_MODELS: Final = "is no Backend for models (spec.ai), and is left out"
OTHER_KIND: Final = "is of a kind that is not read here, and is left out; apply it as it is if something needs it"
NO_ROUTES: Final = (
    "has no policies.ai.routes, so that agentgateway takes every path for Completions; here the well-known paths have "
    "their types, and others answer 404"
)
ROUTE_TYPES: Final[Mapping[str, str]] = {
    "Models": "the gateway answers /v1/models itself",
    "Detect": "is Passthrough here: relayed, and not metered",
}
NO_TYPE: Final = "there is no such type of route; what '*' says holds for the path"
VALUE: Final = (
    'is no text in quotes, request.headers["NAME"] of a header without credentials, or request.path: '
    "values here are text with variables, see transformation in docs/reference/api.md"
)

PROVIDER: Final[Mapping[str, str]] = {
    "path": "a client's path goes on behind the address of the provider",
}
NO_KIND: Final = "Tidegate has no such kind of provider; the provider is left out"
NO_ADDRESS: Final = "its address cannot be told; the provider is left out"
NO_CREDENTIAL: Final = "its credential cannot be told; the provider is left out"
POLICIES: Final[Mapping[str, str]] = {
    "tunnel": "gateways reach providers directly",
    "mcp": "Tidegate is for models, and serves no tools",
    "extAuth": _OPEN,
}
AI: Final[Mapping[str, str]] = {
    "promptGuard": _GUARDRAILS,
    "prompt": _BODY,
    "defaults": _BODY,
    "overrides": _BODY,
    "transformations": _BODY,
    "promptCaching": "is for providers that Tidegate has not",
}
AUTH: Final[Mapping[str, str]] = {
    "aws": NO_KIND,
    "azure": "write a Secret with the key, and auth.secretRef in the provider",
    "gcp": NO_KIND,
    "location": "a provider's credential goes where its kind has it",
}
TLS: Final[Mapping[str, str]] = {
    "insecureSkipVerify": "certificates of providers are always checked",
    "sni": "write tls.serverName in the provider",
    "caCertificateRefs": "write tls.caSecretRef in the provider, a Secret and no ConfigMap",
    "mtlsCertificateRef": "write tls.clientSecretRef in the provider, a Secret of type kubernetes.io/tls",
}
TRANSFORM: Final[Mapping[str, str]] = {"body": _BODY, "metadata": _CEL}
TRANSFORMATION: Final[Mapping[str, str]] = {"conditional": _CEL}
POLICY: Final[Mapping[str, str]] = {
    "targetSelectors": "name what it is attached to in targetRefs",
    "frontend": "how connections come in is said by options of the gateway, or by values of the chart",
}
TRAFFIC: Final[Mapping[str, str]] = {
    "authorization": f"{_CEL}, and {_OPEN}",
    "basicAuthentication": "callers have keys or tokens here, see docs/callers.md; without one they get 401",
    "cors": "answers have no CORS headers but the provider's",
    "csrf": "session.origins of a Policy says which pages may open sessions",
    "directResponse": "answers are the provider's",
    "extAuth": _OPEN,
    "extProc": "there are no external processors",
    "hostRewrite": "the provider's host is sent",
    "phase": "there is one phase: after the route is found",
    "retry": "what fails before the client has a byte is tried at the Backend's other providers",
    "timeouts": _TIMEOUTS,
}
RATE: Final[Mapping[str, str]] = {
    "global": "write limits with scope: Fleet, which all gateways count together in `serve --state`",
    "conditional": f"{_CEL}, and {_OPEN}",
}
