"""A round's seconds by hand: who is waited for, and what is only a bound."""

import math
from dataclasses import replace

import pytest

from fedsim import des, scale
from fedsim.analytic import evaluate
from fedsim.cost.duration import operation_seconds, transfer_seconds
from fedsim.errors import ScenarioError
from fedsim.fleet import prepare
from fedsim.protocol import fedllm, kd_fedllm, split_fedllm
from fedsim.protocol.operation import Aggregate, Content, Part
from fedsim.protocol.payload import adapter_payload
from fedsim.protocol.step import Direction
from fedsim.spec.batch import TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec
from fedsim.spec.link import LinkSpec
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import LoraTuning

SLOW = DeviceSpec("slow", {"linear_flop": 1e-9}, relative_sigma=0.1, power_w=10.0)
FAST = DeviceSpec("fast", {"linear_flop": 1e-10}, relative_sigma=0.2)
LINK = LinkSpec(
    "plain", 1e5, 2e5, 0.0, handshake_round_trips=0, initial_window_bytes=0, payload_fraction=1.0
)
TRAINING = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=4), LoraTuning(r=2))
PLAN = ClientPlan(TRAINING, (TextLengths(8, 16),), TextLengths(4, 16), batch_size=4, cut=Cut(1))


def federation(*classes: ClientClass, server: ServerSpec | None = None) -> FederationSpec:
    """A federation of some classes behind a fast server."""
    chosen = classes or (ClientClass("all", 2, PLAN, SLOW, LINK),)
    return FederationSpec(chosen, server or ServerSpec(FAST), chosen[0].plan, 5)


def test_a_round_is_down_compute_up_and_aggregation() -> None:
    """FedLLM's round is a1 + a2 + a3 + a4, each worked out by hand."""
    found = evaluate(federation(), fedllm)
    whole = Part.whole(3)
    message = adapter_payload(TRAINING, whole).message_bytes
    transfer = message / 1e5 + message / 2e5
    linear = found.classes[0].seconds.client_compute
    aggregation = operation_seconds(Aggregate(Content.ADAPTERS, whole), TRAINING, FAST, 2)
    assert found.round_time.transfer_s == pytest.approx(transfer, rel=1e-12)
    assert found.round_time.mean_s == pytest.approx(transfer + linear + aggregation, rel=1e-12)
    assert found.round_time.is_exact
    assert found.classes[0].energy_j == pytest.approx(10.0 * linear)


def test_the_slowest_class_sets_the_pace() -> None:
    """A synchronous round with a fast and a slow class takes as long as the slow one."""
    slow = ClientClass("slow", 1, PLAN, SLOW, LINK)
    fast = ClientClass("fast", 50, PLAN, FAST, LINK)
    alone = evaluate(federation(slow), fedllm).round_time.mean_s
    together = evaluate(federation(slow, fast), fedllm).round_time.mean_s
    assert together == pytest.approx(alone, rel=1e-9)


def test_the_interval_is_that_of_the_computing_alone() -> None:
    """Bounds scale computing by exp(+-1.96 sigma) and leave transfers as they are."""
    found = evaluate(federation(), fedllm).round_time
    client = found.compute_s
    high = found.transfer_s + client * math.exp(1.959963984540054 * 0.1)
    assert found.high_s == pytest.approx(high, rel=1e-9)
    assert found.low_s < found.mean_s < found.high_s


def test_a_shared_server_link_makes_time_a_lower_bound() -> None:
    """Clients whose rates add up to more than the server's wait at least for all their bytes."""
    many = ClientClass("many", 1000, PLAN, FAST, LINK)
    free = evaluate(federation(many), fedllm).round_time
    narrow = ServerSpec(FAST, uplink_bytes_per_s=1e5, downlink_bytes_per_s=1e9)
    shared = evaluate(federation(many, server=narrow), fedllm).round_time
    message = adapter_payload(TRAINING, Part.whole(3)).message_bytes
    assert free.is_exact
    assert not shared.is_exact
    assert "uplink" in shared.why
    assert shared.mean_s >= 1000 * message / 1e5


