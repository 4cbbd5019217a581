"""A stray byte in a user's file ends in a message with file and line, wherever it is read."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fedsim
from fedsim.calibration.link.profile import load_link_profile
from fedsim.calibration.plan_file import read_plan
from fedsim.calibration.profile import load_profile
from fedsim.calibration.run import refit
from fedsim.errors import CalibrationError, FedsimError, ScenarioError
from fedsim.learning.curves import read_curves
from fedsim.learning.store import read_laws
from fedsim.runtime.data import load_banking77
from fedsim.runtime.data.clinc150 import load_clinc150
from fedsim.runtime.data.language_texts import load_e2e, load_wikitext2
from fedsim.scenario.file.document import read_toml
from fedsim.spec.model_config import read_model_config
from fedsim.text_file import read_text
from fedsim.training.folder import RecordFile
from profiles import written_profile

SOURCE = Path(fedsim.__file__).parent
#: Who reads or writes something else than a user's text, and what.
NOT_USERS = {
    "text_file.py": "is where it is read",
    "calibration/machine.py": "/proc",
    "calibration/measure.py": "/proc",
    "calibration/link/endpoint.py": "/proc",
    "calibration/link/connector.py": "a connection",
    "calibration/link/frame.py": "a connection",
    "calibration/link/sweep.py": "a connection",
    "runtime/free_memory.py": "/proc",
    "spec/device_catalogue.py": "fedsim's own data",
    "spec/link_catalogue.py": "fedsim's own data",
    "spec/model_catalogue.py": "fedsim's own data",
    "scenario/file/text_length.py": "fedsim's own data",
    "learning/baseline.py": "fedsim's own data",
    "cli/streams.py": "a stream that nobody reads",
}


def test_a_mark_is_no_character_and_line_ends_stay(tmp_path: Path) -> None:
    """What Excel calls 'CSV UTF-8' is UTF-8 behind a byte order mark."""
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbftext,category\r\n\xc3\xa9\r\n")
    assert read_text(path) == "text,category\r\né\r\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo \xe9\n", "mine, line 2: not UTF-8 text (byte 0xe9 at byte 5 of the line)"),
        (b"\xef\xbb\xbf\xe9", "mine, line 1: not UTF-8 text (byte 0xe9 at byte 1 of the line)"),
        ("text".encode("utf-16"), "mine: not UTF-8 text but UTF-16"),
    ],
)
def test_bytes_that_are_no_utf8_are_named_with_their_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    """And what to do."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CalibrationError, match=re.escape(message)) as refused:
        read_text(tmp_path / "file", "mine", error=CalibrationError, cure="Or else.")
    assert "save the file as UTF-8. Or else." in str(refused.value)


def test_no_file_and_no_readable_file_are_named(tmp_path: Path) -> None:
    """Folders included."""
    with pytest.raises(ScenarioError, match="absent: there is no such file"):
        read_text(tmp_path / "absent")
    with pytest.raises(ScenarioError, match="none at all"):
        read_text(tmp_path / "absent", missing="none at all")
    with pytest.raises(ScenarioError, match="cannot be read"):
        read_text(tmp_path)


READERS = {
    "scenario": ("a.toml", lambda folder: read_toml(folder / "a.toml", "a.toml")),
    "model": ("config.json", lambda folder: read_model_config(folder / "config.json")),
    "plan": ("plan.toml", lambda folder: read_plan(folder / "plan.toml", "cpu")),
    "curves": ("curves.json", lambda folder: read_curves(folder / "curves.json")),
    "laws": ("laws.json", lambda folder: read_laws(folder / "laws.json")),
    "records": ("metrics.jsonl", lambda folder: RecordFile(folder / "metrics.jsonl").read()),
    "clinc150": ("clinc150/data_full.json", load_clinc150),
    "e2e": ("e2e/devset.csv", load_e2e),
    "wikitext2": ("wikitext2/valid.txt", load_wikitext2),
    "categories": ("banking77/categories.json", load_banking77),
    "train.csv": ("banking77/train.csv", load_banking77),
}


