"""What somebody has agreed to when a session is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .errors import InvalidParameter

LONGEST_TEXT = 200  # characters of who, and of what for


@dataclass(frozen=True, slots=True)
class Consent:
    """given_by: whose it is; given_at: RFC 3339, as it was said; purpose: what it is for."""

    given_by: str
    given_at: str
    purpose: str

    def to_json(self) -> dict[str, Any]:
        return {"given_by": self.given_by, "given_at": self.given_at, "purpose": self.purpose}

    def to_viewers(self) -> dict[str, Any]:
        """As everybody who watches is told: not who they are."""
        return {"given_at": self.given_at, "purpose": self.purpose}


def read_consent(raw: object) -> Consent:
    """`{"given_by": …, "given_at": …, "purpose": …}`. Raises InvalidParameter, which names what is
    wrong."""
    if not isinstance(raw, Mapping):
        raise InvalidParameter(
            "consent",
            'must be {"given_by": "…", "given_at": "2030-01-31T12:00:00Z", "purpose": "…"}',
        )
    texts = {name: _text(raw, name) for name in ("given_by", "given_at", "purpose")}
    try:
        has_zone = datetime.fromisoformat(texts["given_at"]).tzinfo is not None
    except ValueError:
        has_zone = False
    if not has_zone or "T" not in texts["given_at"].upper():
        raise InvalidParameter(
            "consent.given_at", "must be a time with its zone (RFC 3339), as 2030-01-31T12:00:00Z"
        )
    return Consent(**texts)


def _text(raw: Mapping[Any, Any], name: str) -> str:
    text = raw.get(name)
    if not isinstance(text, str) or not 0 < len(text.strip()) <= len(text) <= LONGEST_TEXT:
        raise InvalidParameter(
            f"consent.{name}", f"must be a text of 1 to {LONGEST_TEXT} characters"
        )
    if not text.isprintable():
        raise InvalidParameter(f"consent.{name}", "must be one line of printable characters")
    return text
