"""What the simulated moderation says of texts: these words are flagged, in any case and within others."""

from simulator.shapes import Json, mapping, sequence, text

WORDS: dict[str, tuple[str, ...]] = {
    "harassment": ("idiot",),
    "harassment/threatening": ("watch your back",),
    "hate": ("despise",),
    "hate/threatening": (),
    "illicit": ("contraband",),
    "illicit/violent": (),
    "self-harm": ("hurt myself",),
    "self-harm/intent": ("hurt myself",),
    "self-harm/instructions": (),
    "sexual": ("obscene",),
    "sexual/minors": (),
    "violence": ("kill",),
    "violence/graphic": ("gore",),
}
"""By category; all that omni-moderation-latest has."""


def inputs(given: object) -> list[str]:
    """The texts that are judged each by itself: those of a list of parts, some of them pictures, are one."""
    if isinstance(given, str):
        return [given]
    listed = sequence(given)
    parts = [mapping(each) for each in listed if not isinstance(each, str)]
    if parts:
        return [" ".join(text(part.get("text")) for part in parts)]
    return [each for each in listed if isinstance(each, str)]


def result(said: str) -> Json:
    """What is said of one text."""
    lower = said.lower()
    categories = {name: any(word in lower for word in words) for name, words in WORDS.items()}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": {name: 0.97 if found else 0.0001 for name, found in categories.items()},
        "category_applied_input_types": {name: ["text"] for name in categories},
    }