@pytest.mark.parametrize("kind", READERS)
def test_every_reader_names_file_and_line_of_a_stray_byte(kind: str, tmp_path: Path) -> None:
    """Scenarios, models, plans, curves, laws, records and data sets."""
    name, read = READERS[kind]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for other in ("train.csv", "test.csv"):
        if name.startswith("banking77"):
            (tmp_path / "banking77" / other).write_text("text,category\nhello,one\n")
    if name == "banking77/train.csv":
        (tmp_path / "banking77" / "categories.json").write_text('["one"]')
    (tmp_path / name).write_bytes(b"# fine\n# \xe0\n")
    with pytest.raises(FedsimError) as refused:
        read(tmp_path)
    message = str(refused.value)
    assert Path(name).name in message
    assert "line 2: not UTF-8 text (byte 0xe0 at byte 3 of the line)" in message


def test_a_training_set_that_excel_wrote_is_read(tmp_path: Path) -> None:
    """Its header is 'text,category', whatever stands ahead of it."""
    folder = tmp_path / "banking77"
    folder.mkdir()
    for name in ("train.csv", "test.csv"):
        (folder / name).write_bytes(b'\xef\xbb\xbftext,category\r\n"a\nb",one\r\n')
    (folder / "categories.json").write_bytes(b'\xef\xbb\xbf["one"]')
    train, _ = load_banking77(tmp_path)
    assert train.texts == ("a\nb",)


def test_damaged_measurements_are_refused_with_file_and_line(tmp_path: Path) -> None:
    """Fitting them again is no crash."""
    profile, raw = written_profile(tmp_path), tmp_path / "measurements.csv"
    before = hashlib.sha256(raw.read_bytes()).hexdigest()
    raw.write_bytes(b"phase,seconds\ntrain,\xe0.1\n")
    text = profile.read_text().replace(before, hashlib.sha256(raw.read_bytes()).hexdigest())
    profile.write_text(text)
    with pytest.raises(CalibrationError, match=r"measurements\.csv, line 2: not UTF-8 text"):
        refit(tmp_path)


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("fit.float32.standard_error head_flop", "fit.float32.standard_error has other kinds"),
        ("fit.float32.seconds_per_unit head_flop", "fit.float32.seconds_per_unit has other kinds"),
        ("fit.float32.noise.model median", "fit.float32.noise.model.median: Field required"),
        ("fit.float32.interval_95 model", "fit.float32: Value error, interval_95 lacks model"),
    ],
)
def test_a_profile_that_lacks_a_key_is_refused_by_its_name(
    key: str, named: str, tmp_path: Path
) -> None:
    """Ahead of whoever would have looked it up."""
    profile = written_profile(tmp_path)
    table, name = key.split()
    head, _, rest = profile.read_text().partition(f"[{table}]\n")
    profile.write_text(f"{head}[{table}]\n" + re.sub(rf"(?m)^{name} = .*\n", "", rest, count=1))
    with pytest.raises(ScenarioError, match=re.escape(named)) as refused:
        load_profile(profile)
    assert str(profile) in str(refused.value)


def reads(tree: ast.AST) -> Iterator[int]:
    """Lines of a module that read text in a way of their own."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function, words = node.func, [*node.args, *(word.value for word in node.keywords)]
        name = getattr(function, "attr", getattr(function, "id", ""))
        modes = [a.value for a in words if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        writes = any(mode.strip("b+t") in ("w", "a", "x") for mode in modes)
        is_method = isinstance(function, ast.Attribute)
        if (name == "open" and not writes) or (is_method and name in ("read_text", "decode")):
            yield node.lineno


def test_nobody_reads_a_users_text_around_it() -> None:
    """A new reader has to go through it, or say here what else it reads."""
    found = [
        f"{path.relative_to(SOURCE).as_posix()}:{line}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).as_posix() not in NOT_USERS
        for line in reads(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
    for code in ("path.read_text()", "open(name)", "path.open(encoding='utf-8')", "b.decode()"):
        assert list(reads(ast.parse(code))) == [1]
    assert list(reads(ast.parse("path.open('ab')"))) == []


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("num_passes = {}", lambda path: read_toml(path, "file")),
        ("num_passes = {}", lambda path: read_plan(path, "cpu")),
        ("num_passes = {}", load_profile),
        ("num_passes = {}", load_link_profile),
        ('{{"schema": {}}}', read_curves),
        ('{{"schema": {}}}', read_laws),
        ('{{"n_layer": {}}}', read_model_config),
    ],
)
def test_a_number_of_too_many_digits_is_named(
    text: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    """Python refuses to convert it with an error that is neither TOML's nor JSON's own."""
    path = tmp_path / "file"
    path.write_text(text.format("9" * 5000))
    with pytest.raises(FedsimError) as found:
        read(path)
    assert re.search("digits|out of range|too large|not valid", str(found.value))
