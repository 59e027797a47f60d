"""Who is asked to judge for guardrails: webhooks and moderation APIs, with the Secrets and Services that they need.

One that leads nowhere must not leave open what it guards. If it is closed on failure, nothing is served where its
Policy is attached, as for any Policy that cannot hold; if it is open on failure, or takes no action, it is left out,
and said. So is an optional one: who asks for it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import crds.guardrails
from controller.compile import services
from controller.compile.cluster import Cluster
from controller.compile.grants import POLICY
from controller.compile.guardrails import FIELD
from controller.compile.objects import Identity, Objects
from controller.compile.secrets import Credential, Unresolved
from controller.compile.upstreams import check_url, endpoints_of, look_up
from dataplane import table


@dataclass(frozen=True, slots=True)
class Place:
    """Whose they are, and what is looked at."""

    policy: Identity
    objects: Objects
    cluster: Cluster | None

    @property
    def networks(self) -> tuple[str, ...] | None:
        """Private ones that may be called; None: all of them."""
        return self.cluster.networks(self.policy.namespace) if self.cluster else None


@dataclass(slots=True)
class Judged:
    """A Policy's guardrails, as far as they can hold."""

    guardrails: list[table.Guardrail] = field(default_factory=list)
    credentials: list[Credential] = field(default_factory=list, repr=False)
    endpoints: list[table.EndpointSet] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Reason and message of each that leads nowhere."""
    closed: list[str] = field(default_factory=list)
    """Why nothing may be served without them."""

    def add(self, other: Judged) -> None:
        """What one of them led to."""
        self.guardrails += other.guardrails
        self.credentials += other.credentials
        self.endpoints += other.endpoints

    @property
    def notes(self) -> Iterator[str]:
        """What is said of Services that nobody is behind for now."""
        for each in self.endpoints:
            if not each.addresses:
                yield f"Service {each.id} has no ready endpoint, so until one is ready onFailure holds."


def judged(guardrails: Sequence[table.Guardrail], written: Sequence[crds.guardrails.Guardrail], place: Place) -> Judged:
    """Those guardrails with who judges for them."""
    found = Judged()
    for index, (each, said) in enumerate(zip(guardrails, written, strict=True)):
        single = Judged()
        try:
            single.guardrails.append(_with_judge(each, said, f"{FIELD}[{index}]", place, single))
            found.add(single)
        except Unresolved as problem:
            if each.open or each.shadow or each.optional or each.action == "flag":
                instead = "this guardrail does not hold"
            else:
                instead = "requests are answered 500, since onFailure is Closed"
                found.closed.append(str(problem))
            found.problems.append((problem.reason, f"{problem}; until then {instead}"))
    return found


def _with_judge(
    guardrail: table.Guardrail, written: crds.guardrails.Guardrail, at: str, place: Place, found: Judged
) -> table.Guardrail:
    if written.webhook and guardrail.webhook:
        webhook = _webhook(guardrail.webhook, written.webhook, f"{at}.webhook", place, found)
        return guardrail.model_copy(update={"webhook": webhook})
    if written.open_a_i_moderation and guardrail.moderation:
        auth, at = written.open_a_i_moderation.auth, f"{at}.openAIModeration"
        check_url(guardrail.moderation.url, f"{at}.url", place.networks)
        known = {"secret": _secret(auth, at, place, found), "networks": place.networks or ()}
        return guardrail.model_copy(update={"moderation": guardrail.moderation.model_copy(update=known)})
    return guardrail


def _webhook(
    webhook: table.Webhook, written: crds.guardrails.Webhook, at: str, place: Place, found: Judged
) -> table.Webhook:
    known: dict[str, object] = {"secret": _secret(written.auth, at, place, found) if written.auth else ""}
    if ref := written.service:
        own = place.policy.namespace
        service = services.Reference(POLICY, own, ref.namespace or own, ref.name, ref.port, f"{at}.service")
        endpoints = endpoints_of(service, place.cluster)
        found.endpoints.append(endpoints)
        known |= {"url": f"{service.url}/", "endpoints": endpoints.id}
    else:
        check_url(webhook.url, f"{at}.url", place.networks)
        known["networks"] = place.networks or ()
    return webhook.model_copy(update=known)


def _secret(auth: crds.guardrails.GuardrailAuth, at: str, place: Place, found: Judged) -> str:
    """The id of the credential."""
    ref, namespace = auth.secret_ref, place.policy.namespace
    credential = look_up(ref.name, ref.key, f"{at}.auth.secretRef", namespace, place.objects, place.cluster)
    found.credentials.append(credential)
    return credential.id
