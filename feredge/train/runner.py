"""The float model as a runner, for the benchmark's workers: `feredge.train.runner:KerasRunner`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feredge.errors import ArtifactError
from feredge.inference.artifact import Card
from feredge.inference.contract import Images, InputContract
from feredge.keras import tf
from feredge.run import RunFolder
from feredge.train.record import load_model


class KerasRunner:
    """A run's `float.keras` in TensorFlow.

    Attributes:
        card: the metadata that an exported file would hold.
    """

    def __init__(self, path: Path, *, threads: int | None = 1) -> None:
        """Load the model. `threads` can be set only before TensorFlow's runtime starts; None keeps its default.

        Raises:
            ArtifactError: TensorFlow's runtime has started with another number of threads.
            RunError: the model is missing or damaged.
        """
        if threads is not None:
            _set_threads(threads)
        run = RunFolder(Path(path).parent)
        model = load_model(run)
        figures, data = run.training_record(), run.data()
        _, height, width, channels = model.input_shape
        self.card = Card(
            variant="dense",
            precision="float32",
            classes=tuple(data["classes"]),
            contract=InputContract(height, width, channels),
            recipe=run.recipe().to_json(),
            source={"weights": figures["weights"], "data": data["digest"]},
            versions=figures.get("versions", {}),  # absent in older runs of foreign networks
            faces=run.recipe().data.faces,
        )
        signature = [tf.TensorSpec((None, height, width, channels), tf.uint8)]
        self._forward = tf.function(lambda batch: model(batch, training=False), input_signature=signature)

    def predict(self, batch: Images) -> NDArray[np.float32]:
        """Return `float32 (N, classes)` for `uint8 (N, H, W, C)`."""
        return self._forward(batch).numpy()  # type: ignore[no-any-return]


def _set_threads(threads: int) -> None:
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        actual = threading.get_intra_op_parallelism_threads()
        if actual != threads:
            raise ArtifactError(
                f"expected to set TensorFlow to {threads} threads, but it runs already with {actual or 'all'}; "
                "open the runner in a process of its own"
            ) from error
