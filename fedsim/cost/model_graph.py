"""The rows of a decoder-only transformer with adapters: the one table that all costs come from.

Rows follow the modules of transformers and peft in the order in which they run (eager attention).
Sizes are per sample sums, see :class:`~fedsim.cost.graph.Extent`. What is left out: the cosines
and sines of rotary embeddings (shared by all blocks and samples), attention masks, and 0-d scalars.
"""

from __future__ import annotations

from functools import lru_cache

from fedsim.cost.graph import CheckpointUnit, Extent, PartWork, Row, Tensor, walk
from fedsim.protocol.operation import Part
from fedsim.protocol.parameters import num_trainable
from fedsim.spec.dtype import dtype_bytes
from fedsim.spec.model import LinearSpec, ModelSpec
from fedsim.spec.plan import TrainingSpec

__all__ = ["checkpoint_units", "needs_entry_gradient", "part_work"]


@lru_cache(maxsize=512)
def part_work(training: TrainingSpec, part: Part) -> PartWork:
    """Forward, backward and recomputation sums of one part of the model."""
    entry = _stream(training.model, part.start).name
    wanted = needs_entry_gradient(training, part)
    return walk(checkpoint_units(training, part), entry if wanted else None)


def needs_entry_gradient(training: TrainingSpec, part: Part) -> bool:
    """Whether the gradient of what enters the part is computed.

    Above a cut it is what the client waits for, unless the client trains nothing. At the embeddings
    it is wasted work that transformers asks for with gradient checkpointing of a frozen base
    (``enable_input_require_grads``), and it is counted because it is done.
    """
    if part.has_embedding:
        return training.numerics.is_checkpointed and num_trainable(training, part) > 0
    return num_trainable(training, Part.below(part.start)) > 0


def checkpoint_units(training: TrainingSpec, part: Part) -> tuple[CheckpointUnit, ...]:
    """The rows of one part, in the units that checkpointing recomputes."""
    units = []
    is_checkpointed = training.numerics.is_checkpointed
    stream = _stream(training.model, part.start)
    if part.has_embedding:
        units.append(CheckpointUnit(_embedding_rows(training, stream)))
    position = part.start
    while position < part.stop:
        # A whole block is one unit; a cut within a block leaves a half on either side.
        last = position + 1 if position % 2 == 0 and position + 1 < part.stop else position
        rows: list[Row] = []
        for place in range(position, last + 1):
            rows.extend(_half_rows(training, place))
        units.append(CheckpointUnit(tuple(rows), is_checkpointed))
        position = last + 1
    if part.has_head:
        units.append(CheckpointUnit(_head_rows(training)))
    return tuple(units)


def _stream(model: ModelSpec, place: int) -> Tensor:
    """The residual stream ahead of half-block ``place``."""
    return Tensor(f"hidden.{place}", Extent(per_token=model.hidden_size))


def _weight(training: TrainingSpec, name: str, *, is_trained: bool | None = None) -> Tensor:
    trained = training.lora is None if is_trained is None else is_trained
    return Tensor(name, Extent(), is_trained=trained, is_parameter=True)


def _embedding_rows(training: TrainingSpec, stream: Tensor) -> tuple[Row, ...]:
    table = _weight(training, "embedding")
    if training.model_dropout == 0 or not training.model.traits.has_positions:
        return (Row(stream, (table,), "function", num_kernels=3),)
    raw = Tensor("embedded", stream.size)
    return (
        Row(raw, (table,), "function", num_kernels=3),
        _dropout(stream, raw, "embedding"),
    )


def _dropout(output: Tensor, source: Tensor, name: str) -> Row:
    # torch's CPU dropout is a product with a noise tensor of the same format.
    return Row(output, (source, Tensor(f"{name}.noise", source.size)), "mul", num_kernels=3)