def test_copies_at_the_server_make_time_a_lower_bound() -> None:
    """In Split V1 clients queue for the accelerator, unless there is one for each."""
    two = ClientClass("two", 2, PLAN, SLOW, LINK)
    assert not evaluate(federation(two), split_fedllm).round_time.is_exact
    enough = ServerSpec(FAST, num_accelerators=2)
    assert evaluate(federation(two, server=enough), split_fedllm).round_time.is_exact


def test_one_shared_server_side_model_takes_turns() -> None:
    """In Split V2 a round of three clients takes three times the turn of one, and is exact."""
    plan = replace(PLAN, server_variant="v2")
    times = {
        n: evaluate(federation(ClientClass("c", n, plan, SLOW, LINK)), split_fedllm) for n in (1, 3)
    }
    each = times[1].classes[0]
    adapters = adapter_payload(TRAINING, Part.below(2)).message_bytes
    turn = each.seconds.total - transfer_seconds(adapters, Direction.DOWN, LINK)
    grown = times[3].round_time.mean_s - times[1].round_time.mean_s
    assert times[3].round_time.is_exact
    # cc3 and cc4 come after the turns, for all at once.
    assert grown == pytest.approx(2 * turn, rel=1e-6)


def test_halving_the_uplink_rate_never_shortens_a_round() -> None:
    """Every framework is at least as slow on a slower uplink."""
    slower = replace(LINK, uplink_bytes_per_s=LINK.uplink_bytes_per_s / 2)
    for framework in (fedllm, kd_fedllm, split_fedllm):
        one = evaluate(federation(ClientClass("c", 2, PLAN, SLOW, LINK)), framework)
        two = evaluate(federation(ClientClass("c", 2, PLAN, SLOW, slower)), framework)
        assert two.round_time.mean_s > one.round_time.mean_s
        assert two.total.uplink_message_bytes == one.total.uplink_message_bytes


def test_a_client_or_server_without_the_memory_is_infeasible() -> None:
    """What does not fit is reported for the client and for the server, with both figures."""
    small = replace(SLOW, memory_bytes=1000)
    found = evaluate(federation(ClientClass("c", 2, PLAN, small, LINK)), fedllm)
    assert found.infeasible is not None
    assert "'slow' has 1,000 B" in found.infeasible
    server = ServerSpec(replace(FAST, memory_bytes=1000))
    found = evaluate(federation(server=server), split_fedllm)
    assert found.infeasible is not None
    assert "the server needs" in found.infeasible


def test_totals_are_rounds_times_clients_and_one_set_up() -> None:
    """All counts of a training are those of a client's round, times rounds and clients."""
    found = evaluate(federation(), kd_fedllm)
    cost = found.classes[0]
    assert found.total.client_flop == 5 * 2 * cost.round.client_flop
    assert found.total.server_flop == 5 * found.server_round.server_flop
    downlink = 5 * 2 * cost.round.downlink_payload_bytes + 2 * cost.setup.downlink_payload_bytes
    assert found.total.downlink_payload_bytes == downlink


def test_clients_that_train_nothing_are_not_mixed_with_others() -> None:
    """Rounds of different structure have no common waiting point: refused, with the cure."""
    top = replace(TRAINING, tuning=LoraTuning(r=2, num_top_layers=1))
    frozen = ClientClass("frozen", 1, replace(PLAN, training=top), SLOW, LINK)
    normal = ClientClass("normal", 1, PLAN, SLOW, LINK)
    with pytest.raises(ScenarioError, match="cannot be mixed"):
        evaluate(federation(normal, frozen), split_fedllm)


def test_a_device_measured_in_another_format_is_refused() -> None:
    """Seconds measured in fp32 do not price bf16 training."""
    half = replace(TRAINING, numerics=Numerics(compute_dtype="bfloat16"))
    known = replace(SLOW, precision="float32")
    with pytest.raises(ScenarioError, match=r"asked to compute in .* hold for float32 alone"):
        ClientClass("c", 1, replace(PLAN, training=half), known, LINK)


