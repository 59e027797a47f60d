"""The OpenAI API: https://platform.openai.com/docs/api-reference"""

from dataplane.providers.kind import Kind

OPENAI = Kind("openai", url="https://api.openai.com/v1", catalogue="openai")
