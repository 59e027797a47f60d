"""What the controller is told by its install: a YAML file, which the chart makes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from controller.compile import ExposeRule, Install, LabelSelector, UpstreamRule
