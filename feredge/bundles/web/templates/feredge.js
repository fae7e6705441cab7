// An int8 image classifier in WebAssembly, written by feredge. For browsers and Node; feredge.d.ts has the types.
//
//   import { load } from "./feredge.js";
//   const net = await load();
//   const { label, confidence, probabilities } = net.predict(canvas);

/** What the network takes and returns. */
export const network = $NETWORK;

// Literal paths: bundlers find and copy the files.
const MODULES = {
  relaxed: { url: new URL("./feredge-relaxed.wasm", import.meta.url), ...$RELAXED },
  simd: { url: new URL("./feredge-simd.wasm", import.meta.url), ...$SIMD },
  plain: { url: new URL("./feredge-plain.wasm", import.meta.url), ...$PLAIN },
};
const GOLDEN = { url: new URL("./golden.bin", import.meta.url), ...$GOLDEN };

// Modules of one function each, which an engine takes only if it has the instructions.
const PROBES = {
  relaxed: "AGFzbQEAAAABBQFgAAF7AwIBAAoTAREAQQD9D0EA/Q9BAP0P/ZMCCw==",
  simd: "AGFzbQEAAAABBQFgAAF7AwIBAAoIAQYAQQD9Dws=",
};

/**
 * Load the network.
 * @param {{build?: "relaxed" | "simd" | "plain"}} [options] build: the module to use; by default the fastest that this
 *   engine takes. All give the same answers.
 */
export async function load({ build = fastest() } = {}) {
  if (!Object.keys(MODULES).includes(build)) {
    throw new RangeError(`expected build ${Object.keys(MODULES).join(", ")}, found ${String(build).slice(0, 40)}`);
  }
  const { instance } = await WebAssembly.instantiate(await read(MODULES[build]));
  return new Net(instance.exports, build);
}

function fastest() {
  if (typeof WebAssembly !== "object") {
    throw new Error("expected a browser with WebAssembly, found one without");
  }
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Object.keys(PROBES).find((build) => WebAssembly.validate(bytes(PROBES[build]))) ?? "plain";
}

class Net {
  #wasm;
  #canvas;

  constructor(wasm, build) {
    this.#wasm = wasm;
    this.build = build;
    Object.assign(this, network);
  }

  /**
   * Classify a picture: a canvas, an image, a video's frame, ImageData; or the network's input, uint8 (H, W, C).
   * With `box`, only the square around it, as feredge's Predictor crops a face.
   */
  predict(picture, options) {
    this.input(picture, options);
    const best = this.#wasm.predict();
    const scores = [...new Float32Array(this.#wasm.memory.buffer, this.#wasm.probabilities(), this.classes.length)];
    const probabilities = Object.fromEntries(this.classes.map((name, index) => [name, scores[index]]));
    return { label: this.classes[best], confidence: scores[best], scores, probabilities };
  }

  /** The network's input of a picture, uint8 (H, W, C), until the next call: for the same network in another runtime. */
  input(picture, { box } = {}) {
    if (ArrayBuffer.isView(picture)) {
      this.#setInput(picture);
    } else {
      this.#convert(picture, box);
    }
    return this.#inputView();
  }

  /** Compare the answers to the bundle's golden vectors, drawn images, with LiteRT's: null, or one line. */
  async selfTest() {
    const data = await read(GOLDEN);
    const size = this.height * this.width * this.channels;
    const answers = new Float32Array(data.buffer, GOLDEN.images * size);
    for (let row = 0; row < GOLDEN.images; row++) {
      const { scores } = this.predict(data.subarray(row * size, (row + 1) * size));
      const expected = [...answers.subarray(row * scores.length, (row + 1) * scores.length)];
      if (scores.some((value, index) => value !== expected[index])) {
        return `image ${row}: expected ${expected}, found ${scores}`;
      }
    }
    return null;
  }

  #setInput(pixels) {
    const input = this.#inputView();
    if (pixels.BYTES_PER_ELEMENT !== 1 || pixels.length !== input.length) {
      const found = `${pixels.constructor.name} of ${pixels.length}`;
      throw new TypeError(`expected Uint8Array of ${this.height} x ${this.width} x ${this.channels}, found ${found}`);
    }
    input.set(pixels);
  }

  #inputView() {
    return new Uint8Array(this.#wasm.memory.buffer, this.#wasm.input(), this.height * this.width * this.channels);
  }

  #convert(picture, box) {
    const { width, height } = sizeOf(picture);
    const square = box ? squareAround(box, width, height) : { left: 0, top: 0, width, height };
    const left = Math.max(square.left, 0), top = Math.max(square.top, 0);
    const columns = Math.min(square.left + square.width, width) - left;
    const rows = Math.min(square.top + square.height, height) - top;
    const bytes = this.#pixels(picture, left, top, columns, rows);
    const start = this.#wasm.reserve(bytes.length, square.width * square.height * this.channels);
    if (!start) {
      throw new RangeError(`expected a picture that fits into memory, found ${width} x ${height}`);
    }
    new Uint8Array(this.#wasm.memory.buffer, start, bytes.length).set(bytes);
    this.#wasm.convert(rows, columns, 4, square.left - left, square.top - top, square.width, square.height);
  }

  /** RGBA of a part of a picture. */
  #pixels(picture, left, top, width, height) {
    if (picture.data && !picture.getContext) {
      const rows = Array.from({ length: height }, (_, y) => ((top + y) * picture.width + left) * 4);
      const bytes = new Uint8Array(width * height * 4);
      rows.forEach((start, y) => bytes.set(picture.data.subarray(start, start + width * 4), y * width * 4));
      return bytes;
    }
    try {
      const context = picture.getContext?.("2d");
      return context ? context.getImageData(left, top, width, height).data : this.#drawn(picture, left, top, width, height);
    } catch (error) {
      if (error.name !== "SecurityError") {
        throw error;
      }
      throw new Error("expected a picture of this site, found one of another, whose pixels a browser does not give");
    }
  }

