"""Anything that speaks the OpenAI API, at the address that the Backend says."""

from dataplane.providers.kind import Kind

CUSTOM = Kind("custom")
