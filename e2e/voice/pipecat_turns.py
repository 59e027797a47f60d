"""Pipecat's realtime service at the head of a pipeline: pipecat_turns.py openai|xai URL MODEL TEXT says what came of
the turn, as JSON.

The caller's key is in KEY.
"""

import asyncio
import json
import os
import sys

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor


class Ear(FrameProcessor):
    """Hears what comes out at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.audio, self.errors = "", 0, []
        self.ended = asyncio.Event()

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.said += frame.text
        elif isinstance(frame, TTSAudioRawFrame):
            self.audio += len(frame.audio)
        elif isinstance(frame, ErrorFrame):
            self.errors.append(frame.error)
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.ended.set()
        await self.push_frame(frame, direction)


def service(kind: str):
    if kind == "xai":
        from pipecat.services.xai.realtime.llm import GrokRealtimeLLMService

        return GrokRealtimeLLMService
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

    return OpenAIRealtimeLLMService


async def main(kind: str, url: str, model: str, text: str) -> None:
    llm = service(kind)(api_key=os.environ["KEY"], base_url=url, settings=service(kind).Settings(model=model))
    ear = Ear()
    task = PipelineTask(Pipeline([llm, ear]))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    await task.queue_frame(LLMContextFrame(LLMContext([{"role": "user", "content": text}])))
    await ear.ended.wait()
    await task.queue_frame(EndFrame())
    await running
    print(json.dumps({"turns": [{"said": ear.said, "samples": ear.audio // 2}], "errors": ear.errors}))


logger.remove()  # it logs much
asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
