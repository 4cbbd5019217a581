"""How fast a question is answered in closed form; reported, never asserted."""

from fedsim.resources import resource_dir
from fedsim.scenario import run_scenario


def test_the_case_study(benchmark) -> None:
    """Eighteen results, from the file to the answer."""
    path = resource_dir("scenarios") / "case_study.toml"
    result = benchmark(run_scenario, path)
    assert len(result.results) == 18
