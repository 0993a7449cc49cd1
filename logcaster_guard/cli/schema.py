"""`logcaster-guard schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from logcaster_guard.config.json_schema import json_schema


class Kind(StrEnum):
    """What a configuration file holds."""

    RULES = "rules"
    SETTINGS = "settings"


def schema(kind: Annotated[Kind, typer.Argument(help="The kind of file.")] = Kind.RULES) -> None:
    """Print the JSON Schema of a rule file or of the settings.

    Kept beside the files it lets an editor complete keys and mark faults.
    """
    print(json.dumps(json_schema(kind), indent=2))
