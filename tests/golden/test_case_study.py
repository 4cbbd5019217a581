"""The shipped case study gives METHODS' hand-worked numbers to the last byte and FLOP.

GPT-2: L = 12 blocks, d = 768; T = 80 tokens; C = 77 classes; 4 B a value; N = 1667 samples.
"""

from __future__ import annotations

from typing import Any

import pytest

from fedsim.scenario import run_scenario

LAYERS, WIDTH, TOKENS, CLASSES, SAMPLES = 12, 768, 80, 77, 1667
RANKS = (1, 2, 4, 8, 16, 32)
PUBLIC = (500, 1000, 2000, 3000, 4000, 5002)
PRIVATE = (100, 200, 400, 800, 1200, 1667)


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, int]]:
    """Costs of a client and round, by result."""
    results = run_scenario("case_study").results
    return {result["name"]: result["classes"][0]["per_client_round"] for result in results}


def forward_flop(r: int) -> int:
    """``L (24 T d^2 + 4 T^2 d + 8 T d r) + 2 T d C`` of one sample."""
    block = 24 * TOKENS * WIDTH**2 + 4 * TOKENS**2 * WIDTH + 8 * TOKENS * WIDTH * r
    return LAYERS * block + 2 * TOKENS * WIDTH * CLASSES


def training_flop(r: int) -> int:
    """``L (48 T d^2 + 12 T^2 d + 24 T d r) - 6 T d^2 - 2 T d r + 6 T d C`` of one sample."""
    blocks = LAYERS * (48 * TOKENS * WIDTH**2 + 12 * TOKENS**2 * WIDTH + 24 * TOKENS * WIDTH * r)
    saved = 6 * TOKENS * WIDTH**2 + 2 * TOKENS * WIDTH * r
    return blocks - saved + 6 * TOKENS * WIDTH * CLASSES


def test_there_are_18_results(costs: dict[str, dict[str, int]]) -> None:
    """Six ranks, six public sets and six training sets."""
    assert len(costs) == 18


@pytest.mark.parametrize("r", RANKS)
def test_fedllm_sends_its_adapters_and_head(costs: dict[str, dict[str, int]], r: int) -> None:
    """4 B x (36,864 r + 59,136): A is r x 768 and B is 2304 x r in 12 blocks; the head 77 x 768."""
    cost = costs[f"fedllm r={r}"]

    expected = 4 * (LAYERS * r * (WIDTH + 3 * WIDTH) + CLASSES * WIDTH)
    assert cost["uplink_payload_bytes"] == expected == 4 * (36_864 * r + 59_136)
    assert cost["downlink_payload_bytes"] == expected


def test_fedllm_of_rank_8_sends_1_416_192_bytes_each_way(
    costs: dict[str, dict[str, int]],
) -> None:
    """4 x (294,912 + 59,136) = 4 x 354,048 = 1,416,192."""
    assert costs["fedllm r=8"]["uplink_payload_bytes"] == 1_416_192
    assert costs["fedllm r=8"]["downlink_payload_bytes"] == 1_416_192


@pytest.mark.parametrize("r", RANKS)
def test_fedllm_trains_every_sample_once(costs: dict[str, dict[str, int]], r: int) -> None:
    """N x F_train."""
    assert costs[f"fedllm r={r}"]["client_flop"] == SAMPLES * training_flop(r)


def test_fedllm_of_rank_8_computes_46_297_129_574_400_flop(
    costs: dict[str, dict[str, int]],
) -> None:
    """1667 x 27,772,723,200 FLOP a sample."""
    assert training_flop(8) == 27_772_723_200
    assert costs["fedllm r=8"]["client_flop"] == 46_297_129_574_400


@pytest.mark.parametrize("public", PUBLIC)
def test_kd_sends_77_values_a_public_sample(costs: dict[str, dict[str, int]], public: int) -> None:
    """PD x 77 x 4 B = 308 PD each way; 5002 give 1,540,616 B."""
    cost = costs[f"kd public_samples={public}"]

    assert cost["uplink_payload_bytes"] == cost["downlink_payload_bytes"] == 308 * public


@pytest.mark.parametrize("public", PUBLIC)
def test_kd_computes_training_logits_and_distillation(
    costs: dict[str, dict[str, int]], public: int
) -> None:
    """b1 trains N samples, b2 runs PD forward, b8 trains on PD."""
    expected = SAMPLES * training_flop(8) + public * (forward_flop(8) + training_flop(8))

    assert costs[f"kd public_samples={public}"]["client_flop"] == expected


def test_kd_with_the_whole_public_set(costs: dict[str, dict[str, int]]) -> None:
    """46.297 TFLOP (b1) + 69.436 (b2) + 138.92 (b8) = 254.65."""
    cost = costs["kd public_samples=5002"]

    assert cost["uplink_payload_bytes"] == 1_540_616
    assert cost["client_flop"] == 254_654_666_465_280


@pytest.mark.parametrize("samples", PRIVATE)
def test_split_sends_every_activation_and_its_gradient(
    costs: dict[str, dict[str, int]], samples: int
) -> None:
    """N x 80 x 768 x 4 B each way, labels and last_index of 1 B each up, and 4 blocks' adapters.

    1667 samples: 409,681,920 B of activations; adapters 4 B x 4 x 8 x (768 + 2304) = 393,216 B.
    """
    cost = costs[f"split samples_per_client={samples}"]
    activations, adapters = samples * TOKENS * WIDTH * 4, 4 * 4 * 8 * (WIDTH + 3 * WIDTH)

    assert cost["uplink_payload_bytes"] == activations + 2 * samples + adapters
    assert cost["downlink_payload_bytes"] == activations + adapters
    assert (1667 * TOKENS * WIDTH * 4, adapters) == (409_681_920, 393_216)


def test_a_split_client_runs_four_blocks(costs: dict[str, dict[str, int]]) -> None:
    """``1667 x (4 (48 T d^2 + 12 T^2 d + 24 T d r) - 6 T d^2 - 2 T d r)``."""
    assert costs["split samples_per_client=1667"]["client_flop"] == 15_100_875_571_200


def test_split_halves_make_the_whole(costs: dict[str, dict[str, int]]) -> None:
    """Client and server FLOP together are FedLLM's: nothing is computed twice or left out."""
    split = costs["split samples_per_client=1667"]

    assert split["client_flop"] + split["server_flop"] == 46_297_129_574_400


def test_totals_are_rounds_times_clients() -> None:
    """100 rounds and 3 clients; the one-off set-up comes on top of what goes down."""
    result: dict[str, Any] = run_scenario("case_study").results[3]
    cost, totals = result["classes"][0]["per_client_round"], result["totals"]
    setup = result["setup"]

    assert totals["client_flop"] == 300 * cost["client_flop"]
    assert totals["uplink_payload_bytes"] == 300 * cost["uplink_payload_bytes"]
    assert totals["downlink_payload_bytes"] == (
        300 * cost["downlink_payload_bytes"] + setup["downlink_payload_bytes"]
    )
