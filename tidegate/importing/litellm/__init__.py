"""LiteLLM's `config.yaml` to Backends, Policies and a Secret.

environment     os.environ/NAME, and environment_variables
settings        router_settings, litellm_settings, general_settings
deployments     an entry of model_list           (vendors: by its prefix; prices: USD per token)
pools           entries of one model_name        → a model with its targets
objects         all of it                        → Backends, Policies, a Secret
advice          what to do about everything else
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from tidegate.importing.fields import Fields
from tidegate.importing.litellm import advice
from tidegate.importing.litellm.deployments import Deployment, deployment, shared_of
from tidegate.importing.litellm.environment import Environment
from tidegate.importing.litellm.objects import objects
from tidegate.importing.litellm.pools import Pool, groups, pools, with_fallbacks
from tidegate.importing.litellm.settings import Settings, credential_entries, settings
from tidegate.importing.patterns import MODEL_NAME, fits
from tidegate.importing.report import Report, Source
from tidegate.importing.writing import Object

BLOCKS: Final = frozenset(["model_list", "router_settings", "litellm_settings", "general_settings"])
"""What a file has at its margin that is of LiteLLM. (A document of Kubernetes has none of these.)"""


def convert(sources: Sequence[Source], report: Report, environ: Mapping[str, str], namespace: str) -> list[Object]:
    """Of files that are one configuration, as LiteLLM's `include` makes them. `environ`: of the import itself, for
    what is needed now and is no credential."""
    roots = [Fields.of(source, report) for source in sources]
    variables = [block for root in roots if (block := root.block("environment_variables"))]
    environment = Environment(environ, variables)
    shared = {name: shared_of(values, environment) for name, values in credential_entries(roots).items()}
    said = settings(roots, environment)
    entries = [entry for root in roots for entry in root.blocks("model_list")]
    found = [made for entry in entries if (made := deployment(entry, environment, shared))]
    for block in variables:
        block.rest({}, "nothing that is imported refers to it")
    for root in roots:
        root.rest(advice.ROOT)
    if not found:
        roots[0].missing("dropped", "there is no model that can be served, and so no Backend")
        return []
    by_name = pools(found, weighted=said.weighted)
    _alias(by_name, said)
    if said.master_key is None:
        roots[0].missing("changed", _NO_MASTER_KEY)
    _fall_back(by_name, said)
    said.timeout = _timeout(said, found)
    backends = groups(by_name.values())
    if len(backends) > 1:
        roots[0].missing("changed", _SEVERAL.format(namespace=namespace))
    return objects(backends, said, namespace)


_NO_MASTER_KEY = (
    "has no general_settings.master_key; with LiteLLM nobody needs a key then. Here callers of a gateway that is not "
    "on loopback get 401 until a Policy says which keys they have, or authentication: {mode: None}"
)


_SEVERAL = (
    "is more than one Backend can have (256 models, 32 providers), and becomes several: the first is served at /, the "
    "others at /{namespace}/litellm-2/ and so on. In a cluster the first needs leave to be at /: see expose.allow"
)


def _timeout(said: Settings, found: Sequence[Deployment]) -> Decimal | None:
    """A Backend has one for all its providers: the longest, so that nothing ends sooner than it did."""
    longest = max((each.timeout for each in found if each.timeout is not None), default=None)
    most = max((each for each in (said.timeout, longest) if each is not None), default=None)
    for each in found:
        if each.timeout is not None and each.timeout != most:
            each.params.change(
                "timeout", "a Backend has one timeout for all its providers: the longest that is written"
            )
    return most


def _fall_back(by_name: dict[str, Pool], said: Settings) -> None:
    """Whoever has a chain of its own has no other; names are those before any falls back."""
    before = dict(by_name)
    chained: set[str] = set()
    for fields, name, chain in sorted(said.fallbacks, key=lambda each: each[1] in _EVERY):
        others = [other for other in chain if other in before and "*" not in other]
        names = [each for each in before if each not in chained] if name in _EVERY else [name]
        if len(others) < len(chain):
            fields.change(name, "leads to names that are patterns or are not imported, which are left out")
        if not others or not set(names) & before.keys():
            fields.drop(name, "leads from or to no model_name that is imported")
            continue
        for each in set(names) & before.keys():
            by_name[each] = with_fallbacks(before[each], [before[other] for other in others if other != each])
            chained.add(each)
        fields.change(name, advice.FALLBACKS)


_EVERY: Final = ("*", "default_fallbacks")


def _alias(by_name: dict[str, Pool], said: Settings) -> None:
    for block, alias, model in said.aliases:
        if alias in by_name:
            block.drop(alias, "model_list has this model_name, which holds")
        elif model not in by_name:
            block.drop(alias, "model_list has no such model_name that is imported")
        elif "*" in model or not fits(MODEL_NAME, alias):
            block.drop(alias, "both names must be exact, without '*' and spaces")
        else:
            by_name[alias] = Pool(alias, by_name[model].targets, by_name[model].price)
