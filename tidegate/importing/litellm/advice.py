"""What to do about the fields of LiteLLM that Tidegate has no counterpart for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_FAILOVER = (
    "Tidegate has no count of retries: what fails before the client has a byte is tried at the model's other providers"
)
_BUDGET = "budgets are limits of a Policy here: limits.spend, by caller, team or Backend"
_RATE = "is no limit here, it only weighs: write a Policy with limits, by caller, team or Backend"
_DATABASE = "what LiteLLM keeps in its database (keys, teams, budgets, models) is not in this file, and not imported"
_LOGS = "Tidegate has metrics, traces and usage records of its own: see docs/telemetry.md"
_CACHE = "answers are not cached"
_GUARDRAILS = (
    "guardrails are not imported: write them in a Policy (spec.guardrails); until then nothing holds in their place"
)
_ALERTS = "Tidegate sends no alerts: use the alerts of Prometheus"
_REDIS = "`tidegate serve --state` names the store of limits that gateways count together"
_TIME = "of a provider that bills time write price.sessionMinute and price.audioMinute"
_PROVIDER = "belongs to a kind of provider that Tidegate has not"
_SECRETS = "keys are in Kubernetes Secrets here, which other tools may fill"

MODE: Final = "a Backend serves no such models by name; write a Backend with routes of type Passthrough for them"
ADAPTS: Final = (
    "is called by the OpenAI API, and requests go on as clients write them; LiteLLM adapts their parameters to it"
)
NO_URL: Final = (
    "is no address that a Backend can have: http:// or https://, a host, perhaps a port and a path; no user name, "
    "password or query"
)
NO_VERSION: Final = (
    "has no api_version; LiteLLM takes AZURE_API_VERSION then, or one of its own, and here the GA API is called, at "
    "/openai/v1; for another, write azure.apiVersion in the provider"
)
SESSIONS_ARE_GA: Final = (
    "has an api_version; realtime sessions are of the GA API here, as with LiteLLM where realtime_protocol is not "
    "beta; where the deployment is of the preview, write azure.apiVersion in the provider"
)
NO_V1: Final = "has no /v1 at its end, so that the path of requests goes on with it here: …/v1/chat/completions"

FALLBACKS: Final = (
    "are targets at providers of a later priority: they are asked where those before cannot be used, and cost what the "
    "name costs"
)

ENTRY: Final[Mapping[str, str]] = {
    "rpm": "stands beside litellm_params, where it is not read; " + _RATE,
    "tpm": "stands beside litellm_params, where it is not read; " + _RATE,
}
PARAM: Final = "has no counterpart in Tidegate; a parameter of requests is for clients to write"
PARAMS: Final[Mapping[str, str]] = {
    "max_retries": _FAILOVER,
    "num_retries": _FAILOVER,
    "cooldown_time": "health.ejectFor of the Backend is for all its providers",
    "realtime_protocol": "is for Azure",
    "stream_timeout": "timeouts.idle of the Backend says how long an answer may pause, for all its providers",
    "max_parallel_requests": "Tidegate caps sessions (maxSessions), and not requests",
    "max_budget": _BUDGET,
    "budget_duration": _BUDGET,
    "itpm": _RATE,
    "otpm": _RATE,
    "rpd": _RATE,
    "tpd": _RATE,
    "default_api_key_rpm_limit": _RATE,
    "default_api_key_tpm_limit": _RATE,
    "guardrails": _GUARDRAILS,
    "extra_headers": "write a Policy with transformation.request.set for this provider; no credentials there",
    "headers": "write a Policy with transformation.request.set for this provider; no credentials there",
    "drop_params": "requests go on with all the parameters that clients write",
    "tags": "requests are not routed by tags: write a Backend for each, and an HTTPRoute that matches a header",
    "mock_response": "`tidegate simulate` is a provider without cost",
    "input_cost_per_second": _TIME,
    "output_cost_per_second": _TIME,
    "cache_creation_input_token_cost": "what is written to a cache costs as other input here",
    **dict.fromkeys(
        [
            "aws_access_key_id",
            "aws_region_name",
            "aws_secret_access_key",
            "client_id",
            "client_secret",
            "tenant_id",
            "vertex_credentials",
            "vertex_location",
            "vertex_project",
        ],
        _PROVIDER,
    ),
}

DESCRIBES: Final = "describes the model, and nothing here depends on it"
INFO: Final[Mapping[str, str]] = {
    **PARAMS,
    "base_model": "the price catalogue is asked for the provider's own model name: write price in the Backend's model",
    "access_groups": "write a Policy with subjects and models.allow for each group of callers",
    "team_id": "write a Policy with subjects: [{team: …}] and models.allow",
}

ROUTER: Final[Mapping[str, str]] = {
    "num_retries": _FAILOVER,
    "max_retries": _FAILOVER,
    "retry_after": _FAILOVER,
    "retry_policy": _FAILOVER,
    "model_group_retry_policy": _FAILOVER,
    "max_fallbacks": _FAILOVER,
    "allowed_fails_policy": "providers are not judged by kinds of errors here: see allowed_fails",
    "context_window_fallbacks": "a request that is too long is the client's error here: its answer goes back",
    "content_policy_fallbacks": "content that a provider refuses is the client's error here: its answer goes back",
    "enable_pre_call_checks": "Tidegate does not count the tokens of a prompt before it is sent",
    "optional_pre_call_checks": (
        "responses go back to whom made them without a word (docs/responses.md); for other affinity write "
        "balance.sticky in the Backend; limits are Policies"
    ),
    "provider_budget_config": _BUDGET,
    "enable_tag_filtering": PARAMS["tags"],
    **dict.fromkeys(["redis_host", "redis_password", "redis_port", "redis_url"], _REDIS),
    **dict.fromkeys(["cache_kwargs", "cache_responses", "caching_groups"], _CACHE),
}
LITELLM: Final[Mapping[str, str]] = {
    **ROUTER,
    **dict.fromkeys(
        [
            "callbacks",
            "failure_callback",
            "langfuse_default_tags",
            "set_verbose",
            "success_callback",
            "turn_off_message_logging",
        ],
        _LOGS,
    ),
    **dict.fromkeys(["cache", "cache_params"], _CACHE),
    "guardrails": _GUARDRAILS,
    "drop_params": PARAMS["drop_params"],
    "modify_params": PARAMS["drop_params"],
    "max_budget": _BUDGET,
    "budget_duration": _BUDGET,
    "default_internal_user_params": _DATABASE,
    "default_team_settings": _DATABASE,
    "default_vertex_config": _PROVIDER,
    "vertex_project": _PROVIDER,
    "vertex_location": _PROVIDER,
    "ssl_verify": "certificates of providers are always checked",
}
GENERAL: Final[Mapping[str, str]] = {
    **dict.fromkeys(["database_connection_pool_limit", "database_url", "store_model_in_db"], _DATABASE),
    **dict.fromkeys(
        ["alert_types", "alert_to_webhook_url", "alerting", "alerting_args", "alerting_threshold"], _ALERTS
    ),
    **dict.fromkeys(
        ["key_management_settings", "key_management_system", "use_azure_key_vault", "use_google_kms"], _SECRETS
    ),
    "custom_auth": "callers have keys or tokens (JWT) here: write authentication in a Policy, see docs/callers.md",
    "enable_jwt_auth": "write authentication.jwt in a Policy, see docs/callers.md",
    "litellm_jwtauth": "write authentication.jwt in a Policy, see docs/callers.md",
    "litellm_key_header_name": "write authentication.location.header in the Policy",
    "max_parallel_requests": PARAMS["max_parallel_requests"],
    "global_max_parallel_requests": PARAMS["max_parallel_requests"],
    "max_request_size_mb": "bodies that are read may have up to a stated size: see docs/limits.md",
    "pass_through_endpoints": "write a Backend for each, with routes: {'*': Passthrough}",
    "allowed_ips": "nothing here looks at callers' addresses: what is before the gateway does",
    "coordination_redis": _REDIS,
}
ROOT: Final[Mapping[str, str]] = {
    "guardrails": _GUARDRAILS,
    "mcp_servers": "Tidegate is for models, and serves no tools",
    "include": "import those files, too: name all of them together",
    "files_settings": "write routes: {/v1/files: Passthrough} in the Backend",
    "finetune_settings": "write routes: {/v1/fine_tuning/jobs: Passthrough} in the Backend",
    "callback_settings": _LOGS,
    "litellm_params": "stands at the margin, and belongs under its entry of model_list: was the indentation lost?",
    "model_info": "stands at the margin, and belongs under its entry of model_list: was the indentation lost?",
}
