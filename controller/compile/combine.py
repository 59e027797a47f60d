"""How Policies combine on the way from a GatewayClass by Gateway, listener, HTTPRoute and rule to a Backend; design
rules, and nothing subtler:

- guardrails, allowed models and limits add up: all must hold;
- transformations apply from broad to narrow, the narrowest last; on one target the oldest last;
- of authentication, session and telemetry the narrowest wins whole, unless a broader Policy says
  `precedence: Override`: then the broadest that says so wins. On one target the oldest wins, ties by name.
  Policies of a Backend's own namespace come before all others on the way to it, whatever those say: a ReferenceGrant
  lets another namespace lead to the Backend, and a Gateway lets it be served, not lift what holds there. But those who
  run the fleet have the last word: an Override on the GatewayClass comes before all.

Session and telemetry may have subjects, so several can stand side by side: the first that applies to the caller wins,
and one without subjects, which applies to everybody, ends the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.compile.policies import Attached, Attachments
from controller.compile.statuses import Target
from dataplane import table


class Loss(NamedTuple):
    """A block that does not hold somewhere, because another Policy's does."""

    loser: Attached
    block: str
    winner: Attached

    @property
    def why(self) -> str:
        """Who wins, and why."""
        winner = self.winner
        if winner.target == self.loser.target:
            return f"{winner.policy} (on the same target, and older or first by name)"
        if _has_the_last_word(winner):
            return f"{winner.policy} (on {winner.target}, with precedence: Override)"
        if self.loser.override and winner.policy.namespace != self.loser.policy.namespace:
            return f"{winner.policy} (on {winner.target}, of its own namespace: no Override from another replaces that)"
        if winner.override:
            return f"{winner.policy} (on {winner.target}, with precedence: Override)"
        return f"{winner.policy} (on the narrower {winner.target})"


class Combined(NamedTuple):
    """What holds on one chain of targets."""

    policies: table.PolicySet
    authenticator: Attached | None
    held: tuple[tuple[Attached, str], ...]
    """Blocks that hold here."""
    lost: tuple[Loss, ...]


def combine(chain: Sequence[Target], attachments: Attachments) -> Combined:
    """What holds for requests that pass these targets, broad to narrow."""
    levels = [attachments.at[target] for target in chain if target in attachments.at]
    if not levels:
        return Combined(table.PolicySet(), None, (), ())
    owner = chain[-1].namespace
    authentication, authentication_lost = contest(levels, "authentication", owner)
    session, session_lost = contest(levels, "session", owner)
    telemetry, telemetry_lost = contest(levels, "telemetry", owner)
    changing = [each for level in levels for each in reversed(level) if each.has("transformation")]
    allowing = [each for level in levels for each in level if each.has("models")]
    guarding = [each for level in levels for each in level if each.has("guardrails")]
    limiting = [each for level in levels for each in level if each.has("limits")]
    policies = table.PolicySet(
        authentication=authentication[0].authentication if authentication else None,
        transformations=tuple(each.blocks.transformation for each in changing if each.blocks.transformation),
        models=tuple(each.blocks.models for each in allowing if each.blocks.models),
        guardrails=_guardrails(guarding),
        limits=_once(limiting),
        session=tuple(each.blocks.session for each in session if each.blocks.session),
        telemetry=tuple(each.blocks.telemetry for each in telemetry if each.blocks.telemetry),
    )
    held = [
        (each, block)
        for block, standing in (
            ("transformation", changing),
            ("authentication", authentication),
            ("models", allowing),
            ("guardrails", guarding),
            ("limits", limiting),
            ("session", session),
            ("telemetry", telemetry),
        )
        for each in standing
    ]
    losses = (*authentication_lost, *session_lost, *telemetry_lost)
    return Combined(policies, authentication[0] if authentication else None, tuple(held), losses)


def _once(limiting: Sequence[Attached]) -> tuple[table.CallerLimits, ...]:
    """A Policy that is attached at several places of the chain counts once."""
    by_policy = {each.policy: each.blocks.limits for each in limiting}
    return tuple(filter(None, by_policy.values()))


def _guardrails(guarding: Sequence[Attached]) -> tuple[table.Guardrail, ...]:
    """Those of a Policy that is attached at several places of the chain count once."""
    held = {(each.policy, guardrail.name): guardrail for each in guarding for guardrail in each.guardrails}
    return tuple(held.values())


def contest(levels: Sequence[Sequence[Attached]], block: str, owner: str) -> tuple[list[Attached], list[Loss]]:
    """Who stands, in the order in which they are tried, and who lost to whom. `owner`: the Backend's namespace."""
    standing: list[list[Attached]] = []
    losses: list[Loss] = []
    for level in levels:
        kept, lost = _until_one_is_for_all([each for each in level if each.has(block)], block)
        standing.append(kept)
        losses += lost
    last_words = [each for level in standing for each in level if _has_the_last_word(each)]
    rest = [[each for each in level if not _has_the_last_word(each)] for level in standing]
    own = [[each for each in level if each.policy.namespace == owner] for level in rest]
    others = [[each for each in level if each.policy.namespace != owner] for level in rest]
    kept, lost = _until_one_is_for_all([*last_words, *_by_precedence(own), *_by_precedence(others)], block)
    return kept, losses + lost


def _has_the_last_word(attached: Attached) -> bool:
    return attached.override and attached.target.kind == "GatewayClass"


def _by_precedence(levels: Sequence[Sequence[Attached]]) -> list[Attached]:
    """The broadest that says Override first, then the narrowest."""
    overrides = [each for level in levels for each in level if each.override]
    defaults = [each for level in reversed(levels) for each in level if not each.override]
    return [*overrides, *defaults]


def _until_one_is_for_all(ordered: Sequence[Attached], block: str) -> tuple[list[Attached], list[Loss]]:
    for index, each in enumerate(ordered):
        if not each.has_subjects:
            return list(ordered[: index + 1]), [Loss(loser, block, each) for loser in ordered[index + 1 :]]
    return list(ordered), []
