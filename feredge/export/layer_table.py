"""What int8 costs in each layer of a trained run's variant."""

from __future__ import annotations

from typing import Any

from feredge import data
from feredge.data.dataset import Dataset
from feredge.errors import RecipeError, RunError
from feredge.export import calibration, layers
from feredge.run import RunFolder
from feredge.variant import parse


def layer_table(
    run: RunFolder, dataset: Dataset, *, variant: str = "dense", kind: str = "onnx"
) -> list[dict[str, Any]]:
    """Quantize a variant and return the rows of `layers.table`, on validation images.

    Args:
        run: a trained run; any other variant than dense must stand in it.
        dataset: what it was trained on.
        variant: its name.
        kind: `onnx` or `tflite`.

    Raises:
        RecipeError: no such variant, one whose TFLite file was trained in int8, or validation images that are the
            test's.
        RunError: a variant that was not made yet, or no validation images.
    """
    import json

    from feredge.export import rounding, to_onnx, variants
    from feredge.export.int8_onnx import Int8Onnx

    what, settings = parse(variant), run.recipe().export
    if what.quantized and kind == "tflite":
        raise RecipeError(f"{variant}: its TFLite file was trained in int8, and has no float layers to compare with")
    weights = json.loads(run.training.read_text(encoding="utf-8"))["weights"]
    if variant != "dense" and not (run.variants / f"{variant}.npz").is_file():
        raise RunError(f"{run.path}: expected the variant {variant}, found none; run `feredge export` first")
    view = run.recipe().data
    splits = data.split(dataset, view)
    looked_at = data.stratified_sample(calibration.to_choose_on(splits, view), layers.LOOKED_AT, seed=view.seed)
    chosen, _ = calibration.choose(splits, settings.calibration, seed=view.seed)
    core = variants.open_core(run, variant, weights=weights)
    clustered = what.kind == "clustered"
    rounded = core if what.quantized or clustered else rounding.with_kept_sums(core)
    network: layers.Integer
    if kind == "onnx":
        graph = to_onnx.core_graph(rounded, opset=settings.opset)
        network = Int8Onnx(
            graph, chosen, method=settings.method, reduce_range=settings.reduce_range, per_channel=not clustered
        )
    else:
        from feredge.export.int8_tflite import Int8TFLite

        network = Int8TFLite(rounded, chosen, method=settings.method, per_channel=not clustered)
    return layers.table(network, looked_at.batch)
