"""What a run was made from, as hashes: the initial weights, and everybody's texts."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.federation import FederationData
from fedsim.runtime.staged_model import StagedModel

__all__ = ["data_sha256", "weights_sha256"]


def weights_sha256(model: StagedModel) -> str:
    """SHA-256 over names, formats, shapes and bytes of all parameters, frozen and trained."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.module.named_parameters()):
        plain = parameter.detach().to("cpu").contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        # Read as bytes: numpy knows no 16-bit brain floats.
        digest.update(plain.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def data_sha256(data: FederationData, test: EncodedDataset) -> str:
    """SHA-256 over token ids and labels of every client, the public set and the test rows."""
    digest = hashlib.sha256()
    parts = {f"client {name}": rows for name, rows in data.clients.items()}
    if data.public is not None:
        parts["public"] = data.public
    for name, rows in sorted({**parts, "test": test}.items()):
        digest.update(f"{name} {rows.num_rows} {rows.max_tokens}\n".encode())
        digest.update(np.ascontiguousarray(rows.lengths, dtype="<i8").tobytes())
        for ids in rows.token_ids:
            digest.update(np.ascontiguousarray(ids, dtype="<i8").tobytes())
        # Labels of public texts are never used.
        if name != "public":
            digest.update(np.ascontiguousarray(rows.labels, dtype="<i8").tobytes())
    return digest.hexdigest()
