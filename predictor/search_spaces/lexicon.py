"""What the words of declared spaces mean: names of decisions and values of operations, in the shared vocabulary.

A decision called `encoder_num_heads` is a number of heads, the value `sep_conv_5x5` a separable convolution with a kernel
of five. Whatever is not known here stays what the user called it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from predictor.architecture import AttributeValue

_ATTRIBUTE_WORDS = {
    "kernel_size": ("kernel_size", "kernel", "kernels", "ksize", "k", "ks"),
    "expansion": ("expansion", "expand_ratio", "expansion_ratio", "expand", "mlp_ratio", "ffn_ratio", "e", "er"),
    "stride": ("stride", "strides", "s"),
    "dilation": ("dilation", "dilation_rate"),
    "groups": ("groups", "num_groups", "cardinality"),
    "channels": (
        *("channels", "num_channels", "out_channels", "width", "filters", "num_filters", "units", "c"),
        *("hidden_dim", "hidden_size", "hidden", "embed_dim", "embedding_dim", "d_model", "dim"),
    ),
    "heads": ("heads", "num_heads", "n_heads", "attention_heads", "num_attention_heads", "head"),
    "rate": ("rate", "dropout", "drop", "dropout_rate", "drop_rate"),
    "depth": ("depth", "num_layers", "n_layers", "layers", "layer_num", "num_blocks"),
    "repeats": ("repeats", "num_repeats"),
    "se": ("se", "squeeze_excitation", "use_se"),
    "function": ("activation", "act", "nonlinearity", "activation_function"),
}
_ATTRIBUTES = {word: attribute for attribute, words in _ATTRIBUTE_WORDS.items() for word in words}

_GLOBAL_WORDS = {
    "resolution": ("resolution", "input_resolution", "image_size", "input_size", "img_size", "r"),
    "stem_channels": ("stem_channels", "stem_width", "init_channels", "stem_filters"),
}
_GLOBALS = {word: attribute for attribute, words in _GLOBAL_WORDS.items() for word in words}

_OPERATION_WORDS = (
    "op",
    "operation",
    "block",
    "block_type",
    "op_type",
    "layer_type",
    "conv_type",
    "layer_op",
    "cell_op",
)

_FIXED: dict[str, tuple[str, dict[str, AttributeValue]]] = {
    "none": ("zero", {}),
    "zero": ("zero", {}),
    "zeroize": ("zero", {}),
    "skip": ("identity", {}),
    "skip_connect": ("identity", {}),
    "skip_connection": ("identity", {}),
    "identity": ("identity", {}),
    "id": ("identity", {}),
    "add": ("add", {}),
    "sum": ("add", {}),
    "concat": ("concat", {}),
    "multiply": ("multiply", {}),
    "linear": ("linear", {}),
    "dense": ("linear", {}),
    "fc": ("linear", {}),
    "mlp": ("mlp", {}),
    "ffn": ("mlp", {}),
    "embedding": ("embedding", {}),
    "upsample": ("upsample", {}),
    "attention": ("attention", {}),
    "self_attention": ("attention", {}),
    "mha": ("attention", {}),
    "msa": ("attention", {}),
    "batch_norm": ("normalization", {"function": "batch_norm"}),
    "layer_norm": ("normalization", {"function": "layer_norm"}),
    "global_pool": ("global_pool", {}),
    "global_avg_pool": ("global_pool", {}),
    **{name: ("graph_conv", {"function": name}) for name in ("gcn", "gat", "gin", "sage", "cheb", "arma", "graph")},
    **{name: ("recurrent", {"function": name}) for name in ("lstm", "gru", "rnn")},
    **{
        name: ("activation", {"function": name}) for name in ("relu", "gelu", "swish", "silu", "tanh", "sigmoid", "elu")
    },
}
_FAMILIES: tuple[tuple[str, str, dict[str, AttributeValue]], ...] = (  # the first whose pattern occurs wins
    (r"dil_conv|dilated_conv|dilconv", "separable_conv", {"dilation": 2}),
    (r"sep_conv|sepconv|separable_conv|(^|_)ds(_|$)", "separable_conv", {}),
    (r"depthwise|dw_conv|dwconv", "depthwise_conv", {}),
    (r"mbconv|inverted_residual|inverted_bottleneck|(^|_)ir(_|$)", "mbconv", {}),
    (r"max_?pool", "max_pool", {}),
    (r"avg_?pool|average_pool", "avg_pool", {}),
    (r"attention|transformer", "attention", {}),
    (r"graph_?conv|(^|_)(gcn|gat|gin|sage)(_|$)", "graph_conv", {}),
    (r"(^|_)(lstm|gru)(_|$)", "recurrent", {}),
    (r"conv|(^|_)cn(_|$)", "conv", {}),
)
_LETTERS = {
    "k": "kernel_size",
    "e": "expansion",
    "s": "stride",
    "d": "dilation",
    "g": "groups",
    "c": "channels",
    "h": "heads",
    "r": "repeats",
}
_SQUARE = re.compile(r"(?<![0-9])([0-9]{1,3})x([0-9]{1,3})(?![0-9])")
_BARE_KERNEL = re.compile(r"(?:conv|pool)_?([0-9]{1,2})(?:_|$)")
_LETTER = re.compile(r"([kesdgchr])([0-9]{1,4})")
_NUMERIC = frozenset(_ATTRIBUTE_WORDS) - {"function", "se"}

Meaning = tuple[str, dict[str, AttributeValue]]
"""An operation's kind and the attributes that its name tells."""


