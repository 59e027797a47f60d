"""Policies and their targets: who is attached where, and what stays closed because its Policy cannot hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controller.compile.blocks import Blocks
from controller.compile.callers import Keys, admitted, location
from controller.compile.cluster import Cluster
from controller.compile.judges import Judged, Place, judged
from controller.compile.listeners import Fleet
from controller.compile.objects import Age, Document, Identity, Objects, Read
from controller.compile.places import Places, target_of
from controller.compile.secrets import Secret
from controller.compile.statuses import Condition, Target, false
from controller.compile.subjects import Known
from crds.authentication import Authentication
from crds.policy import GROUP_OF_KIND, Precedence
from dataplane import table

# What the absence of a Policy with nothing else can do no harm to. Any other block, also one that this version does
# not know, may be there to keep somebody out, or from taking too much: a session's limits are a guard, since the
# defaults in their place may be a hundred times as wide.
_HARMLESS = frozenset(["targetRefs", "subjects", "precedence", "transformation", "telemetry"])
_KINDS = frozenset(GROUP_OF_KIND)


@dataclass(frozen=True, slots=True)
class Attached:
    """A valid Policy on one of its targets."""

    policy: Identity
    age: Age
    target: Target
    override: bool
    blocks: Blocks
    authentication: table.Authentication | None
    guardrails: tuple[table.Guardrail, ...] = ()
    """Those whose judges are known."""

    @property
    def has_subjects(self) -> bool:
        return bool(self.blocks.spec.subjects)

    def has(self, block: str) -> bool:
        """Whether the Policy says anything about `transformation`, `authentication`, `models`, `guardrails`, `limits`,
        `session` or `telemetry`."""
        return getattr(self.blocks.spec, block) is not None


@dataclass(slots=True)
class Attachments:
    """Everything that Policies say, by target."""

    at: dict[Target, list[Attached]] = field(default_factory=lambda: defaultdict(list))
    """The oldest first."""
    closed: dict[Target, dict[Identity, str]] = field(default_factory=lambda: defaultdict(dict))
    """Why nothing is served there: a Policy that guards the target cannot hold, and nothing would in its place."""
    rejected: dict[Identity, dict[Target, Condition]] = field(default_factory=lambda: defaultdict(dict))
    """The condition Accepted of Policies that are not attached to a target that they name."""
    callers: dict[str, table.CallerSet] = field(default_factory=dict)
    """By id."""
    key_problems: dict[Identity, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Reason and message of what is wrong with a Policy's keys."""
    weak_keys: dict[Identity, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Entries whose keys hold, and are found by trying."""
    keyless: set[Identity] = field(default_factory=set)
    """Policies that ask for keys or tokens, and have none that could be shown."""
    known: dict[Identity, Known] = field(default_factory=dict)
    """Whom a Policy with authentication may let in."""
    judged: dict[Identity, Judged] = field(default_factory=dict)
    """Of Policies with guardrails: what those who judge for them lead to."""

    def concerns(self, target: Target) -> bool:
        """Whether any Policy does something there."""
        return target in self.at or target in self.closed

    def why_closed(self, target: Target) -> str:
        """The first reason why nothing is served there, or nothing."""
        return next(iter(self.closed.get(target, {}).values()), "")

    def is_closed_by(self, policy: Identity, target: Target) -> bool:
        return policy in self.closed.get(target, {})


def attach(objects: Objects, cluster: Cluster | None, gateways: Fleet) -> Attachments:
    """Attach every Policy to its targets."""
    attachments = Attachments()
    places = Places(objects, gateways, cluster.install if cluster else None)
    secrets: dict[str, dict[str, Read[Secret]]] = defaultdict(dict)
    for (namespace, name), secret in objects.secrets.items():
        secrets[namespace][name] = secret
    for policy in sorted(objects.policies.values(), key=lambda policy: policy.age):
        if policy.value is None:
            _reject(policy, places, attachments)
        else:
            written, own = policy.value.spec.authentication, secrets[policy.identity.namespace]
            denied = cluster.denied(policy.identity.namespace) if cluster else ""
            authentication = _authentication(policy.identity, written, Keys(own, denied), attachments)
            found = _guardrails(policy.identity, policy.value, objects, cluster)
            if found:
                attachments.judged[policy.identity] = found
            guardrails = tuple(found.guardrails) if found else ()
            _attach_one(policy, policy.value, authentication, guardrails, places, attachments)
    return attachments


def _attach_one(
    policy: Read[Blocks],
    blocks: Blocks,
    authentication: table.Authentication | None,
    guardrails: tuple[table.Guardrail, ...],
    places: Places,
    attachments: Attachments,
) -> None:
    for index, ref in enumerate(blocks.spec.target_refs):
        target = target_of(ref.kind, policy.identity.namespace, ref.name, ref.section_name or "")
        path = f"spec.targetRefs[{index}]"
        if message := places.refusal(target, policy.identity.namespace, path):
            attachments.rejected[policy.identity][target] = false("Accepted", "NotAllowed", message)
        elif message := places.not_found(target, policy.identity.namespace, path):
            attachments.rejected[policy.identity][target] = false("Accepted", "TargetNotFound", message)
        elif message := _too_much_for_a_provider(target, blocks, path):
            attachments.rejected[policy.identity][target] = false("Accepted", "Invalid", message)
            if blocks.spec.authentication or blocks.models or blocks.guardrails or blocks.limits or blocks.session:
                attachments.closed[target][policy.identity] = f"{policy.identity} cannot hold here: {message}"
        else:
            override = blocks.spec.precedence is Precedence.OVERRIDE
            attachments.at[target].append(
                Attached(policy.identity, policy.age, target, override, blocks, authentication, guardrails)
            )
            if (found := attachments.judged.get(policy.identity)) and found.closed:
                attachments.closed[target][policy.identity] = f"{policy.identity} cannot hold: {found.closed[0]}"


def _reject(policy: Read[Blocks], places: Places, attachments: Attachments) -> None:
    """A Policy that cannot be read: its targets are told so, and closed where it may have guarded them."""
    condition = false("Accepted", policy.reason, policy.error)
    for document in policy.documents:
        spec = document.get("spec")
        guards = isinstance(spec, Mapping) and bool(set(spec) - _HARMLESS)
        for target in readable_targets(document, policy.identity.namespace):
            attachments.rejected[policy.identity][target] = condition
            if guards and not places.refusal(target, policy.identity.namespace, ""):
                why = f"{policy.identity} is not accepted, and without it this would be unguarded: {policy.error}"
                attachments.closed[target][policy.identity] = why


def readable_targets(document: Document, namespace: str) -> Iterator[Target]:
    """The targets that can be made out in a Policy that is otherwise broken."""
    spec = document.get("spec")
    refs = spec.get("targetRefs") if isinstance(spec, Mapping) else None
    for ref in refs if isinstance(refs, list) else ():
        kind = ref.get("kind") if isinstance(ref, Mapping) else None
        if isinstance(kind, str) and kind in _KINDS and isinstance(ref.get("name"), str):
            section = ref.get("sectionName")
            yield target_of(kind, namespace, ref["name"], section if isinstance(section, str) else "")


def _too_much_for_a_provider(target: Target, blocks: Blocks, path: str) -> str:
    if target.kind != "Backend" or not target.section:
        return ""
    blocks_ = ("authentication", "models", "guardrails", "limits", "session", "telemetry")
    others = [name for name in blocks_ if getattr(blocks.spec, name) is not None]
    if not others:
        return ""
    return (
        f"{path}.sectionName: a provider takes only transformation, and this Policy has {' and '.join(others)}; "
        "leave sectionName out, or put transformation into a Policy of its own"
    )


def _authentication(
    policy: Identity, written: Authentication | None, keys: Keys, attachments: Attachments
) -> table.Authentication | None:
    if written is None:
        return None
    found = admitted(policy, written, keys)
    attachments.key_problems[policy] += found.problems
    attachments.weak_keys[policy] += found.weak
    if not found.anybody:
        attachments.keyless.add(policy)
    attachments.known[policy] = found.known(policy.namespace, written)
    attachments.callers.update((each.id, each) for each in found.sets)
    return table.Authentication(
        policy=policy.path,
        mode=table.AuthenticationMode(written.mode.value),
        callers=tuple(each.id for each in found.sets),
        location=location(written.location),
    )


def _guardrails(policy: Identity, blocks: Blocks, objects: Objects, cluster: Cluster | None) -> Judged | None:
    if not blocks.guardrails:
        return None
    return judged(blocks.guardrails, blocks.spec.guardrails or (), Place(policy, objects, cluster))
