"""What the user says: the input audio buffer, and the transcription of it. Pure.

No audio is kept, only how much there was: the simulator hears with its ears closed.
"""

from simulator import answers, usage
from simulator.events import event
from simulator.items import Item
from simulator.ledger import Ledger
from simulator.shapes import mapping, sequence
from simulator.timeline import Script


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


def transcribe(item: Item, ms: float, model: str, session_id: str, ledger: Ledger) -> Script:
    """The transcript of an item, piece by piece, billed on its own."""
    where = {"item_id": item.id, "content_index": 0}
    kind = "conversation.item.input_audio_transcription"
    for piece in answers.pieces(answers.HEARD):
        yield event(f"{kind}.delta", **where, delta=piece)
    part = mapping(sequence(item.body["content"])[0])
    item.body = {**item.body, "content": [{**part, "transcript": answers.HEARD}]}
    spent = usage.transcription(model, ms, answers.HEARD)
    ledger.record("transcription", item.id, session=session_id, model=model, status="completed", usage=spent)
    yield event(f"{kind}.completed", **where, transcript=answers.HEARD, usage=spent)


def fail_to_transcribe(item: Item) -> Script:
    """The event for audio that cannot be transcribed; it costs nothing."""
    failure = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
    yield event(
        "conversation.item.input_audio_transcription.failed",
        item_id=item.id,
        content_index=0,
        error={**failure, "message": "The audio could not be transcribed."},
    )
