"""HAT's translation transformers, timed on devices (Wang et al., "HAT: Hardware-Aware Transformers for Efficient Natural
Language Processing", ACL 2020).

The published features are averages over layers, not the layers themselves, so the declared space has the averages as its
decisions. The encoder always has six layers. A value is the sum of the encoder's and the decoder's latency.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.metrics import LATENCY
from predictor.benchmarks.table import PublishedTable
from predictor.search_spaces.registry import declared_search_space
from predictor.tasks import Task

TABLES = {
    "iwslt14deen_gpu_titanxp": ("iwslt14deen", "titanxp"),
    "wmt14ende_cpu_raspberrypi": ("wmt14ende", "raspberrypi"),
    "wmt14ende_cpu_xeon": ("wmt14ende", "xeon"),
    "wmt14ende_gpu_titanxp": ("wmt14ende", "titanxp"),
    "wmt14enfr_cpu_raspberrypi": ("wmt14enfr", "raspberrypi"),
    "wmt14enfr_cpu_xeon": ("wmt14enfr", "xeon"),
    "wmt14enfr_gpu_titanxp": ("wmt14enfr", "titanxp"),
    "wmt19ende_gpu_titanxp": ("wmt19ende", "titanxp"),
}
"""Data set and device of each published table."""

_COLUMNS = {
    "encoder_embed_dim": "encoder_embed_dim",
    "encoder_ffn_embed_dim": "encoder_ffn_embed_dim_avg",
    "encoder_self_attention_heads": "encoder_self_attention_heads_avg",
    "decoder_embed_dim": "decoder_embed_dim",
    "decoder_layer_num": "decoder_layer_num",
    "decoder_ffn_embed_dim": "decoder_ffn_embed_dim_avg",
    "decoder_self_attention_heads": "decoder_self_attention_heads_avg",
    "decoder_cross_attention_heads": "decoder_ende_attention_heads_avg",
    "decoder_cross_attended_layers": "decoder_arbitrary_ende_attn_avg",
}
"""The column of each decision."""

_WHOLE = frozenset({"encoder_embed_dim", "decoder_embed_dim", "decoder_layer_num"})


def _widths(name: str) -> dict[str, object]:
    return {"name": name, "type": "ordinal", "values": [512, 640]}


def _average(name: str, low: float, high: float) -> dict[str, object]:
    return {"name": name, "type": "real", "low": low, "high": high}


DEFINITION: dict[str, Any] = {
    "version": 1,
    "description": "HAT's encoder-decoder transformers by their averages over layers.",
    "decisions": [
        _widths("encoder_embed_dim"),
        _average("encoder_ffn_embed_dim", 512.0, 3072.0),
        _average("encoder_self_attention_heads", 2.0, 8.0),
        _widths("decoder_embed_dim"),
        {"name": "decoder_layer_num", "type": "integer", "low": 1, "high": 6},
        _average("decoder_ffn_embed_dim", 512.0, 3072.0),
        _average("decoder_self_attention_heads", 2.0, 8.0),
        _average("decoder_cross_attention_heads", 2.0, 8.0),
        _average("decoder_cross_attended_layers", 1.0, 3.0),
    ],
}


class HATLatency(Benchmark):
    """One task for every published pair of data set and device."""

    name = "hat_transformer_latency"
    file_name = "hat_transformer_latency.parquet"

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = declared_search_space("hat_transformer", DEFINITION)
        table_of_row = np.array(table.texts("task_device"), dtype=object)
        latency = table.numbers("latency_ms__total")
        noise_std = np.hypot(table.numbers("latency_ms_std__encoder"), table.numbers("latency_ms_std__decoder"))
        yield Contents(
            space,
            _notation(table),
            tuple(
                Measurements(
                    Task(space.name, dataset, LATENCY, device),
                    np.where(table_of_row == published, latency, np.nan),
                    noise_std,
                )
                for published, (dataset, device) in TABLES.items()
            ),
            DEFINITION,
        )


def _notation(table: PublishedTable) -> Callable[[int], str]:
    columns = {
        name: [int(number) if name in _WHOLE else float(number) for number in table.numbers(column)]
        for name, column in _COLUMNS.items()
    }

    @cache
    def notation(row: int) -> str:
        return json.dumps({name: column[row] for name, column in columns.items()})

    return notation
