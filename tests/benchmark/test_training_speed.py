"""How fast real training is, against plain loops over the same work, in one run. Asserts no time.

Run it with ``make bench``. Eight clients of the case study (16 texts of Banking77's lengths a
batch, LoRA of rank 8) take some mini-batches each, four ways:

- *padded*: transformers and peft as everybody writes them, a client at a time, 80 tokens a text;
- *packed*: the same loop with the texts of a batch in one row, without any padding;
- *cohort of one*: our packed pass, a client at a time;
- *cohort*: our packed pass for all eight.

All four end with the same parameters, which the benchmark does assert.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.protocol import FRAMEWORKS
from fedsim.runtime.build_model import build_model
from fedsim.runtime.cohort import CohortClient, CohortNetwork, CohortTrainer
from fedsim.runtime.cohort.adapted_linear import ClientRows
from fedsim.runtime.cohort.network import Stream
from fedsim.runtime.cohort.objective import target_rows, training_losses
from fedsim.runtime.cohort.packing import pack
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.federation import FederationData, build_federation
from fedsim.runtime.meter import synchronize
from fedsim.runtime.options import RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.text_batch import TextBatch, TextSource
from fedsim.runtime.training import round_runner
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, TrainingSpec
from fedsim.spec.tuning import LoraTuning

#: ``FEDSIM_BENCH_DEVICE=cuda make bench`` measures a GPU.
DEVICE = torch.device(os.environ.get("FEDSIM_BENCH_DEVICE", "cpu"))
NUM_CLIENTS, BATCH, MAX_TOKENS, PAD = 8, 16, 80, 0
OPTIONS = RunOptions(learning_rate=1e-3)
REPEATS = 5


def training(name: str) -> TrainingSpec:
    """The case study's, without dropout, so that four ways can end equal."""
    tuning = LoraTuning(r=8, alpha=32.0, target_modules=("attn.c_attn",))
    return TrainingSpec(model(name), HeadSpec("classification", 77), tuning)


def rows(spec: TrainingSpec, num_rows: int, seed: int) -> EncodedDataset:
    """Random tokens in texts of Banking77's lengths."""
    place = files("fedsim.spec").joinpath("data", "banking77_gpt2_lengths.json")
    histogram = json.loads(place.read_text(encoding="utf-8"))["histogram"]
    rng = np.random.default_rng(seed)
    counts = np.array([float(count) for count in histogram.values()])
    drawn = rng.choice([int(n) for n in histogram], num_rows, p=counts / counts.sum())
    vocab = spec.model.vocab_size
    texts = tuple(rng.integers(1, vocab, min(MAX_TOKENS, int(length))) for length in drawn)
    return EncodedDataset(texts, rng.integers(0, 77, num_rows), vocab, 77, MAX_TOKENS)


class Work:
    """Everybody's mini-batches, and the model that all begin with."""

    def __init__(self, name: str, num_steps: int) -> None:
        self.spec = training(name)
        self.base = build_model(
            self.spec, weights="random", pad_token_id=PAD, seed=0, device=DEVICE, attention="sdpa"
        )
        texts = [rows(self.spec, BATCH * num_steps, seed) for seed in range(NUM_CLIENTS)]
        self.num_samples = BATCH * num_steps * NUM_CLIENTS
        places = [range(step * BATCH, (step + 1) * BATCH) for step in range(num_steps)]
        self.padded = [_batches(own, places, "max_tokens") for own in texts]
        self.unpadded = [_batches(own, places, "none") for own in texts]

    def cohort(self, num_clients: int) -> CohortTrainer:
        clients = [
            CohortClient(f"client-{slot}", _lora(self.spec), OPTIONS) for slot in range(num_clients)
        ]
        return CohortTrainer(CohortNetwork(self.base), clients)


def _batches(texts: EncodedDataset, places: list[range], padding: Any) -> list[TextBatch]:
    return [TextSource(texts, padding, PAD).batch(own, DEVICE) for own in places]


def _lora(spec: TrainingSpec) -> LoraTuning:
    assert spec.lora is not None
    return spec.lora


# --- four ways -----------------------------------------------------------------------------------


def padded_loop(work: Work) -> list[dict[str, Tensor]]:
    """transformers' forward with its own loss, a client at a time."""

    def loss(module: Any, batch: TextBatch) -> Tensor:
        positions = torch.arange(batch.token_ids.shape[1], device=DEVICE)
        mask = (positions <= batch.last_index[:, None]).long()
        result: Tensor = module(
            input_ids=batch.token_ids, attention_mask=mask, labels=batch.labels
        ).loss
        return result

    return _loop(work, work.padded, loss)


