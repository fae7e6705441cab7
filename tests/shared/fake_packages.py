"""A stand-in for onnxruntime-web's npm package, with the part of its interface that runtimes.js uses."""

from __future__ import annotations

from pathlib import Path

FAKE_ONNXRUNTIME = """
export const env = { wasm: {} };
export class Tensor {
  constructor(type, data, shape) { Object.assign(this, { type, data, shape }); }
}
export const InferenceSession = {
  async create(model, { executionProviders }) {
    if (!model.byteLength || executionProviders[0] !== "wasm") { throw new Error("expected a model"); }
    const answer = (pixels) => ({ data: Float32Array.from(pixels, (value) => value / 256) });
    const run = async ({ image }) => ({ probabilities: answer(image.data.subarray(0, 7)) });
    return { inputNames: ["image"], outputNames: ["probabilities"], run };
  },
};
"""
"""Answers the first seven pixels of an image, divided by 256."""


def write_fake_onnxruntime(folder: Path) -> None:
    """Write the package into `node_modules` of a folder."""
    target = folder / "node_modules/onnxruntime-web/dist"
    target.mkdir(parents=True)
    (target / "ort.wasm.min.mjs").write_text(FAKE_ONNXRUNTIME)
