"""Ten architectures of image classifiers in PyTorch, small, with the operators that the published ones have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def conv_norm(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, act: Any = None) -> Any:
    """Return a convolution, its batch normalization, and an activation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([act] if act else []))


def head(channels: int, classes: int) -> Any:
    """Return a global average pooling and a linear classifier."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Dropout(0.2), nn.Linear(channels, classes))


def plain_cnn(channels: int, classes: int, size: int) -> Any:
    """Return convolutions, max pools and two dense layers after a flattening of feature maps."""
    features = [conv_norm(channels, 16, act=nn.ReLU()), nn.MaxPool2d(2), conv_norm(16, 32, act=nn.LeakyReLU(0.1))]
    dense = [nn.Flatten(), nn.Linear(32 * (size // 4) ** 2, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, classes)]
    return nn.Sequential(*features, nn.MaxPool2d(2), *dense)


class Residual(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """x + branch(x), with a projection where the shapes differ."""

    def __init__(self, branch: Any, shortcut: Any = None, act: Any = None) -> None:
        super().__init__()
        self.branch, self.shortcut, self.act = branch, shortcut or nn.Identity(), act or nn.Identity()

    def forward(self, x: Any) -> Any:
        """Return the sum."""
        return self.act(self.branch(x) + self.shortcut(x))


def resnet18(channels: int, classes: int, size: int) -> Any:
    """Return ResNet-18 of an eighth of its channels."""
    parts = [conv_norm(channels, 8, 7, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
    inputs = 8
    for index, outputs in enumerate((8, 16, 32, 64)):
        for block in range(2):
            stride = 2 if index and not block else 1
            branch = nn.Sequential(conv_norm(inputs, outputs, 3, stride, act=nn.ReLU()), conv_norm(outputs, outputs))
            shortcut = conv_norm(inputs, outputs, 1, stride) if stride > 1 else None
            parts.append(Residual(branch, shortcut, nn.ReLU()))
            inputs = outputs
    return nn.Sequential(*parts, head(64, classes))


class SqueezeExcitation(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """x times a gate per channel."""

    def __init__(self, channels: int, gate: Any) -> None:
        super().__init__()
        reduced = max(channels // 4, 4)
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, reduced, 1), nn.ReLU(), nn.Conv2d(reduced, channels, 1), gate
        )

    def forward(self, x: Any) -> Any:
        """Return the product."""
        return x * self.layers(x)


def inverted_residual(inputs: int, outputs: int, size: int, stride: int, act: Any, gate: Any = None) -> Any:
    """Return an expansion, a depthwise convolution, perhaps a squeeze and excitation, and a projection."""
    wide = inputs * 4
    parts = [conv_norm(inputs, wide, 1, act=act), conv_norm(wide, wide, size, stride, groups=wide, act=act)]
    branch = nn.Sequential(*parts, *([SqueezeExcitation(wide, gate)] if gate else []), conv_norm(wide, outputs, 1))
    return Residual(branch) if stride == 1 and inputs == outputs else branch


def mobilenet(channels: int, classes: int, act: Any, gate: Any, kernels: tuple[int, ...] = (3, 3, 3, 3)) -> Any:
    """Return a MobileNet: V2 with ReLU6, V3 with hard swish and gates, EfficientNet-lite with kernels of 5."""
    rows = zip((8, 16, 16, 24), (1, 2, 1, 2), kernels, strict=True)
    parts, inputs = [conv_norm(channels, 8, 3, 2, act=act)], 8
    for outputs, stride, size in rows:
        parts.append(inverted_residual(inputs, outputs, size, stride, act, gate))
        inputs = outputs
    return nn.Sequential(*parts, conv_norm(24, 64, 1, act=act), head(64, classes))


class ShuffleUnit(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """A unit of ShuffleNetV2: half of the channels pass, all are shuffled."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        half, self.stride = channels // 2, stride
        inputs = channels if stride > 1 else half
        self.branch = nn.Sequential(
            conv_norm(inputs, half, 1, act=nn.ReLU()), conv_norm(half, half, 3, stride, half),
            conv_norm(half, half, 1, act=nn.ReLU()),
        )  # fmt: skip
        self.shortcut = nn.Sequential(
            conv_norm(inputs, inputs, 3, 2, inputs), conv_norm(inputs, half, 1, act=nn.ReLU())
        )

    def forward(self, x: Any) -> Any:
        """Return both halves, interleaved."""
        left, right = (self.shortcut(x), x) if self.stride > 1 else x.chunk(2, dim=1)
        x = torch.cat((left, self.branch(right)), dim=1)
        batch, channels, height, width = x.shape
        return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


