"""Guardrails inside a session: what the client says, what the model says, and who else is asked about either. Pure.

inspection  all that is judged in one session
input       events of the client's: they go on, wait, or are refused (line: those that wait)
spoken      what the user says aloud: not answered before it was judged (hearing: what is to be judged; ears: who
            transcribes it; transcripts: what is shown of them; withholding: responses that began too early)
telling     what is said of a block, to the client and to the upstream
output      what the model says: which response an event is of, and what becomes of one that may not be shown
            (judging: what is shown of each event; withheld: what waits, and in which order)
questions   what webhooks and moderations are asked, until they have answered
"""
