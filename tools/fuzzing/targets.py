"""All fuzz targets by name, and the modules that each group imports.

The targets of a group run in forked children of one process, which has imported what they need and run none of it:
libraries start their threads when they are first used, and threads do not survive a fork.
"""

from __future__ import annotations

from fuzzing.image_targets import http_corpus, image_corpus, prepare_images, prepare_service
from fuzzing.model_targets import (
    c_corpus,
    corpus_of,
    keras_corpus,
    manifest_corpus,
    prepare_c,
    prepare_keras,
    prepare_manifest,
    prepare_models,
)
from fuzzing.table_targets import (
    cache_corpus,
    checkpoint_corpus,
    csv_corpus,
    prepare_cache,
    prepare_checkpoint,
    prepare_csv,
    prepare_probes,
    prepare_recipe,
    prepare_results,
    prepare_soft_labels,
    prepare_votes,
    probes_corpus,
    recipe_corpus,
    results_corpus,
    soft_label_corpus,
    votes_corpus,
)
from fuzzing.target import Target

FUZZ_TARGETS = {
    target.name: target
    for target in (
        Target("h5", "keras", 2500, ("h5py", "Keras"), keras_corpus(".h5"), prepare_keras, 50),
        Target("keras", "keras", 3200, ("h5py", "Keras"), keras_corpus(".keras"), prepare_keras, 50),
        Target("onnx", "models", 3000, ("onnxruntime",), corpus_of(".onnx"), prepare_models),
        Target("tflite", "models", 4000, ("LiteRT",), corpus_of(".tflite"), prepare_models),
        Target("c", "models", 10_000, ("C generator",), c_corpus, prepare_c),
        Target("ort", "models", 4000, ("onnxruntime",), corpus_of(".ort"), prepare_models),
        Target("pictures", "pictures", 16_000, ("cv2.imdecode", "netpbm", "libheif"), image_corpus, prepare_images),
        Target("http", "pictures", 8000, ("cv2.imdecode", "multipart", "base64 JSON"), http_corpus, prepare_service),
        Target("csv", "tables", 2500, ("csv rows",), csv_corpus, prepare_csv),
        Target("votes", "tables", 2000, ("votes rows",), votes_corpus, prepare_votes),
        Target("soft-labels", "tables", 2500, ("npy array",), soft_label_corpus, prepare_soft_labels),
        Target("probes", "tables", 2500, ("npy array",), probes_corpus, prepare_probes),
        Target("cache", "tables", 2500, ("npy array",), cache_corpus, prepare_cache),
        Target("checkpoint", "tables", 2500, ("npy array",), checkpoint_corpus, prepare_checkpoint),
        Target("results", "tables", 4000, ("settings", "results"), results_corpus, prepare_results),
        Target("manifest", "models", 4000, ("manifest", "onnxruntime"), manifest_corpus, prepare_manifest),
        Target("recipe", "tables", 2500, ("settings",), recipe_corpus, prepare_recipe),
    )
}

GROUP_IMPORTS = {
    "keras": ("feredge.importing.keras_file", "keras", "h5py"),
    "models": ("onnx", "onnxruntime", "ai_edge_litert.interpreter", "cv2", "feredge.api.inspecting", "h5py"),
    "pictures": ("onnxruntime", "cv2", "PIL.Image", "feredge.serve.app"),
    "tables": ("cv2", "tomli_w", "feredge.report", "feredge.benchmark", "feredge.train.soft_labels", "feredge.data"),
}
"""Modules that the process of a group imports before it forks."""
