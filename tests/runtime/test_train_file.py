"""A training file's mistakes: one line each, where it is, what is allowed, and exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import read_scenario
from fedsim.scenario.build.checked_case import STAND_INS
from fedsim.training.file import read_trainings
from fedsim.training.setup import TrainingSetup
from training_file import TOML, needs_published_data, read, train, training_file

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "training"


def message(result: Any) -> str:
    """What was said, in one line."""
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"train__seed": 1}, "[train] seed: unknown key"),
        ({"train__seed": 1}, "Did you mean 'seeds'?"),
        ({"train__rounds": 3}, "'num_rounds' is a key of [workload]"),
        ({"train__lr": 0.1}, "'learning_rate' is a key of [learning]"),
        ({"data__partition": "iid"}, "'partition' is a key of [learning]"),
        ({"trian__seeds": [1]}, "unknown key 'trian'"),
        (
            {"case": "fedlm"},
            "--case fedlm: no such case; there are fedllm, kd_fedllm, split_fedllm.",
        ),
        ({"case": "fedlm"}, "Did you mean 'fedllm'?"),
        ({"case": None}, "3 cases; a run is of one: give --case NAME (in a program case) with"),
        (
            {"train__framework": "kd_fedllm"},
            "[train] framework = 'kd_fedllm': moved: a case names the framework; write [[case]]",
        ),
        (
            {"train__weights": "warm"},
            "[train] weights = 'warm': moved to [learning]: write weights = 'warm' there",
        ),
        (
            {"train__dropout_probability": 0.3},
            "moved to [fleet]: write dropout_probability = 0.3 there",
        ),
        ({"data__num_clients": 3}, "moved to [fleet]: write num_clients = 3 there"),
        ({"policy__mode": "buffered", "policy__buffer_size": 1}, 'write mode = "synchronous"'),
        ({"policy__quorum": 1}, "[policy] quorum = 1: a run waits for all who do not drop out"),
        ({"policy__deadline": "1 s"}, "[policy] deadline = 1.0: nobody comes late in a run"),
        ({"privacy__secure_aggregation": "secagg"}, "[privacy] secure_aggregation = 'secagg'"),
        (
            {"fleet__availability.kind": "on_off", "fleet__availability.mean_on": "1 h"}
            | {"fleet__availability.mean_off": "1 h"},
            "[fleet] availability.kind = 'on_off': all clients are there in a run",
        ),
        ({"fleet__num_clients": 10_001}, "[fleet] num_clients = 10,001: each client of a run"),
        ({"train__seeds": []}, "[train] seeds = []: at least 1 entry is needed"),
        ({"train__seeds": [3, 3]}, "one is there twice"),
        ({"train__seeds": [-1]}, "allowed: 0 or more"),
        ({"workload__num_rounds": 0}, "[workload] num_rounds = 0: allowed: 1 or more"),
        ({"workload__num_rounds": "3 rounds"}, "a whole number is needed"),
        ({"learning__learning_rate": -1}, "[learning] learning_rate = -1: allowed: above 0"),
        ({"learning__partition": "dirichlet"}, "[learning] dirichlet_alpha is missing"),
        ({"learning__dirichlet_alpha": 0.5}, 'has no effect with partition = "iid"'),
        ({"train__server_optimizer": "fedprox"}, "[train] mu is missing; fedprox needs"),
        ({"train__mu": 0.1}, "[train] mu = 0.1: is of fedprox alone"),
        ({"train__server_optimizer": "fedadam"}, "[train] server_learning_rate is missing"),
        ({"train__server_optimizer": "fedadam", "train__beta1": 1.0}, "allowed: below 1"),
        (
            {
                "case": "kd_fedllm",
                "train__server_optimizer": "fedprox",
                "train__mu": 0.1,
            },
            "KD-FedLLM averages no parameters",
        ),
        ({"learning__weights": "warm"}, "[train] weights_from is missing; name the folder"),
        ({"train__weights_from": "gpt2"}, "random weights come from nowhere"),
        (
            {"learning__weights": "warm", "train__weights_from": "no/such"},
            "[train] weights_from = 'no/such': there is no such folder",
        ),
        ({"train__count_flop": True, "train__attention": "sdpa"}, 'write attention = "eager"'),
        ({"train__tf32": True}, "[train] tf32 = true: TF32 is a format of CUDA devices"),
        ({"fleet__dropout_probability": 1.0}, "allowed for a run: below 1"),
        ({"train__mode": "cohort"}, '[model] dropout = 0.1: mode = "cohort" cannot do this'),
        (
            {"train__mode": "cohort", "workload__padding": "longest"},
            "[workload] padding = 'longest'",
        ),
        ({"train__mode": "cohort", "train__count_flop": True}, "[train] count_flop = true"),
        ({"train__mode": "cohort", "model__compute_dtype": "bfloat16"}, "computes in float32"),
        (
            {
                "train__mode": "cohort",
                "case": "split_fedllm",
                "split__server_variant": "v2",
            },
            "[split] server_variant = 'v2'",
        ),
        ({"model__name": "gtp2"}, "[model] name"),
        ({"model__name": "gtp2"}, "Did you mean 'gpt2'"),
        ({"lora__r": 70000}, "[lora] r = 70000"),
        ({"lora__target_modules": "c_att"}, "[lora] target_modules"),
        ({"split__cut_layer": 3, "case": "split_fedllm"}, "[split] cut_layer = 3"),
        ({"split__server_order": "interleaved"}, 'write server_order = "turns"'),
        ({"workload__max_tokens": 4096}, "128 positions"),
        ({"data__dataset": "bankin77"}, "[data] dataset.name = 'bankin77': allowed:"),
        ({"data__dataset": "e2e"}, 'write model.head = "language_model"'),
    ],
)
def test_a_mistake_is_a_line_that_says_what_to_type(
    keys: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    """No traceback, no folder with results."""
    result = train(training_file(tmp_path), tmp_path / "run", **keys)
    assert result.exit_code == 2, result.output
    assert expected in message(result)
    assert "Traceback" not in result.output
    assert not list((tmp_path / "run").glob("*.json*"))


@needs_published_data
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"model__num_classes": 3, "data__dataset": "clinc150"}, "has 150 labels and the head 3"),
        ({"data__dataset": "banking77", "data__test_samples": 5000}, "'banking77/test' has 3,080"),
        (
            {"data__dataset": "banking77", "workload__samples_per_client": 9000},
            "[workload] samples_per_client = 9000: 2 clients need 18000 rows",
        ),
    ],
)
def test_sizes_that_published_data_do_not_have(
    keys: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    """Are told with the sizes that they have."""
    result = train(training_file(tmp_path), tmp_path / "run", **keys)
    assert result.exit_code == 2, result.output
    assert expected in message(result)


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        ('weights = "random"\n', "[learning] weights is missing; say what training starts from"),
        ("num_clients = 2\n", "[fleet] num_clients is missing"),
        ('[data]\ndataset = "generated"\ntest_samples = 8\n', "[data] is missing; a run reads"),
        ('dataset = "generated"\n', "[data] dataset is missing"),
        ("batch_size = 4\n", "[workload] batch_size is missing"),
        ("public_samples = 5\n", "[workload] public_samples is missing; KD-FedLLM"),
        ("cut_layer = 1\n", "[split] cut_layer is missing"),
    ],
)
def test_a_key_that_is_missing_is_named(removed: str, expected: str, tmp_path: Path) -> None:
    """With what it means."""
    assert removed in TOML
    file = training_file(tmp_path, TOML.replace(removed, ""))
    framework = "split_fedllm" if "cut_layer" in removed else "kd_fedllm"
    result = train(file, tmp_path / "run", case=framework)
    assert result.exit_code == 2, result.output
    assert expected in message(result)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """A line each."""
    with pytest.raises(ScenarioError) as found:
        read(training_file(tmp_path), ["lora.r=0", "train.device=tpu", "data.tokens=1"])
    assert len(str(found.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[model", "not valid TOML"), ("", "[[case]]"), (TOML.replace("[lora]", "[laro]"), "laro")],
)
def test_a_file_that_is_none_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """Broken TOML, nothing, a table of another name."""
    result = train(training_file(tmp_path, text), tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert expected.strip("[]") in message(result)


def test_a_file_that_is_not_there_says_which_scenarios_ship(tmp_path: Path) -> None:
    """A run may be of one of them."""
    result = train(tmp_path / "none.toml", tmp_path / "run")
    assert result.exit_code == 2
    assert "shipped: case_study" in message(result)


def test_the_output_cannot_be_a_file(tmp_path: Path) -> None:
    """It is a folder."""
    (tmp_path / "file").write_text("mine")
    result = train(training_file(tmp_path), tmp_path / "file")
    assert result.exit_code == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_what_a_round_does_not_depend_on_is_not_in_the_hash(tmp_path: Path) -> None:
    """Rounds, seeds, checkpoints and devices may change within a run; a default written out too."""
    file = training_file(tmp_path)
    first = read(file).sha256()
    for same in (
        ["workload.num_rounds=9", "train.seeds=[5]", "train.checkpoint_every=2"],
        ["learning.partition=iid", "workload.lengths=[4]", "device=rpi5-8g", "link.like=3g"],
    ):
        assert read(file, same).sha256() == first
    for other in ("lora.r=4", "fleet.num_clients=3", "train.mu=0.5", "learning.weights=pretrained"):
        more = ["train.server_optimizer=fedprox"] if "mu" in other else []
        assert read(file, [other, *more]).sha256() != first
    assert read(file, (), "kd_fedllm").sha256() != first


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml")))
def test_the_manuals_examples_are_scenarios_and_runs(name: str) -> None:
    """One file is answered, and each of its cases can be run."""
    question = read_scenario(EXAMPLES / name)
    assert question.warnings == []
    documents = read_trainings(str(EXAMPLES / name))
    frameworks = [document.framework.name for document in documents]
    assert frameworks == [entry.case.framework.name for entry in question.entries]
    assert all(document.given == set(STAND_INS) for document in documents)


@needs_published_data
def test_the_case_study_trains_on_the_articles_rows(tmp_path: Path) -> None:
    """5,002 public rows, 1,667 a client, 3,080 test queries; KD-FedLLM alone gets the first."""
    text = (EXAMPLES / "case_study.toml").read_text(encoding="utf-8")
    text = text.replace("\nweights_from =", "\n# weights_from =")
    text = text.replace("../../../scenarios/case_study.toml", "case_study")
    file = training_file(tmp_path, text)
    for case, num_public in (("kd", 5002), ("fedllm", None)):
        document = read(
            file,
            [
                "learning.weights=random",
                "model.name=gpt2-tiny",
                "data.tokenizer=word",
                "train.device=cpu",
                "lora.r=2",
                "split.cut_layer=1",
            ],
            case,
        )
        federation, test = TrainingSetup(document).federation(0)
        assert [rows.num_rows for rows in federation.data.clients.values()] == [1667] * 3
        public = federation.data.public
        assert (None if public is None else public.num_rows) == num_public
        assert test.num_rows == 3080


@needs_published_data
def test_a_public_set_of_another_domain(tmp_path: Path) -> None:
    """KD-FedLLM distils on CLINC150 while clients keep as many rows of their own."""
    document = read(
        training_file(tmp_path),
        ["data.public_dataset=clinc150"],
        "kd_fedllm",
    )
    own = TrainingSetup(document).federation(0)[0].data
    other = read(training_file(tmp_path), (), "kd_fedllm")
    same = TrainingSetup(other).federation(0)[0].data
    assert own.public is not None
    assert same.public is not None
    assert own.public.num_rows == same.public.num_rows == 5
    assert [list(ids) for ids in own.public.token_ids] != [
        list(ids) for ids in same.public.token_ids
    ]


def test_all_frameworks_train_on_the_same_rows(tmp_path: Path) -> None:
    """The public set is set apart whoever uses it."""
    found = []
    for framework in ("fedllm", "kd_fedllm", "split_fedllm"):
        document = read(training_file(tmp_path), (), framework)
        rows = TrainingSetup(document).federation(3)[0].data.clients
        found.append({name: [i.tolist() for i in r.token_ids] for name, r in rows.items()})
    assert found[0] == found[1] == found[2]


def test_one_data_seed_for_all_seeds(tmp_path: Path) -> None:
    """Without it each seed has a partition of its own."""
    file = training_file(tmp_path)

    def rows(seed: int, *overrides: str) -> list[list[int]]:
        federation, _ = TrainingSetup(read(file, overrides)).federation(seed)
        return [ids.tolist() for ids in federation.data.clients["clients/0"].token_ids]

    assert rows(0) != rows(1)
    assert rows(0, "data.seed=5") == rows(1, "data.seed=5")
