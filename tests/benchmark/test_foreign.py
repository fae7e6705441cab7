"""Foreign files of the workshop's network: integer pixels, and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy_workshop import Workshop, foreign_onnx

from feredge.inference.foreign import ForeignRunner
from feredge.inference.runtimes import open_artifact


def test_integers_of_a_foreign_onnx_file_are_pixels_as_they_are(workshop: Workshop) -> None:
    """Guards against silently wrong accuracy, where `--input-range` is given for a file that takes integer pixels."""
    path, batch = workshop.folder / "dense.float32.onnx", workshop.splits.test.images[:16]
    other = ForeignRunner(path, black=-1, white=1)
    np.testing.assert_array_equal(other.predict(batch), open_artifact(path).predict(batch))
    assert not other.signature().scaled


def test_dynamically_quantized_files_run_one_image_at_a_time(tmp_path: Path, workshop: Workshop) -> None:
    """Guards against predictions that depend on the other images of a batch."""
    from onnxruntime.quantization import quantize_dynamic

    float_file = foreign_onnx(tmp_path / "float.onnx", workshop, black=0, white=1)
    import onnx

    model = onnx.load(float_file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, float_file)
    quantize_dynamic(float_file, tmp_path / "dynamic.onnx")
    runner = ForeignRunner(tmp_path / "dynamic.onnx")
    batch = np.concatenate([workshop.splits.test.images[:8] // 8, workshop.splits.test.images[:8]])
    np.testing.assert_array_equal(runner.predict(batch), np.concatenate([runner.predict(one[None]) for one in batch]))
