"""What networks are made of. Exported sources contain these classes as they stand here, so they need nothing but PyTorch.

Spatial sizes follow one rule: an operation of stride s leaves ceil(size / s) rows and columns, whatever its kernel.

Notation: B batch, C channels, H height, W width, T tokens, D width of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SameConv2d(nn.Conv2d):
    """A convolution that leaves ceil(size / stride) rows and columns, also with an even kernel."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, bias: bool = False
    ) -> None:  # fmt: skip
        reach = dilation * (kernel - 1)
        super().__init__(
            inputs, outputs, kernel, stride, padding=reach // 2, dilation=dilation, groups=groups, bias=bias
        )
        self.missing = reach % 2

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return super().forward(functional.pad(x, (0, self.missing, 0, self.missing)) if self.missing else x)


class ConvNormAct(nn.Sequential):
    """Convolution, batch normalisation, activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: str = "ReLU",
    ) -> None:
        super().__init__(
            SameConv2d(inputs, outputs, kernel, stride, dilation, groups),
            nn.BatchNorm2d(outputs),
            getattr(nn, activation)(),
        )


class ConvNorm(nn.Sequential):
    """Convolution and batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(SameConv2d(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs))


class ActConvNorm(nn.Sequential):
    """Activation, convolution, batch normalisation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.ReLU(), SameConv2d(inputs, outputs, kernel, stride, dilation, groups), nn.BatchNorm2d(outputs)
        )


class SeparableConv(nn.Sequential):
    """Activation, depthwise and pointwise convolution, batch normalisation; several times, of which the first has the stride."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, repeats: int = 1
    ) -> None:
        layers: list[nn.Module] = []
        for number in range(repeats):
            width = outputs if number == repeats - 1 else inputs
            layers += [
                nn.ReLU(),
                SameConv2d(inputs, inputs, kernel, stride if number == 0 else 1, dilation, groups=inputs),
                SameConv2d(inputs, width, 1),
                nn.BatchNorm2d(width),
            ]
        super().__init__(*layers)


