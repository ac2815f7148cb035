"""What the doctor found: one value for each thing, and how much it matters."""

from __future__ import annotations

from dataclasses import asdict, dataclass

FAULT, RISK, NOTE = "fault", "risk", "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fault`: does not work; `risk`: works until it matters; `note`: good to know."""

    level: str
    kind: str
    subject: str
    text: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)