class _Rows:
    """Collects the rows of one half-block under a common name prefix."""

    def __init__(self, training: TrainingSpec, place: int) -> None:
        self.training = training
        self.model = training.model
        self.place = place
        lora = training.lora
        is_adapted = lora is not None and lora.is_adapted_layer(self.model, place // 2)
        self.adapted = lora.adapted(self.model) if lora is not None and is_adapted else ()
        self.rows: list[Row] = []

    def tensor(self, name: str, per_token: int = 0, per_pair: int = 0) -> Tensor:
        return Tensor(f"{self.place}.{name}", Extent(per_token, per_pair))

    def function(
        self, output: Tensor, *inputs: Tensor, kept: tuple[Tensor, ...] = (), num_kernels: int = 1
    ) -> Tensor:
        self.rows.append(Row(output, inputs, "function", kept=kept, num_kernels=num_kernels))
        return output

    def dropout(self, source: Tensor, name: str, rate: float) -> Tensor:
        if rate == 0:
            return source
        output = Tensor(f"{self.place}.{name}", source.size)
        self.rows.append(_dropout(output, source, output.name))
        return output

    def trains_bias(self, linear: LinearSpec) -> bool:
        lora = self.training.lora
        if lora is None:
            return True
        return linear.has_bias and (
            lora.bias == "all" or (lora.bias == "lora_only" and linear in self.adapted)
        )

    def linear(self, source: Tensor, linear: LinearSpec) -> Tensor:
        """The frozen or trained product, and the adapter's two skinny ones beside it."""
        name, width = linear.path, linear.num_outputs
        weight = _weight(self.training, f"{self.place}.{name}.weight")
        bare = self.tensor(f"{name}.base", width)
        flop = Extent(per_token=2 * linear.num_inputs * width)
        self.rows.append(Row(bare, (source, weight), "product", flop))
        if self.training.lora is not None and self.trains_bias(linear):
            bias = _weight(self.training, f"{self.place}.{name}.bias", is_trained=True)
            bare = self.function(self.tensor(f"{name}.biased", width), bare, bias, num_kernels=0)
        if linear not in self.adapted:
            return bare
        return self._adapter(source, bare, linear)

    def _adapter(self, source: Tensor, bare: Tensor, linear: LinearSpec) -> Tensor:
        lora = self.training.lora
        if lora is None:
            return bare
        name, width = linear.path, linear.num_outputs
        dropped = self.dropout(source, f"{name}.lora_dropout", lora.dropout)
        inner = self.tensor(f"{name}.lora_A", lora.r)
        outer = self.tensor(f"{name}.lora_B", width)
        scaled = self.tensor(f"{name}.scaled", width)
        for output, factor_input, factor, flop in (
            (inner, dropped, "A", 2 * linear.num_inputs * lora.r),
            (outer, inner, "B", 2 * lora.r * width),
        ):
            weight = _weight(
                self.training, f"{self.place}.{name}.lora_{factor}.weight", is_trained=True
            )
            row = Row(output, (factor_input, weight), "product", Extent(per_token=flop), "lora")
            self.rows.append(row)
        self.function(scaled, outer)
        return self.function(self.tensor(name, width), bare, scaled)

    def norm(self, source: Tensor, name: str, *, groups: int = 1) -> Tensor:
        """A norm over the last dimension, ``groups`` times a token."""
        kind = self.model.traits.norm_kind
        statistics = self.tensor(f"{name}.statistics", (2 if kind == "layer" else 1) * groups)
        output = Tensor(f"{self.place}.{name}", source.size)
        lora = self.training.lora
        weight = _weight(self.training, f"{self.place}.{name}.weight")
        if kind == "layer":
            trains_bias = lora is None or lora.bias == "all"
            bias = _weight(self.training, f"{self.place}.{name}.bias", is_trained=trains_bias)
            kept = (source, statistics)
            return self.function(output, source, weight, bias, kept=kept)
        bare = Tensor(f"{self.place}.{name}.bare", source.size)
        self.function(bare, source, kept=(source, statistics), num_kernels=5)
        if kind == "gemma_rms":
            size = Extent(constant=self.model.hidden_size)
            shifted = Tensor(f"{self.place}.{name}.shifted", size)
            weight = self.function(shifted, weight)
        self.rows.append(Row(output, (bare, weight), "mul"))
        return output


def _half_rows(training: TrainingSpec, place: int) -> tuple[Row, ...]:
    model = training.model
    rows = _Rows(training, place)
    before, after = _stream(model, place), _stream(model, place + 1)
    is_attention = place % 2 == 0
    normed = rows.norm(before, model.traits.norms[place % 2])
    out = _attention(rows, normed) if is_attention else _mlp(rows, normed)
    if model.traits.name == "gpt2":
        out = rows.dropout(out, "resid_dropout", training.model_dropout)
    rows.function(after, before, out)
    return tuple(rows.rows)


def _attention(rows: _Rows, normed: Tensor) -> Tensor:
    model = rows.model
    width = model.num_heads * model.head_size
    query, key, value = _projections(rows, normed)
    pairs = model.num_heads
    flop = Extent(per_pair=2 * width)
    score = rows.tensor("scores", per_pair=pairs)
    rows.rows.append(Row(score, (query, key), "product", flop, "attention"))
    masked = rows.function(rows.tensor("masked", per_pair=pairs), score, num_kernels=2)
    weights = rows.tensor("attention_weights", per_pair=pairs)
    rows.function(weights, masked, kept=(weights,))
    if model.traits.name == "gpt2":
        weights = rows.dropout(weights, "attn_dropout", rows.training.model_dropout)
    heads = rows.tensor("heads", width)
    rows.rows.append(Row(heads, (weights, value), "product", flop, "attention"))
    context = rows.function(rows.tensor("context", width), heads)
    return rows.linear(context, model.linears[1 if model.traits.has_fused_qkv else 3])


def _projections(rows: _Rows, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    model = rows.model
    width, narrow = model.num_heads * model.head_size, model.num_kv_heads * model.head_size
    if model.traits.has_fused_qkv:
        fused = rows.linear(normed, model.linears[0])
        query, key, value = (
            rows.function(rows.tensor(name, width), fused) for name in ("query", "key", "value")
        )
        return query, key, value
    query, key, value = (rows.linear(normed, linear) for linear in model.linears[:3])
    if model.traits.has_qk_norm:
        query = rows.norm(query, "q_norm", groups=model.num_heads)
        key = rows.norm(key, "k_norm", groups=model.num_kv_heads)
    query = rows.function(rows.tensor("rotated_query", width), query, num_kernels=5)
    key = rows.function(rows.tensor("rotated_key", narrow), key, num_kernels=5)
    if narrow != width:
        key = rows.function(rows.tensor("repeated_key", width), key)
        value = rows.function(rows.tensor("repeated_value", width), value)
    return query, key, value


def _mlp(rows: _Rows, normed: Tensor) -> Tensor:
    model = rows.model
    inner = model.intermediate_size
    if not model.traits.is_gated:
        wide = rows.linear(normed, model.linears[2])
        return rows.linear(_activation(rows, wide), model.linears[3])
    gate = rows.linear(normed, model.linears[4])
    up = rows.linear(normed, model.linears[5])
    product = rows.tensor("gated", inner)
    rows.rows.append(Row(product, (_activation(rows, gate), up), "mul"))
    return rows.linear(product, model.linears[6])


def _activation(rows: _Rows, source: Tensor) -> Tensor:
    inner = rows.model.intermediate_size
    output = rows.tensor("activation", inner)
    if rows.model.activation != "gelu_new":
        return rows.function(output, source, kept=(source,))
    # transformers' NewGELUActivation is plain Python: 0.5 * x * (1 + tanh(...)) keeps four tensors.
    extra = tuple(rows.tensor(f"gelu.{name}", inner) for name in ("half", "tanh", "shifted"))
    return rows.function(output, source, kept=(source, *extra), num_kernels=8)


def _head_rows(training: TrainingSpec) -> tuple[Row, ...]:
    model = training.model
    top = 2 * model.num_layers
    rows = _Rows(training, top)
    # Place 2 L lies past the last block: no adapters there.
    rows.adapted = ()
    normed = rows.norm(_stream(model, top), model.traits.final_norm)
    width = training.head.width(model.vocab_size)
    is_classifier = training.head.kind == "classification"
    weight = _weight(training, "head.weight", is_trained=is_classifier or training.lora is None)
    logits = rows.tensor("logits", width)
    flop = Extent(per_token=2 * model.hidden_size * width)
    rows.rows.append(Row(logits, (normed, weight), "product", flop, "head"))
    # The loss is computed in 32 bits whatever the format of the activations.
    widening = 4 // dtype_bytes(training.numerics.compute_dtype)
    loss_size = (Extent(per_sample=width) if is_classifier else Extent(per_token=width)).times(
        widening
    )
    log_probabilities = Tensor("log_probabilities", loss_size)
    loss = Tensor("loss", Extent(constant=1))
    rows.function(loss, logits, kept=(log_probabilities,), num_kernels=4)
    return tuple(rows.rows)
