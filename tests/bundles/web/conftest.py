"""Web bundles of `models/nano` and of a colour network."""

from __future__ import annotations

from pathlib import Path

import pytest
from one_operator import GraphBuilder, convolution

from feredge.bundles.targets import bundle
from feredge.export.c.compiler import has_zig
from feredge.inference.artifact import Card
from feredge.inference.contract import InputContract
from feredge.inference.embedded_card import append_tflite_card

NANO = Path(__file__).parents[3] / "models/nano/dense.int8.tflite"
COLOR_SIDES = (20, 16)


@pytest.fixture(scope="session")
def nano_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `models/nano`."""
    return make_bundle(NANO, tmp_path_factory.mktemp("web") / "nano")


@pytest.fixture(scope="session")
def color_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a colour network, whose class names would be HTML and JavaScript."""
    graph = GraphBuilder()
    image = graph.image((*COLOR_SIDES, 3))
    first = convolution(graph, image, 5, strideH=2, strideW=2)
    weights, scales = graph.weights((3, 400), axis=None)
    inputs = [first, weights, graph.bias(3, scales * graph.graph.tensors[first].quantization.scale[0])]
    logits = graph.operator("FULLY_CONNECTED", inputs, graph.int8((1, 3), 0.2), "FullyConnectedOptions")
    output = graph.tensor((1, 3), "INT8", 1 / 256, -128)
    model = graph.finish(graph.operator("SOFTMAX", [logits], output, "SoftmaxOptions", beta=1.0))
    card = Card("dense", "int8", ("</script>", "`${x}`", "1"), InputContract(*COLOR_SIDES, 3), {"name": "<b>colour"})
    path = tmp_path_factory.mktemp("colour") / "dense.int8.tflite"
    path.write_bytes(append_tflite_card(model, card))
    return make_bundle(path, path.with_name("bundle"))


def make_bundle(model: Path, out: Path) -> Path:
    if not has_zig():
        pytest.skip("ziglang is not installed")
    return bundle("web", model, out)
