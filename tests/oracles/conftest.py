"""Only tests are collected here: the files beside them need programs that may not be there."""

from pathlib import Path

collect_ignore = [p.name for p in Path(__file__).parent.glob("*.py") if p.name[:5] != "test_"]