def attribute_meaning(name: str) -> str | None:
    """The shared attribute that a decision of that name sets, such as heads for `encoder_num_heads`."""
    return _find(name, _ATTRIBUTES.get)


def global_meaning(name: str) -> str | None:
    """The global attribute that a decision of that name sets, such as resolution for `input_size`."""
    return _GLOBALS.get(name.lower())


def names_operation(name: str) -> bool:
    """Whether a decision of that name chooses what a layer does."""
    return _find(name, {word: word for word in _OPERATION_WORDS}.get) is not None


def attribute_value(attribute: str, value: AttributeValue) -> AttributeValue | None:
    """The value in the attribute's own type; None if it does not fit."""
    if attribute == "function":
        return value.lower() if isinstance(value, str) else None
    if attribute == "se":
        return bool(value) if isinstance(value, bool | int | float) else None
    if attribute in _NUMERIC and not isinstance(value, bool | str):
        return value
    return None


def operation_meaning(value: AttributeValue) -> Meaning | None:
    """The kind and attributes that an operation's name tells; None if the name says nothing."""
    if not isinstance(value, str):
        return None
    text = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
    if text in _FIXED:
        kind, attributes = _FIXED[text]
        return kind, dict(attributes)
    told = _told_by_tokens(text)
    for pattern, kind, attributes in _FAMILIES:
        if re.search(pattern, text):
            return kind, {**attributes, **told, **_function(kind, text)}
    return ("mbconv", told) if {"kernel_size", "expansion"} <= set(told) else None


def _find(name: str, lookup: Callable[[str], str | None]) -> str | None:
    """The meaning of the whole name or, with leading words and a trailing number dropped, of its longest known end."""
    words = re.sub(r"_?[0-9]+$", "", name.lower()).strip("_").split("_")
    for start in range(len(words)):
        word = "_".join(words[start:])
        if (len(word) > 1 or start == 0) and (meaning := lookup(word)) is not None:
            return meaning
    return None


def _told_by_tokens(text: str) -> dict[str, AttributeValue]:
    """Attributes from `3x3`, `conv3`, and tokens such as k3, e6, s2, se."""
    told: dict[str, AttributeValue] = {}
    if (square := _SQUARE.search(text)) is not None:
        told["kernel_size"] = max(int(square[1]), int(square[2]))
    elif (bare := _BARE_KERNEL.search(text)) is not None:
        told["kernel_size"] = int(bare[1])
    for token in text.split("_"):
        if token == "se":
            told["se"] = True
        elif (match := _LETTER.fullmatch(token)) is not None:
            told[_LETTERS[match[1]]] = int(match[2])
    return told


def _function(kind: str, text: str) -> dict[str, AttributeValue]:
    if kind not in ("graph_conv", "recurrent"):
        return {}
    found = re.search(r"gcn|gat|gin|sage|lstm|gru", text)
    return {"function": found[0]} if found else {}
