"""What may be said: a block of a Policy, and what judges the text."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from crds.base import ApiModel, Label, ModelName, ObjectName, SecretKey, Url
from crds.quantities import Duration, lasting
from crds.rules import Rule, Unique, exactly_one, matching

Direction = Literal["Input", "Output"]
PiiKind = Literal["Card", "Email", "Phone", "Iban", "Ssn", "Key"]

# No rule: of so many, the API server takes none that looks at every character. The compiler refuses blank ones.
Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]

Category = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching("[a-z-]+(/[a-z-]+)*", "write a category as the answer names it, such as harassment or self-harm/intent"),
]


class Keywords(ApiModel):
    """Words and phrases."""

    words: Annotated[tuple[Word, ...], Unique()] = Field(
        min_length=1, max_length=1000, description="Any of them is a finding."
    )
    whole_words: bool = Field(
        default=True,
        strict=True,
        description="Whether a word is found by itself alone, and not inside a longer one.",
    )
    ignore_case: bool = Field(default=True, strict=True, description="Whether capitals and small letters are the same.")


class Pattern(ApiModel):
    """A regular expression with a name."""

    name: Label = Field(description="Name of the pattern, unique in this guardrail. Logs and reasons have it.")
    pattern: str = Field(
        min_length=1,
        max_length=1024,
        description=(
            "Regular expression of RE2, found anywhere in the text: it has neither look-around nor back-references, "
            "and takes a time that grows with the text alone."
        ),
    )


class Regex(ApiModel):
    """Regular expressions."""

    patterns: Annotated[tuple[Pattern, ...], Unique("name")] = Field(
        min_length=1, max_length=64, description="Any of them is a finding."
    )


class Pii(ApiModel):
    """Personal data and credentials. Write `{}` for all kinds."""

    # An empty list could mean all kinds or none.
    kinds: Annotated[tuple[PiiKind, ...], Field(min_length=1, max_length=6), Unique()] | None = Field(
        default=None,
        description=(
            "What is looked for: numbers of payment cards (with their checksum), e-mail addresses, phone numbers, "
            "IBANs (with their checksum), social security numbers of the USA, and keys and tokens of well-known "
            "formats. Absent: all of them."
        ),
    )


class GuardrailSecretRef(ApiModel):
    """One entry of a Secret in the Policy's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(
        default="Authorization",
        description='Entry of the Secret that holds the credential, with or without "Bearer " before it.',
    )


class GuardrailAuth(ApiModel):
    """The credential that whoever judges is shown, as a Bearer in the header Authorization."""

    secret_ref: GuardrailSecretRef = Field(description="Where the credential is.")


class GuardrailServiceRef(ApiModel):
    """One port of a Kubernetes Service."""

    name: Label = Field(description="Name of the Service.")
    namespace: Label | None = Field(
        default=None,
        description=(
            "Namespace of the Service. Absent: the Policy's own. In another one, a ReferenceGrant must let Policies of "
            "this namespace refer to Services there."
        ),
    )
    port: int = Field(
        ge=1,
        le=65535,
        strict=True,
        json_schema_extra={"format": "int32"},
        description="Port of the Service, as its spec.ports[].port has it.",
    )


Timeout = Annotated[Duration, lasting("50ms", "30s", such_as="2s")]


class Webhook(ApiModel):
    """A service of yours that judges the text. Exactly one of url and service."""

    rules: ClassVar = (exactly_one("url", "service", example="url: https://guard.example.com/judge"),)

    url: Url | None = Field(
        default=None, description="Address that the text is sent to by POST, as it is: nothing is appended."
    )
    service: GuardrailServiceRef | None = Field(
        default=None,
        description="A Service of the cluster, whose ready endpoints are called directly, by plain HTTP at the path /.",
    )
    auth: GuardrailAuth | None = Field(default=None, description="Credential for it. Absent: it is shown none.")
    timeout: Timeout = Field(
        default="2s",
        description=(
            "How long it may take, from the first attempt to the end of the last answer. Then onFailure holds. From "
            "50ms to 30s."
        ),
    )
    retries: int = Field(
        default=1,
        ge=0,
        le=3,
        strict=True,
        json_schema_extra={"format": "int32"},
        description="How often it is asked once more, within timeout, where it could not be reached or answered 5xx.",
    )