def packed_loop(work: Work) -> list[dict[str, Tensor]]:
    """The same loop with a batch's texts in one row: own positions, and a mask between texts."""

    def loss(module: Any, batch: TextBatch) -> Tensor:
        lengths = batch.last_index + 1
        places = torch.arange(batch.token_ids.shape[1], device=DEVICE)
        ids = batch.token_ids[places <= batch.last_index[:, None]]
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=DEVICE), lengths)
        positions = torch.arange(len(ids), device=DEVICE) - torch.repeat_interleave(
            torch.cumsum(lengths, 0) - lengths, lengths
        )
        allowed = (owner[:, None] == owner[None, :]).tril()
        mask = torch.zeros(allowed.shape, device=DEVICE)
        mask.masked_fill_(~allowed, torch.finfo(torch.float32).min)
        network = module.base_model.model
        hidden = network.transformer(
            input_ids=ids[None], position_ids=positions[None], attention_mask=mask[None, None]
        ).last_hidden_state[0]
        logits = network.score(hidden[torch.cumsum(lengths, 0) - 1])
        return functional.cross_entropy(logits, batch.labels)

    return _loop(work, work.unpadded, loss)


def _loop(
    work: Work, batches: list[list[TextBatch]], loss: Callable[[Any, TextBatch], Tensor]
) -> list[dict[str, Tensor]]:
    ends = []
    for own in batches:
        clone: StagedModel = work.base.clone()
        clone.train()
        parameters = [p for p in clone.module.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=OPTIONS.learning_rate)
        for batch in own:
            torch.autograd.backward(loss(clone.module, batch))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ends.append({n: p.detach() for n, p in _trained(clone).items()})
    return ends


def _trained(one: StagedModel) -> dict[str, Tensor]:
    from fedsim.protocol.operation import Part

    return dict(one.trained(Part.whole(one.training.model.num_layers)))


def cohorts_of_one(work: Work) -> list[dict[str, Tensor]]:
    """Our packed pass without anybody beside."""
    ends = []
    network = CohortNetwork(work.base)
    for own in work.unpadded:
        alone = CohortTrainer(network, [CohortClient("client", _lora(work.spec), OPTIONS)])
        for batch in own:
            alone.train([batch], is_update=True)
        ends.append(alone.adapters(0, with_head=True))
    return ends


def cohort(work: Work) -> list[dict[str, Tensor]]:
    """Our packed pass for all."""
    together = work.cohort(NUM_CLIENTS)
    for batches in zip(*work.unpadded, strict=True):
        together.train(batches, is_update=True)
    return [together.adapters(slot, with_head=True) for slot in range(NUM_CLIENTS)]


WAYS = {
    "padded": padded_loop,
    "packed": packed_loop,
    "cohort of one": cohorts_of_one,
    "cohort": cohort,
}


@pytest.mark.parametrize(("name", "num_steps"), [("gpt2-mini", 6), ("gpt2", 1)])
def test_training_against_plain_loops(name: str, num_steps: int) -> None:
    """Samples a second of all four ways, whose ends are equal."""
    work = Work(name, num_steps)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    ends: dict[str, list[dict[str, Tensor]]] = {}
    for repeat in range(REPEATS + 1):
        for way, run in WAYS.items():
            start = time.perf_counter()
            ends[way] = run(work)
            synchronize(DEVICE)
            if repeat:  # the first is a warm-up
                seconds[way].append(time.perf_counter() - start)
    for way, found in ends.items():
        gap = max(
            float((own[key] - other[key]).abs().mean())
            for own, other in zip(found, ends["padded"], strict=True)
            for key in own
        )
        # Adam's first steps are 1e-3 each, whatever a gradient's size; the mean is far below.
        assert gap <= 2e-5, (way, gap)
    print(f"\n{name}, {NUM_CLIENTS} clients, {num_steps} batches of {BATCH}; {_threads()}")
    print("| way | samples/s, median | spread | against padded | against packed |")
    print("|---|---|---|---|---|")
    medians = {way: statistics.median(own) for way, own in seconds.items()}
    for way, own in seconds.items():
        print(
            f"| {way} | {work.num_samples / medians[way]:.1f} "
            f"| {(max(own) - min(own)) / medians[way]:.0%} "
            f"| {medians['padded'] / medians[way]:.2f} | {medians['packed'] / medians[way]:.2f} |"
        )
    rate, product = _model_flop(work) / medians["cohort"], _product_flop_per_s()
    print(
        f"model FLOP of the cohort {rate / 1e9:,.0f} GFLOP/s; a product of large float32 matrices "
        f"{product / 1e9:,.0f} GFLOP/s: {rate / product:.0%}"
    )


