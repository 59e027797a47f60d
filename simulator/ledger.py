"""What the simulated provider billed: every turn as its usage was sent, and the totals of what was reported.

It is the other side of the meter's book: a gateway that counts right reaches these totals, to the token. What was
billed and never reported is told apart: a gateway can only estimate it.
"""

from collections import deque

from simulator.shapes import Json, count, mapping

_KEPT = 100_000  # newest turns kept; totals go on counting

_COUNTED = (
    "turns", "input_tokens", "output_tokens", "total_tokens",
    "input_text_tokens", "input_audio_tokens", "input_image_tokens", "input_unknown_tokens",
    "cached_tokens", "cached_text_tokens", "cached_audio_tokens", "cached_image_tokens", "cached_unknown_tokens",
    "output_text_tokens", "output_audio_tokens", "output_unknown_tokens", "reasoning_tokens",
    "transcription_input_tokens", "transcription_input_text_tokens", "transcription_input_audio_tokens",
    "transcription_output_tokens", "transcription_seconds",
    "session_seconds", "audio_seconds", "billed_items",
)  # fmt: skip


NEVER_SAID = frozenset({"abandoned", "dropped"})
"""Statuses of turns whose end was never sent: the client, or the simulated provider, was gone before."""


class Ledger:
    """Turns and totals. A turn is recorded just before its usage is sent, so who has seen it finds it here.

    Cached and reasoning tokens are part of input and output, never more. Tokens reported without details are
    `unknown`: nothing says which modality they were. Transcriptions have another model and another price, so
    they count apart and never in `input_tokens`.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget every turn."""
        self._turns: deque[Json] = deque(maxlen=_KEPT)
        self._totals: dict[str, float] = dict.fromkeys(_COUNTED, 0)

    @property
    def turns(self) -> list[Json]:
        """`{"id", "kind", "session", "model", "status", "usage", "reported", "billed"}` of each turn, oldest first."""
        return list(self._turns)

    @property
    def totals(self) -> dict[str, float]:
        """Sums over all turns since the last `clear`."""
        return dict(self._totals)

    def report(self) -> Json:
        """The body of `GET /_ledger`."""
        return {"turns": self.turns, "totals": self.totals}

    def record(
        self,
        kind: str,
        turn: str,
        *,
        session: str | None,
        model: str,
        status: str,
        usage: Json | None,
        billed: Json | None,
    ) -> None:
        """Book a turn by its id. `kind` is realtime, chat, responses or transcription; `usage` exactly what is sent,
        None where that is nothing; `billed` is what the turn costs, sent or not, None where it is free."""
        entry: Json = {"id": turn, "kind": kind, "session": session, "model": model, "status": status, "usage": usage}
        self._turns.append({**entry, "reported": status not in NEVER_SAID, "billed": billed})
        self._add("turns", 1)
        if usage is None:
            return
        match kind:
            case "realtime":
                self._add_tokens(usage, "input", "output", "input_token_details", "output_token_details")
            case "chat":
                self._add_tokens(usage, "prompt", "completion", "prompt_tokens_details", "completion_tokens_details")
            case "responses":
                self._add_unsplit(usage)
            case _:
                self._add_transcription(usage)

    def record_time(self, session: str, model: str, used: Json) -> None:
        """Book what a session costs that is billed by time: `session_seconds` by the clock, `audio_seconds`,
        `items`."""
        entry: Json = {"id": session, "kind": "time", "session": session, "model": model, "status": "completed"}
        self._turns.append({**entry, "usage": used, "reported": False, "billed": used})
        for name, total in (("session_seconds",) * 2, ("audio_seconds",) * 2, ("items", "billed_items")):
            amount = used[name]
            self._add(total, amount if isinstance(amount, int | float) else 0)

    def _add(self, name: str, number: float) -> None:
        self._totals[name] += number

    def _add_tokens(self, usage: Json, into: str, out: str, into_details: str, out_details: str) -> None:
        self._add("total_tokens", count(usage.get("total_tokens")))
        self._add_direction("input", count(usage.get(f"{into}_tokens")), usage.get(into_details))
        self._add_direction("output", count(usage.get(f"{out}_tokens")), usage.get(out_details))
        self._add_cached(mapping(usage.get(into_details)))
        self._add("reasoning_tokens", count(mapping(usage.get(out_details)).get("reasoning_tokens")))

    def _add_unsplit(self, usage: Json) -> None:
        """Nobody says the modality."""
        self._add("total_tokens", count(usage.get("total_tokens")))
        self._add_direction("input", count(usage.get("input_tokens")), None)
        self._add_direction("output", count(usage.get("output_tokens")), None)
        self._add_cached(mapping(usage.get("input_tokens_details")))
        reasoning = mapping(usage.get("output_tokens_details")).get("reasoning_tokens")
        self._add("reasoning_tokens", count(reasoning))

    def _add_cached(self, details: Json) -> None:
        tokens, parts = count(details.get("cached_tokens")), mapping(details.get("cached_tokens_details"))
        self._add("cached_tokens", tokens)
        for modality in ("text", "audio", "image"):
            part = count(parts.get(f"{modality}_tokens"))
            self._add(f"cached_{modality}_tokens", part)
            tokens -= part
        self._add("cached_unknown_tokens", tokens)

    def _add_direction(self, direction: str, tokens: int, details: object) -> None:
        """What is not audio or image is text, as soon as there are details that could have said otherwise."""
        self._add(f"{direction}_tokens", tokens)
        if not isinstance(details, dict):
            self._add(f"{direction}_unknown_tokens", tokens)
            return
        audio, image = count(details.get("audio_tokens")), count(details.get("image_tokens"))
        self._add(f"{direction}_audio_tokens", audio)
        if direction == "input":
            self._add("input_image_tokens", image)
        self._add(f"{direction}_text_tokens", tokens - audio - image)

    def _add_transcription(self, usage: Json) -> None:
        seconds = usage.get("seconds")
        self._add("transcription_seconds", seconds if isinstance(seconds, int | float) else 0)
        self._add("transcription_output_tokens", count(usage.get("output_tokens")))
        self._add("transcription_input_tokens", count(usage.get("input_tokens")))
        details = mapping(usage.get("input_token_details"))
        self._add("transcription_input_text_tokens", count(details.get("text_tokens")))
        self._add("transcription_input_audio_tokens", count(details.get("audio_tokens")))
