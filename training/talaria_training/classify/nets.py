"""Networks that tell strides apart: multilayer perceptrons and 1-D convolutions, each a plain row of layers.

All take standardised strides (N, channels, points) and give logits (N, classes). They are built of few kinds of
layers, so that relevance can be handed back through each by rule (`talaria_training.relevance`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """What a network takes and gives.

    Attributes
    ----------
    channels, points : int
        Of a stride.
    classes : int
    """

    channels: int
    points: int
    classes: int


class Residual(nn.Module):
    """Adds what its layers make of the input to the input: ``x + body(x)``, of one shape."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x + body(x)``, of the shape of `x`."""
        added: Tensor = x + self.body(x)
        return added


def mlp(shape: Shape, depth: int = 2, width: int = 256) -> nn.Sequential:
    """Fully connected hidden layers of one width.

    Horst et al. 2019 (Sci Rep 9:2391) have two or three of 64 to 1024 units.
    """
    sizes = [shape.channels * shape.points, *(width for _ in range(depth))]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], shape.classes))


def cnn_a(shape: Shape, kernel: int = 6, filters: int = 32) -> nn.Sequential:
    """One convolution whose filters see all channels at once, then one layer.

    The CNN-A of Horst et al. 2019, where filters are as many points wide as there are channels: 6 for forces
    (32 filters) up to 33 for the joint angles of the whole body (64).
    """
    return nn.Sequential(
        nn.Conv1d(shape.channels, filters, kernel),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(filters * (shape.points - kernel + 1), shape.classes),
    )


def cnn_c3(shape: Shape, filters: int = 32) -> nn.Sequential:
    """Three convolutions, 3, 3 and 2 points wide, then one layer.

    After the CNN-C3 of Horst et al. 2019, whose filters also reach over no more than 3, 3 and 2 *channels*.
    Which channels are neighbours is an accident of the order in a file: these see all of them.
    """
    layers: list[nn.Module] = []
    channels, points = shape.channels, shape.points
    for kernel in (3, 3, 2):
        layers += [nn.Conv1d(channels, filters, kernel), nn.ReLU()]
        channels, points = filters, points - kernel + 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * points, shape.classes))


def small(
    shape: Shape, width: int = 48, blocks: int = 3, kernel: int = 7, dropout: float = 0.2
) -> nn.Sequential:
    """Residual convolutions, halved in time before each, averaged over the cycle at the end.

    Fewer than 60 000 weights up to 40 channels and 100 classes. The first layer looks at one point of all
    channels, so that each of its units is one way to weigh the joints against one another.
    """
    layers: list[nn.Module] = [nn.Conv1d(shape.channels, width, 1), nn.BatchNorm1d(width)]
    for _ in range(blocks):
        body = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        layers += [nn.AvgPool1d(2), Residual(body)]
    layers += [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, shape.classes))


BUILDERS: dict[str, Callable[..., nn.Sequential]] = {
    "mlp": mlp,
    "mlp-3x256": lambda shape: mlp(shape, depth=3, width=256),
    "cnn-a": cnn_a,
    "cnn-c3": cnn_c3,
    "small": small,
}
