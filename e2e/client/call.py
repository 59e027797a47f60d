"""What an application does with the OpenAI SDK: one chat completion, one realtime session of two turns.

    call.py BASE_URL KEY

Prints what was said and used, as JSON.
"""

from __future__ import annotations

import json
import sys

from openai import OpenAI

SAID = ("Good morning.", "And what then?")


def complete(client: OpenAI) -> dict[str, object]:
    answer = client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": SAID[0]}])
    assert answer.usage
    return {"said": answer.choices[0].message.content, "tokens": answer.usage.total_tokens}


def talk(client: OpenAI) -> list[dict[str, object]]:
    turns: list[dict[str, object]] = []
    with client.realtime.connect(model="gpt-realtime") as session:
        session.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        for text in SAID:
            content = [{"type": "input_text", "text": text}]
            session.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            session.response.create()
            said = ""
            for event in session:
                if event.type == "response.output_text.delta":
                    said += event.delta
                if event.type == "response.done":
                    turns.append({"said": said, "tokens": event.response.usage.total_tokens})
                    break
    return turns


if __name__ == "__main__":
    base, key = sys.argv[1:]
    caller = OpenAI(api_key=key, base_url=base, max_retries=0, timeout=20)
    print(json.dumps({"chat": complete(caller), "realtime": talk(caller)}))