def test_a_flow_is_no_faster_than_the_servers_own_link() -> None:
    """One client behind a slower server link sends at the server's rate, and that is exact."""
    one = ClientClass("one", 1, PLAN, FAST, LINK)
    narrow = ServerSpec(FAST, uplink_bytes_per_s=LINK.uplink_bytes_per_s / 4)
    free = evaluate(federation(one), fedllm).round_time
    slow = evaluate(federation(one, server=narrow), fedllm).round_time
    message = adapter_payload(TRAINING, Part.whole(3)).message_bytes
    assert slow.is_exact
    assert slow.transfer_s - free.transfer_s == pytest.approx(3 * message / 1e5, rel=1e-9)


def test_a_server_device_of_another_format_is_refused() -> None:
    """The server's coefficients must hold for the format that it computes in, too."""
    server = ServerSpec(replace(FAST, precision="bfloat16"))
    with pytest.raises(ScenarioError, match="server: is asked to compute in float32"):
        federation(server=server)


def test_logits_of_the_public_set_count_as_memory() -> None:
    """A language model's KD client holds its own and the teacher's logits of all public tokens."""
    language = replace(TRAINING, head=HeadSpec("language_model"))
    few = replace(PLAN, training=language, cut=None)
    many = replace(few, public_text=TextLengths(400, 16))
    one, other = (
        evaluate(federation(ClientClass("c", 2, plan, SLOW, LINK)), kd_fedllm)
        for plan in (few, many)
    )
    grown = other.classes[0].peak_memory_bytes - one.classes[0].peak_memory_bytes
    assert grown == 2 * (400 - 4) * 16 * TRAINING.model.vocab_size * 4
    assert other.server_memory_bytes > one.server_memory_bytes + 2 * grown // 2


def unequal_ranks() -> FederationSpec:
    """Two clients of rank 2 and one of rank 32, and a base table of rank 8 that nobody has."""
    ranked = {
        rank: replace(PLAN, training=replace(TRAINING, tuning=LoraTuning(r=rank)), cut=None)
        for rank in (2, 8, 32)
    }
    server = replace(FAST, seconds_per_unit={"parameter_bytes": 1e-9, "linear_flop": 1e-12})
    return FederationSpec(
        (
            ClientClass("many", 1, ranked[32], SLOW, LINK),
            ClientClass("weak", 2, ranked[2], SLOW, LINK),
        ),
        ServerSpec(server),
        ranked[8],
    )


def test_a_server_holds_what_was_sent_and_not_three_times_what_nobody_sends() -> None:
    """Received: 2 x rank 2 + rank 32; old and new averages of the widest; one tensor in 64 bits."""
    found = evaluate(unequal_ranks(), fedllm)
    sizes, largest = {}, 0
    for each in found.classes:
        payload = adapter_payload(each.client_class.plan.training, Part.whole(3))
        sizes[each.client_class.name] = payload.payload_bytes
        largest = max(largest, *(math.prod(tensor.shape) for tensor in payload.tensors))
    received = 2 * sizes["weak"] + sizes["many"]
    assert found.server_memory_bytes == received + 2 * sizes["many"] + 24 * largest


def test_an_average_takes_what_was_sent() -> None:
    """52 B of traffic a value and contribution, each client with the values of its own rank."""
    federation = unequal_ranks()
    values = {
        c.name: sum(
            math.prod(tensor.shape)
            for tensor in adapter_payload(c.plan.training, Part.whole(3)).tensors
        )
        for c in federation.classes
    }
    expected_s = 1e-9 * 52 * (2 * values["weak"] + values["many"])
    assert evaluate(federation, fedllm).periods[0].server_busy_s == pytest.approx(
        expected_s, rel=1e-12
    )
    for engine in (des, scale):
        found = engine.simulate(prepare(federation, fedllm, PolicySpec(), 0))
        assert found.accelerator_busy_s == pytest.approx(expected_s, rel=1e-12)
