"""Networks that are one chain of blocks: mobile convolutional networks and vision transformers.

Sources: NAS-Bench-Macro (Su et al., CVPR 2021), FBNet (Wu et al., CVPR 2019), MnasNet (Tan et al., CVPR 2019), once-for-all
MobileNetV3 (Cai et al., ICLR 2020) and AutoFormer (Chen et al., ICCV 2021), in what they publish of their networks.
"""

from __future__ import annotations

from predictor.architecture import Architecture, Operation
from predictor.errors import UnbuildableError
from predictor.evaluate.operations import Style, build, factor, label, whole
from predictor.evaluate.plan import Planner, Value
from predictor.search_spaces.chain import read_chain
from predictor.search_spaces.skeletons import BlockChain, TokenChain


def chain_of(architecture: Architecture) -> tuple[Operation, ...]:
    """The operations between input and output.

    Raises:
        UnbuildableError: if they are no chain.
    """
    found = read_chain(architecture)
    if found is None:
        raise UnbuildableError("expected a chain of operations between input and output, got another graph")
    return found


def plan_block_chain(architecture: Architecture, skeleton: BlockChain, planner: Planner) -> Value:
    """Stem, perhaps a first block without expansion, the architecture's blocks, head; the features as a vector."""
    images, wide = planner.inputs[0], _activation(skeleton, skeleton.wide_channels)
    stem, stride = skeleton.stem_channels, skeleton.stem_stride
    value = planner.part("stem", images, "ConvNormAct", images.channels, stem, 3, stride, activation=wide)
    if skeleton.first_channels:
        plain = _activation(skeleton, 0)
        value = planner.part("first", value, "MBConv", stem, skeleton.first_channels, 3, activation=plain)
    for operation in chain_of(architecture):
        value = build(planner, label(operation), value, operation, _style(skeleton, operation, value))
    head = skeleton.head_channels
    value = planner.part("head", value, "ConvNormAct", value.channels, head, 1, activation=wide)
    value = planner.part("pool", value, "GlobalPool")
    if skeleton.feature_channels:
        value = planner.part("features", value, "nn.Linear", head, skeleton.feature_channels, bias=False)
        value = planner.part("features_activation", value, f"nn.{wide}")
    return value


def _activation(skeleton: BlockChain, channels: int) -> str:
    is_wide = bool(skeleton.wide_activation) and channels >= skeleton.wide_channels
    return skeleton.wide_activation if is_wide else skeleton.activation


def _style(skeleton: BlockChain, operation: Operation, value: Value) -> Style:
    told = {
        "activation": _activation(skeleton, whole(operation, "channels", value.channels)),
        "squeeze_activation": skeleton.squeeze_activation,
        "gate": skeleton.gate,
        "always_expands": "yes" if skeleton.always_expands else "",
        "is_squeezed_from_input": "yes" if skeleton.is_squeezed_from_input else "",
    }
    if operation.get("se") is not True:
        del told["squeeze_activation"], told["gate"]
    return Style("linear", mbconv=told)


def plan_token_chain(architecture: Architecture, skeleton: TokenChain, planner: Planner) -> Value:
    """Patches as tokens, the architecture's attention and perceptrons, and what became of the class token."""
    operations = chain_of(architecture)
    width = whole(operations[0], "channels", 0) if operations else 0
    images = planner.inputs[0]
    rows, columns = (size // skeleton.patch_size for size in images.shape[1:])
    if not rows or not columns:
        raise UnbuildableError(
            f"expected images of at least one patch of {skeleton.patch_size} pixels, got {images.shape[1]} × "
            f"{images.shape[2]}: a smaller patch_size is needed"
        )
    value = planner.part("tokens", images, "PatchTokens", images.channels, width, skeleton.patch_size, rows * columns)
    for operation in operations:
        if operation.kind == "attention":
            arguments = (whole(operation, "heads", 1), skeleton.head_channels, rows, columns)
            value = planner.part(
                "attention", value, "TokenAttention", width, *arguments, skeleton.max_relative_position
            )
        elif operation.kind == "mlp":
            hidden = int(width * factor(operation, "expansion", 4.0))
            value = planner.part("mlp", value, "TokenMlp", width, hidden)
        else:
            raise UnbuildableError(f"expected attention and mlp in a chain of tokens, got {operation.kind!r:.80}")
    return planner.part("class_token", value, "FirstToken", width)
