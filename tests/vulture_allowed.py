"""Names that only a framework or a format uses: vulture cannot see it. Keep it short; each line has its reason."""

from typing import Any

_: Any = None

# pydantic reads the settings of a model.
_.model_config

# Fields of Kubernetes objects: accepted or written as they stand in YAML, read by nobody here.
_.api_version
_.uid
_.resource_version
_.creation_timestamp
_.observed_generation
_.last_transition_time
_.ancestor_ref
_.controller_name
_.gateway_class_name
_.parent_refs
_.use_default_gateways
_.timeouts
_.retry
_.session_persistence

# asyncio calls its protocols.
_.eof_received
_.pause_writing
_.resume_writing
_.get_buffer
_.buffer_updated

# httptools calls its parser.
_.on_message_begin
_.on_status
_.on_url
_.on_header
_.on_headers_complete
_.on_body
_.on_chunk_header
_.on_message_complete

# OpenTelemetry calls its exporter; PyYAML its dumper; logging a logger.
_.timeout_millis
_.read_timeout
_.ignore_aliases
_.disabled

# websockets asks what becomes of a redirect.
_.process_redirect

# typer offers every member of an enum as a choice.
_.JSON
_.LATEST
_.LEGACY
_.BACKEND
_.POLICY

# Written for rich to read.
_.caption

# Named in quoted casts alone.
_.BinaryIO

# structlog calls its logger by the level of a line.
_.debug
_.critical

# kopf reads its settings; kubernetes its user agent; prometheus_client asks its collectors.
_.enabled
_.server_timeout
_.chunk_size
_.connect_timeout
_.request_timeout
_.error_backoffs
_.ultimate_exiting_timeout
_.user_agent
_.describe

# RE2 reads its options.
_.log_errors
_.max_mem
# Of statuses: written by whoever writes them to an API server.
_.features
# Prices are read by their names.
_.session_minute
_.audio_minute