  #drawn(picture, left, top, width, height) {
    this.#canvas ??= typeof OffscreenCanvas === "function" ? new OffscreenCanvas(1, 1) : document.createElement("canvas");
    Object.assign(this.#canvas, { width, height });
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, left, top, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }
}

function sizeOf(picture) {
  const width = picture?.videoWidth ?? picture?.naturalWidth ?? picture?.displayWidth ?? picture?.width;
  const height = picture?.videoHeight ?? picture?.naturalHeight ?? picture?.displayHeight ?? picture?.height;
  if (!(width > 0 && height > 0)) {
    throw new TypeError(`expected a picture with a width and a height, found ${width} x ${height}`);
  }
  if (picture.data && picture.data.length !== width * height * 4) {
    throw new TypeError(`expected RGBA pixels of ${width} x ${height}, found ${picture.data.length} bytes`);
  }
  return { width, height };
}

/** The square with the box's centre and its longer side. Outside the picture its border is repeated. */
function squareAround(box, columns, rows) {
  const [x, y, width, height] = [box.x, box.y, box.width, box.height].map(Math.round);
  const side = Math.max(width, height);
  if (!(width >= 1 && height >= 1 && x < columns && y < rows && x + width > 0 && y + height > 0)) {
    throw new RangeError(`expected a box that overlaps the ${columns} x ${rows} picture, found ${[x, y, width, height]}`);
  }
  if (side > 4 * Math.max(columns, rows)) {
    throw new RangeError(`expected a box about as large as the ${columns} x ${rows} picture, found ${width} x ${height}`);
  }
  return { left: x + Math.floor((width - side) / 2), top: y + Math.floor((height - side) / 2), width: side, height: side };
}

/** Read a file of the bundle, and check its digest: in a browser by the browser, whose code is faster than a script. */
async function read({ url, sha256 }) {
  const name = url.pathname.split("/").pop();
  const damaged = `${name}: expected the file that feredge wrote, found a damaged one; copy the bundle again`;
  if (url.protocol === "file:") {
    const module = (path) => import(/* webpackIgnore: true */ /* @vite-ignore */ path);
    const [{ readFile }, { createHash }] = await Promise.all([module("node:fs/promises"), module("node:crypto")]);
    const data = await readFile(url);
    if (createHash("sha256").update(data).digest("base64") !== sha256) {
      throw new Error(damaged);
    }
    return new Uint8Array(data);
  }
  const versioned = new URL(url);
  versioned.searchParams.set("v", sha256.slice(0, 8));
  let response;
  try {
    response = await fetch(versioned, { integrity: `sha256-${sha256}` });
  } catch {
    response = await fetch(versioned); // without a connection it fails again, and says so
    const none = `${name}: expected a file of the bundle, found none (HTTP status ${response.status})`;
    throw new Error(response.ok ? damaged : none);
  }
  return new Uint8Array(await response.arrayBuffer());
}
