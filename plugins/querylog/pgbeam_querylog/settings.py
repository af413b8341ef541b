"""What `[plugins.querylog]` may hold, with the help that docs and `--help` show."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class QueryLogSettings:
    """Which queries are logged, how many of them, and where."""

    path: Path | None = field(
        default=None, metadata={"help": "file for JSON lines; queries.jsonl in state_dir unless set"}
    )
    slow_ms: float = field(
        default=1000.0, metadata={"help": "log what took its client this long or longer; 0: everything", "min": 0}
    )
    errors: bool = field(default=True, metadata={"help": "log what failed, however long it took"})
    sample_rate: float = field(
        default=1.0, metadata={"help": "part of these that is logged, chosen by chance", "min": 0, "max": 1}
    )
    max_per_second: int = field(
        default=100,
        metadata={"help": "entries a second, in all workers together; the rest is counted", "min": 1, "total": True},
    )
    parameters: bool = field(
        default=False, metadata={"help": "log texts as they came, parameters and messages in full: these hold data"}
    )
