"""What the cluster says, as far as it is known: objects from watches, put right by lists. Pure.

An event is about one object and may be late, may come twice, or never. A list is about all objects of a kind (or of
one namespace) at one moment, and says what a watch forgot: kopf, for one, tells nobody of what was deleted while it
was cut off. Which of two is newer is told by their resourceVersions, which count up (Kubernetes compares them as
numbers, too: KEP-5504). Only where a whole list is older than what was known before it was asked for, or an object in
it older than what the list should know of it, has the storage been put back; then the list holds.

"Changed" means what the compiler reads. A new status, or new managedFields, are kept for whoever writes statuses, and
change nothing else; the compiler is given the very same document as before, which it does not read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

from controller.kinds import POD, SECRET, SERVICE, Kind

Document = Mapping[str, object]
STATUS_IS_READ = frozenset([POD.name, SERVICE.name])
"""Kinds whose status says something to us that nobody else does: what is ready, and under which address."""
NOT_READ = frozenset(["managedFields", "resourceVersion", "selfLink"])
"""Of metadata. The generation counts the changes of a spec, those that were taken back too: statuses have it."""

GONE = 4096
"""Of so many objects, those that were deleted last, it is known when."""


class Key(NamedTuple):
    kind: str
    namespace: str
    """Empty for what is in none."""
    name: str


class Scope(NamedTuple):
    """What a list is about."""

    kind: str
    namespace: str = ""
    """Empty: all of them."""

    def __str__(self) -> str:
        return f"{self.kind} in {self.namespace}" if self.namespace else self.kind


@dataclass(frozen=True, slots=True)
class Entry:
    """An object."""

    body: Document = field(repr=False)
    """As it was seen last."""
    document: Document = field(repr=False)
    """For the compiler: without what it does not read, and as it was when that last changed."""
    version: int
    """Its resourceVersion."""

    @property
    def uid(self) -> str:
        return text(metadata(self.body).get("uid"))

    @property
    def generation(self) -> int:
        """Counts the changes of the spec."""
        found = metadata(self.body).get("generation")
        return found if isinstance(found, int) else 0


class Mirror:
    """All objects by key."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[Key, Entry]] = defaultdict(dict)
        self._gone: dict[Key, int] = {}
        """When what is no more was deleted, the last at the end: a list may still have it. Forgotten with the next
        list, or where many more are deleted."""
        self._versions: dict[str, int] = {}
        """By kind, the newest of an object or a deletion that anybody has seen. All replicas come to the same numbers;
        by those of their lists each would seem to be ahead of the others, in whatever it has listed last."""
        self._listed: dict[str, int] = {}
        """By kind, the newest version at all."""
        self._heard: Mapping[str, int] = {}
        """What a data plane has a table of."""
        self._told: Mapping[str, int] = {}
        self.synced: set[Scope] = set()
        """What was listed as a whole."""
        self.epoch = 0
        """How often the storage was put back."""

    def see(self, kind: Kind, body: Document, *, deleted: bool = False) -> bool:
        """Take an object as a watch (or an answer to a write) tells of it. Whether the compiler has to know."""
        key, version = key_of(kind, body), version_of(body)
        if version <= self._newest(key):
            return False
        self._saw(kind, version)
        self._gone.pop(key, None)
        if not deleted:
            return self._keep(kind, key, body)
        self._gone[key] = version
        if len(self._gone) > GONE:
            del self._gone[next(iter(self._gone))]
        return self._entries[kind.name].pop(key, None) is not None

    def told(self, epoch: int, versions: Mapping[str, int]) -> bool:
        """Take from another replica, or from an earlier life, what was known in which epoch. Whether what is known here
        is of an earlier one: it has to be read anew."""
        if epoch < self.epoch:
            return False
        late = epoch > self.epoch and bool(self._listed)
        if late:
            self.put_back(epoch)
        self.epoch, self._told = epoch, versions
        return late

    def heard(self, epoch: int, versions: Mapping[str, int]) -> None:
        """A data plane has a table of another replica, made with this known. A list that is no older knows it, too."""
        if epoch == self.epoch:
            self._heard = versions

    def put_back(self, epoch: int | None = None) -> None:
        """The storage was, so that another epoch begins: whatever is said from then on holds against what was known
        before, and nothing is whole until it was listed."""
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self.synced.clear()
        self._gone.clear()
        self._versions.clear()
        self._listed.clear()
        self._told = self._heard = {}
        for entries in self._entries.values():
            entries.update({key: replace(entry, version=-1) for key, entry in entries.items()})

    def asked(self, scope: Scope) -> int:
        """The newest version that is known of a kind, to be handed to `replace` with what a list that is asked for
        now answers."""
        return max(self._listed.get(scope.kind, 0), self._told.get(scope.kind, 0))

    def replace(self, kind: Kind, scope: Scope, bodies: Iterable[Document], version: int, asked: int) -> bool:
        """Take a list as it was at `version`. Whether the compiler has to know. Raises `epoch` where the storage has
        been put back, see `put_back`."""
        listed = {key_of(kind, body): body for body in bodies}
        if version < asked or any(version_of(body) < self._newest(key) <= version for key, body in listed.items()):
            self.put_back()
        entries = self._entries[kind.name]
        gone = [key for key in self._within(scope) if key not in listed and entries[key].version <= version]
        for key in gone:
            del entries[key]
        # Also what has the same version as here: in a storage that was put back, versions come again.
        kept = [self._keep(kind, key, body) for key, body in listed.items() if self._newest(key) <= version]
        self._gone = {key: at for key, at in self._gone.items() if key.kind != kind.name or at > version}
        self._listed[kind.name] = max(version, self._listed.get(kind.name, 0))
        elsewhere = (self._told.get(kind.name, 0), self._heard.get(kind.name, 0))
        seen = [*map(version_of, listed.values()), *(each for each in elsewhere if each <= version)]
        # When it was deleted what is not there any more, the list does not say.
        self._saw(kind, version if gone else max(seen, default=0))
        changed = bool(gone) or any(kept) or scope not in self.synced
        self.synced.add(scope)
        return changed

    def forget(self, scope: Scope) -> bool:
        """Drop what is no longer read. Whether there was any."""
        self.synced.discard(scope)
        keys = self._within(scope)
        for key in keys:
            del self._entries[scope.kind][key]
        return bool(keys)

    def get(self, kind: str, namespace: str, name: str) -> Entry | None:
        return self._entries[kind].get(Key(kind, namespace, name))

    def entries(self, kind: str) -> Mapping[Key, Entry]:
        return self._entries[kind]

    def kinds(self) -> list[str]:
        """Of which anything is known."""
        return list(self._listed)

    def all(self) -> Iterator[tuple[Key, Entry]]:
        for entries in self._entries.values():
            yield from entries.items()

    def documents(self) -> Iterator[Document]:
        """For the compiler."""
        for _, entry in self.all():
            yield entry.document

    def count(self, scope: Scope) -> int:
        return len(self._within(scope))

    def versions(self) -> dict[str, int]:
        """How far each kind has come, for a watermark: 0 for one of which there never was anything."""
        return dict(self._versions)

    def _saw(self, kind: Kind, version: int) -> None:
        for known in (self._versions, self._listed):
            known[kind.name] = max(version, known.get(kind.name, 0))

    def _within(self, scope: Scope) -> list[Key]:
        return [key for key in self._entries[scope.kind] if scope.namespace in ("", key.namespace)]

    def _newest(self, key: Key) -> int:
        """The version of what is known of an object, that it was deleted included."""
        known = self._entries[key.kind].get(key)
        return max(known.version if known else -1, self._gone.get(key, -1))

    def _keep(self, kind: Kind, key: Key, body: Document) -> bool:
        """Whether it is another document than before."""
        known = self._entries[kind.name].get(key)
        document = _read_by_the_compiler(kind, body)
        same = known is not None and known.document == document
        if known is not None and same:
            # What is equal is kept once: a status is written far more often than a spec.
            document = known.document
            body = {**body, **{name: part for name, part in document.items() if name not in ("metadata", "status")}}
        self._entries[kind.name][key] = Entry(body, document, version_of(body))
        return not same


def key_of(kind: Kind, body: Document) -> Key:
    found = metadata(body)
    namespace = text(found.get("namespace")) if kind.namespaced else ""
    return Key(kind.name, namespace, text(found.get("name")))


def version_of(body: Document) -> int:
    """The resourceVersion; 0 where there is none."""
    found = text(metadata(body).get("resourceVersion"))
    return int(found) if found.isdecimal() else 0


def metadata(body: Document) -> Mapping[str, object]:
    found = body.get("metadata")
    return cast("Mapping[str, object]", found) if isinstance(found, Mapping) else {}


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_by_the_compiler(kind: Kind, body: Document) -> Document:
    # Of a Secret the version is read, too: it is part of the ids of its values.
    ignored = NOT_READ - {"resourceVersion"} if kind is SECRET else NOT_READ
    document = {name: part for name, part in body.items() if name != "status" or kind.name in STATUS_IS_READ}
    document["metadata"] = {name: part for name, part in metadata(body).items() if name not in ignored}
    return document
