"""xAI: https://docs.x.ai

Chat is as OpenAI has it. A voice session is not: it is billed by time and not by tokens, audio may be binary, the
fields of a session are those that OpenAI's beta had, and a wrong key is answered 400 on the handshake.
"""

from dataplane.providers.kind import Kind

XAI = Kind(
    "xai",
    url="https://api.x.ai/v1",
    system="x_ai",
    catalogue="x-ai",
    beta_is_mended=False,
    bills_time=True,
    binary_audio=True,
    rejects=frozenset([400, 401, 403]),
    resumes=frozenset(["conversation_id"]),
)
