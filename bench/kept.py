"""Where measurements that are no part of `make bench` are kept: beside its document, under a name of their own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.report import host


def with_place(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let a command be told where to keep what it finds."""
    parser.add_argument("--into", type=Path, help="a document to keep it in, beside what is there (bench/results.json)")
    return parser


def keep(into: Path | None, part: str, name: str, found: dict[str, Any]) -> None:
    """Print what was found, and keep it as `name` of a part, with the host that it was measured on."""
    print(json.dumps(found, indent=1))
    if into is not None:
        kept = json.loads(into.read_text(encoding="utf-8")) if into.exists() else {}
        kept.setdefault(part, {})[name] = {"host": host(), **found}
        into.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