def shufflenet(channels: int, classes: int, size: int) -> Any:
    """Return a ShuffleNetV2."""
    units = [ShuffleUnit(24, stride) for stride in (2, 1, 1)]
    return nn.Sequential(conv_norm(channels, 24, 3, 2, act=nn.ReLU()), *units, head(24, classes))


class Fire(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """A module of SqueezeNet."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one, self.three = nn.Conv2d(squeezed, outputs, 1), nn.Conv2d(squeezed, outputs, 3, padding=1)

    def forward(self, x: Any) -> Any:
        """Return both expansions, side by side."""
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.one(x)), functional.relu(self.three(x))], 1)


def squeezenet(channels: int, classes: int, size: int) -> Any:
    """Return a SqueezeNet, whose classifier is a convolution."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    parts = [nn.Conv2d(channels, 32, 3, 2), nn.ReLU(), pool, Fire(32, 8, 24), Fire(48, 8, 24), pool, Fire(48, 12, 32)]
    return nn.Sequential(*parts, nn.Conv2d(64, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def regnet(channels: int, classes: int, size: int) -> Any:
    """Return a RegNet-X: bottlenecks with grouped convolutions."""
    parts, inputs = [conv_norm(channels, 16, 3, 2, act=nn.ReLU())], 16
    for outputs in (24, 48):
        for stride in (2, 1):
            grouped = conv_norm(outputs, outputs, 3, stride, outputs // 8, nn.ReLU())
            branch = nn.Sequential(
                conv_norm(inputs, outputs, 1, act=nn.ReLU()), grouped, conv_norm(outputs, outputs, 1)
            )
            parts.append(Residual(branch, conv_norm(inputs, outputs, 1, stride) if stride > 1 else None, nn.ReLU()))
            inputs = outputs
    return nn.Sequential(*parts, head(48, classes))


class ConvNeXtBlock(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """Depthwise convolution, layer normalization, two linear layers, and a scale per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.layers = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.gamma = nn.Parameter(torch.linspace(0.1, 0.5, channels))

    def forward(self, x: Any) -> Any:
        """Return x plus the block."""
        y = self.depthwise(x).permute(0, 2, 3, 1)
        return x + (self.gamma * self.layers(self.norm(y))).permute(0, 3, 1, 2)


class LayerNorm2d(nn.LayerNorm):  # type: ignore[misc]  # likewise
    """A layer normalization of the channels of feature maps."""

    def forward(self, x: Any) -> Any:
        """Return the normalized feature maps."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext(channels: int, classes: int, size: int) -> Any:
    """Return a ConvNeXt with a tenth of atto's channels."""
    stem = [nn.Conv2d(channels, 16, 4, 4), LayerNorm2d(16, eps=1e-6), ConvNeXtBlock(16), LayerNorm2d(16, eps=1e-6)]
    tail = [nn.AdaptiveAvgPool2d(1), LayerNorm2d(32, eps=1e-6), nn.Flatten(1), nn.Linear(32, classes)]
    return nn.Sequential(*stem, nn.Conv2d(16, 32, 2, 2), ConvNeXtBlock(32), *tail)


class RepVGGBlock(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """The form that is trained: a 3x3 and a 1x1 convolution and the identity, each normalized, added."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.three, self.one = conv_norm(inputs, outputs, 3, stride), conv_norm(inputs, outputs, 1, stride)
        self.norm = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None

    def forward(self, x: Any) -> Any:
        """Return the sum of the branches after a ReLU."""
        y = self.three(x) + self.one(x)
        return functional.relu(y if self.norm is None else y + self.norm(x))


def repvgg(channels: int, classes: int, size: int) -> Any:
    """Return a RepVGG that is not merged yet."""
    widths = [(channels, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1)]
    return nn.Sequential(*(RepVGGBlock(*width) for width in widths), head(32, classes))


class MixerBlock(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """Two perceptrons: over the patches and over the channels."""

    def __init__(self, patches: int, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(channels, eps=1e-6) for _ in range(2)])
        self.tokens = nn.Sequential(nn.Linear(patches, 24), nn.GELU(), nn.Linear(24, patches))
        self.channels = nn.Sequential(nn.Linear(channels, 64), nn.GELU(), nn.Linear(64, channels))

    def forward(self, x: Any) -> Any:
        """Return x after both."""
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Mixer(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """An MLP-Mixer."""

    def __init__(self, channels: int, classes: int, size: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 32, 8, 8)
        self.blocks = nn.Sequential(*(MixerBlock((size // 8) ** 2, 32) for _ in range(2)), nn.LayerNorm(32, eps=1e-6))
        self.classifier = nn.Linear(32, classes)

    def forward(self, x: Any) -> Any:
        """Return the logits."""
        return self.classifier(self.blocks(self.stem(x).flatten(2).transpose(1, 2)).mean(dim=1))


ARCHITECTURES: dict[str, Callable[[int, int, int], Any]] = {
    "plain_cnn": plain_cnn,
    "resnet18": resnet18,
    "mobilenet_v2": lambda channels, classes, size: mobilenet(channels, classes, nn.ReLU6(), None),
    "mobilenet_v3": lambda channels, classes, size: mobilenet(channels, classes, nn.Hardswish(), nn.Hardsigmoid()),
    "efficientnet": lambda channels, classes, size: mobilenet(channels, classes, nn.SiLU(), nn.Sigmoid(), (3, 5, 5, 3)),
    "efficientnet_lite": lambda channels, classes, size: mobilenet(channels, classes, nn.ReLU6(), None, (3, 5, 5, 3)),
    "shufflenet": shufflenet,
    "squeezenet": squeezenet,
    "regnet": regnet,
    "convnext": convnext,
    "repvgg": repvgg,
    "mixer": Mixer,
}
"""By name: a function of input channels, classes and image size."""

CONFIDENCE = 3.0  # standard deviation of the logits over the images


def steep_network(name: str, images: Any, classes: int) -> Any:
    """Return a network of random weights that tells images apart.

    Batch normalizations get the statistics of the images. The last layer is scaled so that the logits of each class
    have a mean of 0 and a standard deviation of CONFIDENCE.

    Args:
        name: of the architecture.
        images: float32 (N, C, H, W), as the network takes them.
        classes: number of outputs.
    """
    torch.manual_seed(5)
    network = ARCHITECTURES[name](images.shape[1], classes, images.shape[-1])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a mean over all batches
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    with torch.no_grad():
        for batch in images.split(64):
            network.train()(batch)
        logits = network.eval()(images)
        last = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        gain = CONFIDENCE / logits.std(dim=0)
        last.bias.copy_((last.bias - logits.mean(dim=0)) * gain)
        last.weight.mul_(gain.reshape(-1, *[1] * (last.weight.ndim - 1)))
    return network


def trained_network(name: str, images: Any, labels: Any, classes: int, *, steps: int = 200) -> Any:
    """Return a network that was trained on images in a minute at most.

    Args:
        name: of the architecture.
        images: float32 (N, C, H, W), as the network takes them.
        labels: int64 (N,).
        classes: number of outputs.
        steps: of 32 images.
    """
    torch.manual_seed(5)
    network = ARCHITECTURES[name](images.shape[1], classes, images.shape[-1]).train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(0, len(images), (32,))
        optimizer.zero_grad()
        functional.cross_entropy(network(images[batch]), labels[batch], label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()
    return network.eval()
