import pytest

from predictor.search_spaces.lexicon import (
    attribute_meaning,
    attribute_value,
    global_meaning,
    names_operation,
    operation_meaning,
)


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        *((name, "kernel_size") for name in ("kernel_size", "kernel", "k", "ks", "conv_kernel", "kernel_size_3")),
        *((name, "expansion") for name in ("expansion", "expand_ratio", "e", "mlp_ratio")),
        *((name, "channels") for name in ("channels", "width", "filters", "hidden_dim", "encoder_embed_dim")),
        *((name, "heads") for name in ("heads", "num_heads", "encoder_num_heads", "self_attention_heads")),
        *((name, name) for name in ("stride", "dilation", "groups", "depth")),
        *((name, "function") for name in ("activation", "act")),
        *((name, None) for name in ("optimizer", "agg", "cute_e", "learning", "_", "bn")),
    ],
)
def test_names_of_decisions_mean_attributes(name: str, attribute: str | None) -> None:
    assert attribute_meaning(name) == attribute


@pytest.mark.parametrize(
    ("value", "kind", "attributes"),
    [
        ("conv3x3", "conv", {"kernel_size": 3}),
        ("nor_conv_1x1", "conv", {"kernel_size": 1}),
        ("Conv5", "conv", {"kernel_size": 5}),
        ("sep_conv_5x5", "separable_conv", {"kernel_size": 5}),
        ("dil_conv_3x3", "separable_conv", {"kernel_size": 3, "dilation": 2}),
        ("mbconv_k3_e6", "mbconv", {"kernel_size": 3, "expansion": 6}),
        ("k5_e3_se", "mbconv", {"kernel_size": 5, "expansion": 3, "se": True}),
        ("max_pool_3x3", "max_pool", {"kernel_size": 3}),
        ("avg-pool-3x3", "avg_pool", {"kernel_size": 3}),
        ("conv_7x1_1x7", "conv", {"kernel_size": 7}),
        ("skip_connect", "identity", {}),
        ("identity", "identity", {}),
        ("none", "zero", {}),
        ("attention", "attention", {}),
        ("attention_h8", "attention", {"heads": 8}),
        ("gcn", "graph_conv", {"function": "gcn"}),
        ("LSTM", "recurrent", {"function": "lstm"}),
        ("relu", "activation", {"function": "relu"}),
    ],
)
def test_values_mean_operations(value: str, kind: str, attributes: dict[str, object]) -> None:
    assert operation_meaning(value) == (kind, attributes)


@pytest.mark.parametrize("value", ["", "banana", "max", "sgd", "e6", 3, True])
def test_other_values_mean_no_operation(value: str | int) -> None:
    assert operation_meaning(value) is None


def test_values_that_do_not_fit_an_attribute_mean_nothing() -> None:
    assert attribute_value("channels", "wide") is None
    assert attribute_value("channels", True) is None
    assert attribute_value("function", 3) is None
    assert attribute_value("se", 1) is True
    assert attribute_value("function", "ReLU") == "relu"


def test_names_of_operation_decisions_and_of_the_whole() -> None:
    assert names_operation("op")
    assert names_operation("edge_op_3")
    assert not names_operation("stop")
    assert global_meaning("input_size") == "resolution"
    assert global_meaning("encoder") is None
