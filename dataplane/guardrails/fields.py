"""Which fields there are that hold no text, in what clients and providers say. What is not named here is judged.

Sources: the types of openai-python 3.52; vLLM 0.11 and OpenRouter (requests), Azure and vLLM (replies).
"""

from __future__ import annotations


def _all_of(names: str) -> frozenset[str]:
    return frozenset(names.split())


NO_TEXT = _all_of(
    """
    type id role status object phase model event_id response_id item_id stream_id call_id tool_call_id
    previous_item_id previous_response_id conversation_id approval_request_id container_id
    finish_reason detail format voice conversation obfuscation encrypted_content signature
    audio data file_id file_data b64_json partial_image_b64 server_label
    """
)
"""Fields whose strings are no text."""
ASIDE = _all_of("tools tool_choice functions metadata logprobs usage image_url content_filter_results embedding")
"""Fields in which nothing is."""
EMBEDDED = _all_of("prompt_embeds input_embeds")
"""Fields that hold a text in numbers, which only the model can read."""

NOT_ASKED = ASIDE | _all_of(
    """
    model models user safety_identifier request_id previous_response_id conversation store service_tier priority
    prompt_cache_key prompt_cache_options prompt_cache_retention cache_salt
    audio image modalities size quality encoding_format stream_options include truncation context_management
    function_call reasoning reasoning_effort verbosity moderation access_programs provider
    stop bad_words stop_token_ids allowed_token_ids logit_bias
    """
)
"""Fields of a request that hold nothing that a model is told."""
NOT_ANSWERED = ASIDE | _all_of(
    """
    id object created model status service_tier system_fingerprint provider x_groq moderation obfuscation
    first_id last_id prompt_filter_results prompt_logprobs prompt_token_ids kv_transfer_params
    """
)
"""Fields of an answer that hold nothing that a model says."""
_REPEATED = _all_of("instructions prompt text billing input_transformations prompt_cache_diagnostics tool_usage")
NOT_ANSWERED_BY_RESPONSES = (NOT_ANSWERED | NOT_ASKED | _REPEATED) - {"reasoning"}
"""The same; a response repeats what was asked for."""

OF_A_PIECE = _all_of(
    "type event_id response_id item_id output_index content_index summary_index call_id obfuscation delta"
)
"""Fields of an event that is a piece of a text, and of nothing else."""

WORDS = _all_of(
    """
    type id name object string number integer boolean array null enum const properties required items description
    title default additionalProperties anyOf allOf oneOf not $ref $defs $schema definitions pattern minimum maximum
    minLength maxLength minItems maxItems strict schema json_schema json_object text json grammar regex choice syntax
    lark definition format verbosity low medium high auto none user_location approximate city country region timezone
    search_context_size effort summary generate_summary concise detailed minimal xhigh max context reason
    max_output_tokens content_filter error code message param server_error url date
    """
)
"""What is no text where nothing is known of a field: words of schemas and of the APIs, by which nothing is said."""

NAMES = _all_of(
    """
    messages message content text refusal reasoning_content tool_calls function arguments name
    transcript audio input output summary instructions item part prompt variables
    session response transcription input_audio_transcription prediction code action query
    response_format chat_template chat_template_kwargs documents citations search_results error reasoning
    """
)
"""Fields that a place is named by."""
