// The same network in another runtime, whose npm package stands in runtimes/node_modules beside this file. Nothing is
// loaded from elsewhere.

// Integer probabilities have these scales and zero points by TensorFlow Lite's quantization specification.
const QUANTIZATION = { Uint8Array: [1 / 256, 0], Int8Array: [1 / 256, -128], Int16Array: [1 / 32768, 0] };
const PACKAGES = new URL("./runtimes/node_modules/", import.meta.url);

/** By name: open a model file, and return what answers an input, uint8 of `shape`, with the output. */
const RUNTIMES = {
  "LiteRT.js": async (model, shape) => {
    const { loadLiteRt, loadAndCompile, Tensor } = await importPackage("@litertjs/core/dist/index.js");
    await loadLiteRt(new URL("@litertjs/core/wasm/", PACKAGES).href);
    const compiled = await loadAndCompile(model.href, { accelerator: "wasm" });
    return async (pixels) => {
      const input = new Tensor(pixels, shape);
      const [output] = await compiled.run(input);
      const values = await output.data();
      input.delete();
      output.delete();
      return values;
    };
  },
  "onnxruntime-web": async (model, shape) => {
    const { env, InferenceSession, Tensor } = await importPackage("onnxruntime-web/dist/ort.wasm.min.mjs");
    env.wasm.numThreads = 1;
    env.wasm.wasmPaths = new URL("onnxruntime-web/dist/", PACKAGES).href;
    const session = await InferenceSession.create(await readModel(model), { executionProviders: ["wasm"] });
    const [input] = session.inputNames, [output] = session.outputNames;
    return async (pixels) => (await session.run({ [input]: new Tensor("uint8", pixels, shape) }))[output].data;
  },
};

/**
 * Open a model file in a runtime.
 * @param {string} name of RUNTIMES.
 * @param {URL} model .tflite for LiteRT.js, .onnx for onnxruntime-web.
 * @param {number[]} shape (1, height, width, channels).
 * @returns {(pixels: Uint8Array) => Promise<number[]>} the probability of each class; calls run one after the other.
 */
export async function openRuntime(name, model, shape) {
  const run = await RUNTIMES[name](model, shape);
  let last = Promise.resolve();
  return (pixels) => (last = last.catch(() => {}).then(() => run(pixels)).then(dequantize));
}

function dequantize(values) {
  const [scale, zeroPoint] = QUANTIZATION[values.constructor.name] ?? [1, 0];
  return Array.from(values, (value) => (value - zeroPoint) * scale);
}

async function importPackage(path) {
  try {
    return await import(new URL(path, PACKAGES));
  } catch (error) {
    throw new Error(`runtimes/node_modules/${path}: expected the package beside this page, found none (${error.message})`);
  }
}

async function readModel(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url.pathname.split("/").pop()}: expected a model file, found none (HTTP status ${response.status})`);
  }
  return response.arrayBuffer();
}
