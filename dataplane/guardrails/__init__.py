"""Guardrails: what is wrong with a text, and what may be seen of it. Pure.

    folding    text as a reader takes it: nothing invisible, one spelling of what looks alike
    detection  how text is searched: findings, and up to where they are certain
    keywords   words · regex: patterns (widths: how long what they match can be) · pii: personal data and credentials
               (numbers: those that prove themselves)
    judge      guardrails that hold in one direction, and their verdict on a whole text
    window     the same for text that comes in pieces and is shown in pieces
    texts      where text is, in what clients and providers say

Whoever asks makes each guardrail `ready` once for a table. A text is judged as it is, and folded. It is judged part by
part, as `texts` finds them; webhook and moderation are somebody else's to ask (`Judge.remote`).
"""
