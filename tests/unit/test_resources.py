"""Data folders: found in a checkout and in a wheel, and never a stranger's."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from fedsim.errors import FedsimError
from fedsim.resources import ResourceKind, find_resource_dir, resource_dir

CHECKOUT = Path(__file__).parents[2]
KINDS: tuple[ResourceKind, ...] = ("calibrate", "scenarios")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built in this process: no network, no isolation."""
    (path,) = WheelBuilder(str(CHECKOUT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    return Path(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkout_finds_the_folder_beside_the_package(kind: ResourceKind) -> None:
    """An editable install reads the files that its owner edits."""
    assert resource_dir(kind) == CHECKOUT / kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_wheel_finds_the_folder_inside_the_package(tmp_path: Path, kind: ResourceKind) -> None:
    """The package's own copy wins over whatever lies beside it."""
    inside = tmp_path / "fedsim" / "_data" / kind
    inside.mkdir(parents=True)
    (tmp_path / kind).mkdir()
    (tmp_path / "pyproject.toml").touch()

    assert find_resource_dir(tmp_path / "fedsim", kind) == inside


def test_a_strangers_folder_beside_an_installed_package_is_not_ours(tmp_path: Path) -> None:
    """A package named `scenarios` in site-packages is never mistaken for our data."""
    (tmp_path / "fedsim").mkdir()
    (tmp_path / "scenarios").mkdir()

    with pytest.raises(FedsimError):
        find_resource_dir(tmp_path / "fedsim", "scenarios")


def test_a_missing_folder_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    """The message says what is missing, where it was looked for and what to do."""
    with pytest.raises(FedsimError) as caught:
        find_resource_dir(tmp_path / "fedsim", "calibrate")

    message = str(caught.value)
    assert "'calibrate'" in message
    assert str(tmp_path / "fedsim" / "_data" / "calibrate") in message
    assert str(tmp_path / "calibrate") in message
    assert "reinstall fedsim-llm" in message


def files_below(folder: Path) -> set[str]:
    """The paths of all files in a folder, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_wheel_carries_every_data_file(wheel: Path, kind: ResourceKind) -> None:
    """Each file of a data folder arrives with the installed package, and there is at least one."""
    prefix = f"fedsim/_data/{kind}/"
    with zipfile.ZipFile(wheel) as archive:
        carried = {
            name.removeprefix(prefix) for name in archive.namelist() if name.startswith(prefix)
        }

    assert carried
    assert carried == files_below(CHECKOUT / kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_installed_wheel_finds_its_data(wheel: Path, tmp_path: Path, kind: str) -> None:
    """A process that sees only the unpacked wheel is led to the wheel's own folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        f"from fedsim.resources import resource_dir; "
        f"sys.stdout.write(str(resource_dir({kind!r})))"
    )

    found = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert Path(found) == tmp_path / "fedsim" / "_data" / kind


@pytest.mark.slow
def test_the_wheel_says_that_it_is_typed(wheel: Path) -> None:
    """Without the marker type checkers take every name of an installed fedsim for untyped."""
    with zipfile.ZipFile(wheel) as archive:
        assert "fedsim/py.typed" in archive.namelist()


@pytest.mark.slow
def test_a_source_distribution_carries_what_a_wheel_is_built_from(tmp_path: Path) -> None:
    """The sdist holds both data folders and the package, or no wheel could be made of it."""
    (path,) = SdistBuilder(str(CHECKOUT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(path) as archive:
        names = [Path(name).parts[1:] for name in archive.getnames()]
    carried = {parts[0] for parts in names}
    assert ("fedsim", "py.typed") in names
    assert {"fedsim", "calibrate", "scenarios", "pyproject.toml", "README.md", "LICENSE"} <= carried
