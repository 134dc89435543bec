"""The small JSON files of a study's folder."""

import json
from pathlib import Path
from typing import Any

from gan_vkd.errors import GanVkdError


def read_file(path: Path) -> dict[str, Any]:
    """Notes, figures or a result that a study put aside.

    Raises:
        GanVkdError: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise GanVkdError(f"{path}: damaged ({error}): remove it, and it is made again") from None
    if not isinstance(found, dict):
        raise GanVkdError(f"{path}: damaged (no mapping): remove it, and it is made again")
    return found
