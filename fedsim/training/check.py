"""What the keys of a training file must say together; each key's own range is declared with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedsim.protocol import Framework
from fedsim.scenario.build.check import missing_needs
from fedsim.scenario.file.mistake import Mistake, shown
from fedsim.scenario.file.work_tables import BUDGETS
from fedsim.training.tables import TrainingFile

__all__ = ["training_mistakes"]

_FED_ADAM: Final = ("server_learning_rate", "beta1", "beta2", "tau")
_OPTIMIZER_OF: Final = {"mu": "fedprox", **dict.fromkeys(_FED_ADAM, "fedadam")}
#: Keys of ``[learning]`` that ask a scenario something.
_OF_SCENARIOS: Final = (
    *("curves", "weights", "transfer", "extrapolate", "target_accuracy"),
    *BUDGETS,
)
#: A step of it still is a 32-bit number. What diverges below it is told apart by diverging.
_MAX_RATE: Final = 1e30
_LANGUAGE_DATA: Final = ("e2e", "wikitext2")
#: Keys of ``[workload]`` that describe texts which a real run reads itself.
_UNREAD: Final = {
    "dataset": "the data set is named in [data] dataset",
    "lengths": "real texts have lengths of their own",
    "available_samples": "the data set's own size counts",
    "samples_p95": "all clients of a real run have equally many samples",
    "samples_alpha": "all clients of a real run have equally many samples",
}


def training_mistakes(file: TrainingFile, framework: Framework) -> Iterator[Mistake]:
    """Mistakes that no key makes alone."""
    yield from _model(file)
    yield from missing_needs(framework, file)
    yield from _work(file)
    yield from _learning(file)
    yield from _weights(file)
    yield from _server_optimizer(file, framework)
    yield from _cohort(file, framework)
    train = file.train
    if train.count_flop and train.attention == "sdpa":
        text = 'torch does not count fused kernels; write attention = "eager".'
        yield Mistake("[train] count_flop", "true", text)
    if train.tf32 and train.device == "cpu":
        text = 'TF32 is a format of CUDA devices; leave it out, or write device = "cuda".'
        yield Mistake("[train] tf32", "true", text)
    if len(set(train.seeds)) < len(train.seeds):
        yield Mistake("[train] seeds", shown(list(train.seeds)), "one is there twice.")


def _cohort(file: TrainingFile, framework: Framework) -> Iterator[Mistake]:
    """What a pass for many clients cannot do."""
    if file.train.mode != "cohort":
        return
    model, lora = file.model, file.lora
    wrong = (
        (model.tuning != "lora", "[model] tuning", repr(model.tuning), 'write tuning = "lora"'),
        (model.dropout > 0, "[model] dropout", f"{model.dropout:g}", "write dropout = 0.0"),
        (
            model.gradient_checkpointing,
            "[model] gradient_checkpointing",
            "true",
            "leave it out",
        ),
        (
            lora is not None and lora.bias != "none",
            "[lora] bias",
            "" if lora is None else repr(lora.bias),
            'write bias = "none"',
        ),
        (
            file.workload.padding != "none",
            "[workload] padding",
            repr(file.workload.padding),
            'a pass holds real tokens alone, which is the same function; write padding = "none"',
        ),
        (
            framework.may_read("split") and file.split.server_variant == "v2",
            "[split] server_variant",
            "'v2'",
            'clients take turns at one server-side model; write server_variant = "v1"',
        ),
        (file.train.count_flop, "[train] count_flop", "true", "leave it out"),
    )
    for is_wrong, where, found, cure in wrong:
        if is_wrong:
            text = f'mode = "cohort" cannot do this: {cure}, or mode = "sequential".'
            yield Mistake(where, found, text)
    for name in ("weights_dtype", "compute_dtype"):
        if getattr(model, name) != "float32":
            text = 'mode = "cohort" computes in float32: leave it out, or mode = "sequential".'
            yield Mistake(f"[model] {name}", repr(getattr(model, name)), text)


def _model(file: TrainingFile) -> Iterator[Mistake]:
    model = file.model
    if model.tuning == "lora" and file.lora is None:
        text = 'is missing; add the table with r and target_modules, or set model.tuning = "full".'
        yield Mistake("[lora]", "", text)
    if model.head == "classification" and file.data.dataset in _LANGUAGE_DATA:
        text = 'has no labels; write model.head = "language_model", or another data set.'
        yield Mistake("[data] dataset", repr(file.data.dataset), text)


def _work(file: TrainingFile) -> Iterator[Mistake]:
    workload = file.workload
    for name, reason in _UNREAD.items():
        if name in workload.model_fields_set and getattr(workload, name) is not None:
            yield Mistake(f"[workload] {name}", "", f"is of no use here: {reason}; leave it out.")
    if file.data.public_dataset is not None and workload.public_samples is None:
        text = "is missing; say how many texts of [data] public_dataset are public."
        yield Mistake("[workload] public_samples", "", text)
    if file.split.server_order != "turns":
        text = 'a real run lets clients take turns; write server_order = "turns".'
        yield Mistake("[split] server_order", repr(file.split.server_order), text)


def _learning(file: TrainingFile) -> Iterator[Mistake]:
    learning = file.learning
    if not learning.learning_rate <= _MAX_RATE:
        text = f"nothing learns by it; allowed: above 0, at most {_MAX_RATE:g}."
        yield Mistake("[learning] learning_rate", f"{learning.learning_rate:g}", text)
    for name in _OF_SCENARIOS:
        if getattr(learning, name) not in (None, False):
            text = "is a question to a scenario; a real run measures curves: leave it out."
            yield Mistake(f"[learning] {name}", "", text)
    if learning.partition == "dirichlet":
        if learning.dirichlet_alpha is None:
            text = "is missing; a Dirichlet partition needs its concentration."
            yield Mistake("[learning] dirichlet_alpha", "", text)
        if file.data.dataset in _LANGUAGE_DATA:
            text = f"'{file.data.dataset}' has no labels to prefer; write partition = \"iid\"."
            yield Mistake("[learning] partition", repr(learning.partition), text)
    elif learning.dirichlet_alpha is not None:
        text = 'has no effect with partition = "iid"; write "dirichlet", or leave it out.'
        yield Mistake("[learning] dirichlet_alpha", f"{learning.dirichlet_alpha:g}", text)


def _weights(file: TrainingFile) -> Iterator[Mistake]:
    train = file.train
    if train.weights == "random" and train.weights_from is not None:
        text = 'random weights come from nowhere; write weights = "warm" or "pretrained".'
        yield Mistake("[train] weights_from", repr(train.weights_from), text)
    if train.weights == "warm" and train.weights_from is None:
        text = "is missing; name the folder with config.json and model.safetensors."
        yield Mistake("[train] weights_from", "", text)
    if train.weights == "random" and file.data.tokenizer == "pretrained":
        text = 'random weights have no tokenizer; write tokenizer = "word" or "gpt2".'
        yield Mistake("[data] tokenizer", "'pretrained'", text)


def _server_optimizer(file: TrainingFile, framework: Framework) -> Iterator[Mistake]:
    train = file.train
    for name, owner in _OPTIMIZER_OF.items():
        value = getattr(train, name)
        if value is not None and train.server_optimizer != owner:
            text = f'is of {owner} alone; write server_optimizer = "{owner}", or leave it out.'
            yield Mistake(f"[train] {name}", f"{value:g}", text)
    if train.server_optimizer == "fedprox" and train.mu is None:
        yield Mistake("[train] mu", "", "is missing; fedprox needs its strength: mu = 0.01, say.")
    if train.server_optimizer == "fedadam" and train.server_learning_rate is None:
        text = "is missing; fedadam needs the server's step: server_learning_rate = 0.01, say."
        yield Mistake("[train] server_learning_rate", "", text)
    if not framework.averages_parameters and train.server_optimizer != "fedavg":
        text = (
            f"{framework.title} averages no parameters; leave it out, or write "
            'framework = "fedllm" or "split_fedllm".'
        )
        yield Mistake("[train] server_optimizer", repr(train.server_optimizer), text)