class OpenAIModeration(ApiModel):
    """OpenAI's moderation API, or one that speaks like it."""

    auth: GuardrailAuth = Field(description="Credential for it.")
    url: Url = Field(
        default="https://api.openai.com/v1", description="Address of the API; /moderations is appended to it."
    )
    model: ModelName = Field(default="omni-moderation-latest", description="Model that judges.")
    # An empty list could mean any category or none.
    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=32), Unique()] | None = Field(
        default=None,
        description="Categories that are findings where they are flagged. Absent: whatever is flagged is one.",
    )
    timeout: Timeout = Field(default="2s", description="How long it may take. Then onFailure holds. From 50ms to 30s.")


_MODERATED = (
    "openAIModeration says that a text is bad and not where, so it cannot be masked: write action: Block or Flag"
)


class Guardrail(ApiModel):
    """What one guardrail looks for, and what it does. Exactly one of keywords, regex, pii, webhook and
    openAIModeration."""

    rules: ClassVar = (
        # "a_i" is what becomes AI in the field's name.
        exactly_one("keywords", "regex", "pii", "webhook", "open_a_i_moderation", example="pii: {}"),
        Rule(
            "!has(self.openAIModeration) || self.action != 'Mask'",
            _MODERATED,
            lambda guardrail: guardrail.open_a_i_moderation is None or guardrail.action != "Mask",
        ),
    )

    name: Label = Field(
        description=(
            "Name of the guardrail, unique in this Policy. Clients ask for optional ones by it, metrics and logs have "
            "it. Those of several Policies may be named alike: all of them hold."
        )
    )
    directions: Annotated[tuple[Direction, ...], Unique()] = Field(
        default=("Input", "Output"),
        min_length=1,
        max_length=2,
        description=(
            "What is judged. Input: what goes to the model, such as prompts, instructions, results of tools and "
            "transcripts of what users say. Output: what comes from it, such as answers, transcripts of speech and "
            "arguments of tools."
        ),
    )
    keywords: Keywords | None = Field(default=None, description="Words and phrases.")
    regex: Regex | None = Field(default=None, description="Regular expressions.")
    pii: Pii | None = Field(default=None, description="Personal data and credentials. Write `{}` for all kinds.")
    webhook: Webhook | None = Field(default=None, description="A service of yours that judges the text.")
    open_a_i_moderation: OpenAIModeration | None = Field(
        default=None, description="OpenAI's moderation API, or one that speaks like it."
    )
    action: Literal["Block", "Mask", "Flag"] = Field(
        description=(
            "What becomes of a text with a finding. Block: it does not go on. Mask: it goes on with another text in "
            "the finding's place; not with openAIModeration. Flag: it goes on, and is counted and logged."
        )
    )
    mode: Literal["Enforce", "Shadow"] = Field(
        default="Enforce",
        description="Enforce: the action is taken. Shadow: what would be done is counted and logged, and not done.",
    )
    audio: Literal["CancelOnMatch", "Hold", "Pass"] = Field(
        default="CancelOnMatch",
        description=(
            "What becomes of spoken output, whose transcript is judged. CancelOnMatch: it is heard at once, and cut "
            "off at a finding. Hold: it is heard once its transcript was judged. Pass: it is heard whatever its "
            "transcript says."
        ),
    )
    on_block: Literal["EndSession", "RefuseTurn"] = Field(
        default="EndSession",
        description=(
            "What a Block does in a realtime session. EndSession: it ends with guardrail_error and close code 1011. "
            "RefuseTurn: the turn alone is refused, or cut off, and deleted from the conversation."
        ),
    )
    on_failure: Literal["Closed", "Open"] = Field(
        default="Closed",
        description=(
            "What becomes of a text that could not be judged in time, since whoever is asked is away, slow, or answers "
            "something else, and of speech that nobody transcribes in time. Closed: as if it were blocked. Open: it "
            "goes on. With action Flag, or mode Shadow, it goes on whatever is written here."
        ),
    )
    optional: bool = Field(
        default=False,
        strict=True,
        description="Whether it holds only for connections that ask for it, by the query parameter guardrails=NAME.",
    )
    reason: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=256),
            matching(r"[^\x00-\x1f\x7f]+", "write the reason on one line, without control characters"),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "What a client is told of a Block, after the words: Guardrail blocked this request. Absent: the names of "
            "the guardrail and of what it found, never the text."
        ),
    )