class FactorizedReduction(nn.Module):
    """Half the resolution by two 1 × 1 convolutions of which one is shifted by a pixel, so that none is left out."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))
        x = functional.relu(x)
        shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))  # type: ignore[no-any-return]


class ResidualReduction(nn.Module):
    """Half the resolution: two 3 × 3 convolutions beside average pooling and a 1 × 1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(ActConvNorm(inputs, outputs, 3, 2), ActConvNorm(outputs, outputs, 3))
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), nn.Conv2d(inputs, outputs, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', ceil(H / 2), ceil(W / 2))
        return self.main(x) + self.shortcut(x)  # type: ignore[no-any-return]


class SqueezeExcitation(nn.Module):
    """Scales channels by what a small network makes of their means (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int, activation: str = "ReLU", gate: str = "Sigmoid") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            getattr(nn, activation)(),
            nn.Conv2d(squeezed, channels, 1),
            getattr(nn, gate)(),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x * self.layers(x)  # type: ignore[no-any-return]


class MBConv(nn.Module):
    """Inverted residual block (Sandler et al., CVPR 2018): expand, depthwise convolution, project; around it a shortcut where
    the shape stays. With groups the pointwise convolutions are grouped and channels shuffled between them."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        expanded: int = 0,
        squeezed: int = 0,
        groups: int = 1,
        activation: str = "ReLU",
        squeeze_activation: str = "ReLU",
        gate: str = "Sigmoid",
    ) -> None:
        super().__init__()
        width = expanded or inputs
        layers: list[nn.Module] = []
        if expanded:
            layers.append(ConvNormAct(inputs, width, 1, groups=groups, activation=activation))
        if groups > 1:
            layers.append(nn.ChannelShuffle(groups))
        layers.append(ConvNormAct(width, width, kernel, stride, groups=width, activation=activation))
        if squeezed:
            layers.append(SqueezeExcitation(width, squeezed, squeeze_activation, gate))
        layers += [SameConv2d(width, outputs, 1, groups=groups), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return x + self.layers(x) if self.has_shortcut else self.layers(x)  # type: ignore[no-any-return]


class Zeros(nn.Module):
    """Nothing, in the shape that an operation would have left."""

    def __init__(self, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.outputs, self.stride = outputs, stride

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) or (B, C)
        return x.new_zeros(len(x), self.outputs, *(-(-size // self.stride) for size in x.shape[2:]))


class Resize(nn.Module):
    """Average pooling or nearest neighbours to a given size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = (height, width)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        if x.shape[2] >= self.size[0] and x.shape[3] >= self.size[1]:
            return functional.adaptive_avg_pool2d(x, self.size)
        return functional.interpolate(x, self.size)


class SpatialAttention(nn.Module):
    """Self-attention over positions, behind a normalisation and beside a shortcut (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, channels: int, heads: int, is_bare: bool = False) -> None:
        super().__init__()
        self.norm = nn.Identity() if is_bare else nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.is_bare = is_bare

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        attended: Tensor = self.attention(normed, normed, normed, need_weights=False)[0]
        tokens = attended if self.is_bare else tokens + attended
        return tokens.transpose(1, 2).reshape(x.shape)


class ChannelMlp(nn.Module):
    """A perceptron of two layers at every position, behind a normalisation and beside a shortcut."""

    def __init__(self, channels: int, hidden: int, is_bare: bool = False) -> None:
        super().__init__()
        self.norm = nn.Identity() if is_bare else nn.GroupNorm(1, channels)
        self.layers = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, channels, 1))
        self.is_bare = is_bare

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return self.layers(x) if self.is_bare else x + self.layers(self.norm(x))  # type: ignore[no-any-return]


class PatchTokens(nn.Module):
    """Patches of an image as tokens, behind a class token, with learned positions (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, inputs: int, width: int, patch: int, num_patches: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(inputs, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, num_patches + 1, width))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:  # (B, C, H, W) -> (B, T, D)
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(images), -1, -1), tokens], dim=1) + self.positions


class RelativePositions(nn.Module):
    """Learned vectors for how far two patches are apart, by rows and by columns; the class token is at no distance."""

    def __init__(self, rows: int, columns: int, width: int, furthest: int) -> None:
        super().__init__()
        self.by_row = nn.Parameter(torch.zeros(2 * furthest + 2, width))
        self.by_column = nn.Parameter(torch.zeros(2 * furthest + 2, width))
        nn.init.trunc_normal_(self.by_row, std=0.02)
        nn.init.trunc_normal_(self.by_column, std=0.02)
        places = torch.arange(rows * columns)
        for name, place in (("rows", places // columns), ("columns", places % columns)):
            apart = (place[None, :] - place[:, None]).clamp(-furthest, furthest) + furthest + 1
            self.register_buffer(name, functional.pad(apart, (1, 0, 1, 0)), persistent=False)

    def forward(self) -> Tensor:  # (T, T, D)
        return self.by_row[self.rows] + self.by_column[self.columns]  # type: ignore[index]


class TokenAttention(nn.Module):
    """Self-attention of heads of a fixed width with relative positions, behind a normalisation and beside a shortcut."""

    def __init__(self, width: int, heads: int, head_width: int, rows: int, columns: int, furthest: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.projected = nn.Linear(width, 3 * heads * head_width)
        self.output = nn.Linear(heads * head_width, width)
        self.key_positions = RelativePositions(rows, columns, head_width, furthest)
        self.value_positions = RelativePositions(rows, columns, head_width, furthest)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T, D)
        batch, length, _ = tokens.shape
        split = self.projected(self.norm(tokens)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, T, head_width) each
        near = torch.einsum("bhqd,qkd->bhqk", query, self.key_positions())
        weights = ((query @ key.transpose(-2, -1) + near) * query.shape[-1] ** -0.5).softmax(dim=-1)
        mixed = weights @ value + torch.einsum("bhqk,qkd->bhqd", weights, self.value_positions())
        return tokens + self.output(mixed.transpose(1, 2).reshape(batch, length, -1))  # type: ignore[no-any-return]


class TokenMlp(nn.Module):
    """A perceptron of two layers on every token, behind a normalisation and beside a shortcut."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T, D)
        return tokens + self.layers(tokens)  # type: ignore[no-any-return]


class FirstToken(nn.Module):
    """The class token, normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:  # (B, T, D) -> (B, D)
        return self.norm(tokens)[:, 0]  # type: ignore[no-any-return]


class GlobalPool(nn.Module):
    """The mean, or the maximum, over all positions."""

    def __init__(self, function: str = "avg") -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C)
        return x.amax(dim=(2, 3)) if self.function == "max" else x.mean(dim=(2, 3))


class AsImage(nn.Module):
    """Vectors as images of one pixel, so that they can be joined with images."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C) -> (B, C, 1, 1)
        return x[:, :, None, None]


class ChannelLinear(nn.Linear):
    """A linear map of the channels, at every position."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) or (B, C)
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
