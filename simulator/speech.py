"""What the user says: the input audio buffer, and the transcription of it. Pure.

No audio is kept, only how much there was: the simulator hears with its ears closed.
"""

from simulator import answers, usage
from simulator.events import event
from simulator.items import Item
from simulator.ledger import Ledger
from simulator.shapes import Json, mapping, sequence
from simulator.timeline import Receipt, Script


class InputBuffer:
    """Audio since the last commit, and since the session began, in ms."""

    def __init__(self) -> None:
        self.ms = 0.0
        self.ends_at_ms = 0.0

    def append(self, ms: float) -> None:
        """More audio has come."""
        self.ms += ms
        self.ends_at_ms += ms

    def take(self) -> float:
        """Empty the buffer; how many ms it held."""
        held, self.ms = self.ms, 0.0
        return held


def audio_item(item_id: str, ms: float) -> Item:
    """The user item that a commit makes."""
    body = {"id": item_id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
    content = [{"type": "input_audio", "transcript": None}]
    return Item({**body, "content": content}, usage.of_audio_heard(ms))


class Transcription:
    """An utterance on its way to being a transcript, which is billed on its own. Booked once: as its end is sent, or
    when it is clear that this will never be."""

    def __init__(self, item: Item, ms: float, model: str, session_id: str, ledger: Ledger) -> None:
        self._item, self._model, self._session, self._ledger = item, model, session_id, ledger
        self._spent = usage.transcription(model, ms, answers.HEARD)
        self.booked = False

    def lose(self, status: str) -> None:
        """The connection is gone: nothing more can be reported."""
        self._book(status, None)

    def script(self) -> Script:
        """The transcript, piece by piece, and what it costs."""
        where = {"item_id": self._item.id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        for piece in answers.pieces(answers.HEARD):
            yield event(f"{kind}.delta", **where, delta=piece)
        part = mapping(sequence(self._item.body["content"])[0])
        self._item.body = {**self._item.body, "content": [{**part, "transcript": answers.HEARD}]}
        completed = event(f"{kind}.completed", **where, transcript=answers.HEARD, usage=self._spent)
        yield Receipt(completed, lambda: self._book("completed", self._spent))

    def _book(self, status: str, sent: Json | None) -> None:
        if not self.booked:
            self.booked = True
            who = self._session
            self._ledger.record(
                "transcription",
                self._item.id,
                session=who,
                model=self._model,
                status=status,
                usage=sent,
                billed=self._spent,
            )


def fail_to_transcribe(item: Item) -> Script:
    """The event for audio that cannot be transcribed; it costs nothing."""
    failure = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
    yield event(
        "conversation.item.input_audio_transcription.failed",
        item_id=item.id,
        content_index=0,
        error={**failure, "message": "The audio could not be transcribed."},
    )
