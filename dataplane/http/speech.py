"""Speech in answers over HTTP: audio waits until its transcript was judged, whatever a guardrail says of it but `Pass`,
and goes no further where that has a mask. What is said without a transcript is judged by nobody."""

from __future__ import annotations

from dataclasses import dataclass, field

from dataplane.guardrails.judge import TOO_LARGE
from dataplane.http.jury import Jury
from dataplane.http.spoken import Texts

Json = dict[str, object]
LARGEST = 32 * 1024 * 1024
"""Characters of base64 that wait of one answer."""


@dataclass(slots=True)
class Speech:
    """Of a stream of chat completions, by choice."""

    _held: dict[int, list[str]] = field(default_factory=dict)
    _size: int = 0

    def hold(self, jury: Jury, chunk: Json) -> None:
        """Take the audio out of a chunk. Raises Blocked where it is too much."""
        choices = chunk.get("choices")
        for position, choice in enumerate(choices if isinstance(choices, list) else []):
            audio = _inner(_inner(choice, "delta"), "audio")
            data = audio.pop("data", None)
            if not isinstance(data, str) or not data:
                continue
            self._size += len(data)
            if self._size > LARGEST:
                raise jury.unreadable("output", f"it says over {LARGEST} bytes aloud", "audio", TOO_LARGE)
            index = choice.get("index")
            self._held.setdefault(index if isinstance(index, int) else position, []).append(data)

    def end(self, texts: Texts, index: int | None = None) -> list[tuple[int, str]]:
        """A choice, or all of them, and their texts are over: what is heard of which. Raises Blocked."""
        heard = []
        for each in list(self._held) if index is None else [index]:
            if not (pieces := self._held.pop(each, [])):
                continue
            transcript = texts.changed(f"choices[{each}].delta.audio.transcript")
            if transcript is None:
                texts.jury.check_unheard("output")
            if not transcript:
                heard += [(each, piece) for piece in pieces]
        return heard


class Whole:
    """Of an answer that comes whole; to be made before that is judged."""

    def __init__(self, jury: Jury, answer: Json) -> None:
        self._jury = jury
        self._audios = [(each, each.get("transcript")) for each in _audios(answer)] if jury.audio_waits else []

    def judged(self) -> None:
        """Its texts have their masks. Raises Blocked."""
        for audio, transcript in self._audios:
            if not isinstance(transcript, str) or not transcript.strip():
                self._jury.check_unheard("output")
            elif audio.get("transcript") != transcript:
                audio["data"] = ""


def _audios(answer: Json) -> list[Json]:
    """What holds audio: the `audio` of a message of chat completions, and parts of a response."""
    found: list[Json] = []
    stack: list[object] = [answer]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            if each.get("data") and (
                "transcript" in each or "expires_at" in each or each.get("type") == "output_audio"
            ):
                found.append(each)
            stack.extend(each.values())
        elif isinstance(each, list):
            stack.extend(each)
    return found


def _inner(value: object, name: str) -> Json:
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