def _model_flop(work: Work) -> float:
    """Matrix FLOP of the work by the closed form of an adapted GPT-2 (docs/cost_model.md)."""
    spec, head = work.spec.model, work.spec.head.num_classes
    width, rank, total = spec.hidden_size, _lora(work.spec).r, 0.0
    for own in work.unpadded:
        for batch in own:
            for length in (batch.last_index + 1).tolist():
                block = 48 * length * width**2 + 12 * length**2 * width + 24 * length * width * rank
                saved = 6 * length * width**2 + 2 * length * width * rank
                total += spec.num_layers * block - saved + 6 * length * width * head
    return total


def _product_flop_per_s() -> float:
    one, other = (torch.randn(4096, 4096, device=DEVICE) for _ in range(2))
    seconds = []
    for _ in range(5):
        synchronize(DEVICE)
        start = time.perf_counter()
        one @ other
        synchronize(DEVICE)
        seconds.append(time.perf_counter() - start)
    return 2 * 4096**3 / statistics.median(seconds)


@pytest.mark.parametrize(("name", "num_steps"), [("gpt2-mini", 36), ("gpt2", 1)])
def test_overhead_over_bare_passes(name: str, num_steps: int) -> None:
    """A whole round of FedLLM against forward and backward of the same packed batches alone."""
    spec = training(name)
    data = {f"client-{seed}": rows(spec, BATCH * num_steps, seed) for seed in range(NUM_CLIENTS)}
    federation = build_federation(
        FRAMEWORKS["fedllm"],
        {
            cid: ClientPlan(spec, train_epochs=(own.text("none"),), batch_size=BATCH)
            for cid, own in data.items()
        },
        FederationData(data, None, PAD),
        options=OPTIONS,
        weights="random",
        device=DEVICE,
    )
    runner = round_runner("cohort", federation)
    runner.run_setup()
    bare_trainer = _bare_trainer(federation)
    whole, bare = [], []
    for round_index in range(1, REPEATS + 2):
        packed = _packed_batches(federation, round_index)
        start = time.perf_counter()
        runner.run_round(round_index)
        synchronize(DEVICE)
        middle = time.perf_counter()
        _bare_passes(bare_trainer, packed)
        synchronize(DEVICE)
        whole.append(middle - start)
        bare.append(time.perf_counter() - middle)
    ratios = [one / other for one, other in zip(whole[1:], bare[1:], strict=True)]
    print(
        f"\n{name}: a round takes {statistics.median(whole[1:]):.2f} s, bare passes over the same"
    )
    print(
        f"batches {statistics.median(bare[1:]):.2f} s; ratio {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}); {_threads()}"
    )


def _packed_batches(federation: Any, round_index: int) -> list[Any]:
    """The round's batches as the cohort packs them, ahead of the clock."""
    own = {}
    for client_id, client in federation.clients.items():
        order = [row for epoch in federation._orders(client_id, round_index) for row in epoch]
        own[client_id] = [
            client.private.batch(order[start : start + BATCH], DEVICE)
            for start in range(0, len(order), BATCH)
        ]
    return [pack(list(enumerate(batches))) for batches in zip(*own.values(), strict=True)]


def _bare_trainer(federation: Any) -> CohortTrainer:
    base = federation.server.trainer.model
    clients = [CohortClient(cid, _lora(base.training), OPTIONS) for cid in federation.clients]
    return CohortTrainer(CohortNetwork(base), clients)


def _bare_passes(trainer: CohortTrainer, packed: list[Any]) -> None:
    network, bank = trainer.network, trainer.bank
    for batch in packed:
        rows = ClientRows(batch.tokens, bank.ranks, bank.scalings)
        stream = network.run(Stream(network.embed(batch), batch, rows, None), bank)
        targets = target_rows(batch, stream.is_pooled, is_training_loss=True)
        losses = training_losses(network.logits(stream, bank, targets.wanted), targets)
        torch.autograd.backward(losses.sum())


def _threads() -> str:
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    return f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}"
