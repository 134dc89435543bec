"""docs/api.md says what the docstrings say."""

import runpy
from pathlib import Path

import gan_vkd
from gan_vkd import evaluation

SCRIPT = Path(__file__).parents[2] / "scripts" / "api_page.py"
made = runpy.run_path(str(SCRIPT))


def test_the_page_is_current():
    written = made["PAGE"].read_text()
    assert written == made["page"](), "run python scripts/api_page.py"


def test_every_public_name_has_an_entry():
    names = {name for group in made["CONTENTS"].values() for name in group}
    public = {f"gan_vkd.{name}" for name in gan_vkd.__all__ if name != "__version__"}
    public |= {f"gan_vkd.evaluation.{name}" for name in evaluation.__all__}
    assert public <= names


def test_signatures_and_sections():
    def plain(one: int, *, two: str = "x") -> list:
        """It adds.

        Args:
            one: the first, which
                goes on.
            two: the second.

        Returns:
            Their sum: a list.
        """

    expected = """### room.plain

```python
plain(one: int, *, two: str = "x") -> list
```

It adds.

**Args**

* `one`: the first, which
  goes on.
* `two`: the second.

**Returns**

Their sum: a list.
"""
    assert made["entry"]("room.plain", plain) == expected
