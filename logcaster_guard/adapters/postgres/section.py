"""The section of `guard.yaml` about the database whose migrations are undone."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from logcaster_guard.fields.faults import Refused, described
from logcaster_guard.fields.section import PathName, SecretSource, Section, pattern_of
from logcaster_guard.messages.texts import phrase

_HOST = re.compile(r"(?:[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}|/[!-+.-~-]{0,90})", re.ASCII)
_IDENTIFIER = re.compile(r"[!-~]{1,63}", re.ASCII)


def _check_host(text: str) -> str:
    # A comma would name several, of which one may be another database.
    if not _HOST.fullmatch(text):
        raise Refused(described(text), phrase("allowed.database_host"))
    return text


def _check_identifier(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise Refused(described(text), phrase("allowed.database_name"))
    return text


Host = Annotated[str, AfterValidator(_check_host), pattern_of(_HOST)]
Identifier = Annotated[str, AfterValidator(_check_identifier), pattern_of(_IDENTIFIER)]


class DatabaseSection(Section):
    """Where the database is, who signs in, and which files undo its migrations."""

    host: Host = Field(
        description="the server itself, by name, IP address or folder of its socket; a connection pooler is refused"
    )
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(default=5432, description="the server's port")
    name: Identifier = Field(default="logcaster", description="the database")
    user: Identifier = Field(default="logcaster", description="the role that signs in; it should own the tables")
    password: SecretSource = Field(description="the role's password")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="as libpq has it; `verify-full` alone makes sure that it is the right server"
    )
    sslrootcert: PathName | None = Field(
        default=None, description="the certificates that vouch for the server's; `null`: libpq's own place"
    )
    version_schema: Identifier = Field(
        default="public", description="the schema of golang-migrate's table `schema_migrations`"
    )
    migrations: PathName = Field(
        description="the folder of the migration files, up and down, of the release that runs now"
    )
