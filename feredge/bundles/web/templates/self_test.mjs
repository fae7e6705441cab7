// node self_test.mjs: does each module answer the drawn images as LiteRT does? Ends with 1 if not.
import { load } from "./feredge.js";

for (const build of ["relaxed", "simd", "plain"]) {
  try {
    const problem = await (await load({ build })).selfTest();
    console.log(`${build}: ${problem ?? "all images are answered as LiteRT answers them"}`);
    process.exitCode ||= problem ? 1 : 0;
  } catch (error) {
    const unknown = error instanceof WebAssembly.CompileError;
    console.log(`${build}: ${unknown ? "skipped, this engine has no such instructions" : error.message}`);
    process.exitCode ||= unknown ? 0 : 1;
  }
}
