/** A picture: its pixels are read as the network needs them. In Node: `{ data, width, height }` with RGBA bytes. */
export type Picture =
  | CanvasImageSource
  | OffscreenCanvas
  | { readonly data: Uint8Array | Uint8ClampedArray; readonly width: number; readonly height: number };

/** In the picture's pixels; a DOMRect is one. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Prediction {
  /** The class of the highest probability. */
  readonly label: string;
  /** Its probability, 0 to 1. */
  readonly confidence: number;
  /** The probability of every class, in the order of `classes`. */
  readonly scores: readonly number[];
  /** The same by class name. */
  readonly probabilities: Readonly<Record<string, number>>;
}

/** WebAssembly features of a module: relaxed SIMD, SIMD, neither. All give the same bits. */
export type Build = "relaxed" | "simd" | "plain";

export interface Network {
  readonly name: string;
  readonly classes: readonly string[];
  readonly height: number;
  readonly width: number;
  /** 1: gray, 3: RGB. */
  readonly channels: 1 | 3;
}

export interface Net extends Network {
  readonly build: Build;
  /**
   * Classify a picture, or the square around `box` in it; or the network's input, uint8 (height, width, channels).
   * @throws Error with one sentence: a picture without pixels, or of another site, or a box outside of it.
   */
  predict(picture: Picture | Uint8Array | Uint8ClampedArray, options?: { box?: Box }): Prediction;
  /** The input that `predict` makes of a picture, until the next call: for the same network in another runtime. */
  input(picture: Picture | Uint8Array | Uint8ClampedArray, options?: { box?: Box }): Uint8Array;
  /** Compare the answers to 32 drawn images with LiteRT's: null if all are equal, else one line. */
  selfTest(): Promise<string | null>;
}

export const network: Network;

/**
 * Load the network.
 * @throws Error with one sentence: no WebAssembly, or a file of the bundle that is missing or damaged.
 */
export function load(options?: { build?: Build }): Promise<Net>;
