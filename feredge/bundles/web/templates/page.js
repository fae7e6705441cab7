// The page: a picture or the webcam, the square that is classified, and the answer.
import { load, network } from "./feredge.js";

const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), brush = canvas.getContext("2d"), video = document.createElement("video");
const sliders = [$("left"), $("top"), $("size")];
const ANNOUNCEMENT_MS = 1000; // a screen reader speaks no faster
const MODELS = $MODELS; // by runtime
const BUILDS = { relaxed: "WebAssembly with relaxed SIMD", simd: "WebAssembly with SIMD", plain: "WebAssembly without SIMD" };
let net, runtime, picture, stream, detector, drag;
let announced = { label: "", at: 0 };

/** Run a step; its error becomes one sentence on the page. */
async function attempt(step) {
  try {
    $("error").textContent = "";
    return await step();
  } catch (error) {
    $("error").textContent = error.message;
  }
}

async function start() {
  $("summary").className = "";
  $("summary").textContent = `Answers ${network.classes.join(", ")}.`;
  net = await load({ build: new URLSearchParams(location.search).get("build") ?? undefined });
  $("about").textContent = `${BUILDS[net.build]}. Pictures stay in this browser.`;
  if (net.build === "plain") {
    $("about").textContent += " This browser has no WebAssembly SIMD, so an answer takes about ten times as long.";
  }
  $("file").disabled = $("camera").disabled = $("test").hidden = $("choice").hidden = false;
  if ("FaceDetector" in globalThis) {
    detector = new FaceDetector({ fastMode: true, maxDetectedFaces: 1 });
    $("follow").hidden = false;
  }
}

/** Keep the page for visits without a connection, where the browser allows it: https and localhost. */
async function keep() {
  try {
    await navigator.serviceWorker.register(`./sw.js?build=${net.build}`);
    await navigator.serviceWorker.ready;
    $("about").textContent += " From now on it works without a connection.";
  } catch {
    $("about").textContent += " It needs a connection.";
  }
}

const box = () => ({ x: +$("left").value, y: +$("top").value, width: +$("size").value, height: +$("size").value });

function setBox(x, y, size) {
  const { width, height } = canvas;
  const side = Math.round(Math.min(Math.max(size, 1), Math.min(width, height)));
  const values = [Math.min(Math.max(x, 0), width - side), Math.min(Math.max(y, 0), height - side), side];
  [width - side, height - side, Math.min(width, height)].forEach((most, index) => (sliders[index].max = most));
  sliders.forEach((slider, index) => (slider.value = Math.round(values[index])));
}

/** Take a picture or a running video, with the largest square in its middle. */
function take(source, width, height) {
  picture = source;
  Object.assign(canvas, { width, height });
  $("stage").querySelector("p").hidden = true;
  canvas.hidden = $("box").hidden = $("table").hidden = false;
  const side = Math.min(width, height);
  setBox((width - side) / 2, (height - side) / 2, side);
}

/** Answer the square, in the runtime that was chosen. */
async function predict(square) {
  if (!runtime) {
    return net.predict(picture, { box: square });
  }
  const scores = await runtime(net.input(picture, { box: square }).slice());
  const confidence = Math.max(...scores);
  return { label: network.classes[scores.indexOf(confidence)], confidence, scores };
}

async function chooseRuntime() {
  const name = $("runtime").value;
  runtime = undefined;
  try {
    if (name) {
      const { openRuntime } = await import("./runtimes.js");
      const shape = [1, network.height, network.width, network.channels];
      runtime = await openRuntime(name, new URL(MODELS[name], location.href), shape);
    }
  } catch (error) {
    $("runtime").value = "";
    throw error;
  }
  if (picture && !stream) {
    await show();
  }
}

async function show() {
  const square = box(), line = Math.max(2, canvas.width / 200);
  brush.drawImage(picture, 0, 0);
  const prediction = await predict(square);
  brush.lineWidth = 2 * line;
  brush.strokeStyle = "#fff";
  brush.strokeRect(square.x, square.y, square.width, square.height);
  brush.lineWidth = line;
  brush.strokeStyle = "#d55e00";
  brush.strokeRect(square.x, square.y, square.width, square.height);
  list(prediction);
}

function list({ label, confidence, scores }) {
  const text = `${label}, ${Math.round(confidence * 100)} %`;
  $("label").textContent = text;
  const now = performance.now();
  if (label !== announced.label && (!stream || now - announced.at > ANNOUNCEMENT_MS)) {
    announced = { label, at: now };
    $("status").textContent = text;
  }
  scores.forEach((score, index) => {
    const row = $("table").tBodies[0].rows[index] ?? addRow(network.classes[index]);
    row.querySelector("meter").value = score;
    row.cells[2].textContent = `${(score * 100).toFixed(1)} %`;
  });
}

function addRow(name) {
  const row = $("table").tBodies[0].insertRow();
  const head = row.appendChild(document.createElement("th"));
  head.scope = "row";
  head.textContent = name;
  const meter = document.createElement("meter");
  meter.setAttribute("aria-label", name);
  row.insertCell().append(meter);
  row.insertCell();
  return row;
}

async function follow() {
  if (!$("detect").checked) {
    return;
  }
  let face;
  try {
    [face] = await detector.detect(picture);
  } catch (error) {
    $("detect").checked = false;
    throw new Error(`expected a browser that finds faces, found none (${error.message}); set the square by hand`);
  }
  if (face) {
    const { x, y, width, height } = face.boundingBox;
    const side = Math.max(width, height);
    setBox(x + (width - side) / 2, y + (height - side) / 2, side);
  }
}

async function open(blob) {
  stop();
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error("expected a picture that this browser can decode, found another file");
  }
  take(bitmap, bitmap.width, bitmap.height);
  await follow();
  await show();
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    throw new Error("expected a page from https or localhost: browsers give others no camera");
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, frameRate: { ideal: 60 } } });
  } catch (error) {
    throw new Error(`expected a camera, found none that may be used (${error.message || error.name})`);
  }
  $("camera").textContent = "Stop the webcam";
  Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  take(video, video.videoWidth, video.videoHeight);
  nextFrame();
}

function nextFrame() {
  const current = stream;
  const request = video.requestVideoFrameCallback?.bind(video) ?? requestAnimationFrame;
  request(async () => {
    if (current && current === stream) {
      await attempt(async () => {
        await follow();
        await show();
      });
      nextFrame();
    }
  });
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  $("camera").textContent = "Start the webcam";
}

/** A pointer's place in pixels of the picture. */
function place(event) {
  const scale = canvas.width / canvas.clientWidth;
  return { x: event.offsetX * scale, y: event.offsetY * scale };
}

const redraw = () => picture && !stream && attempt(show);
$("camera").onclick = () => (stream ? stop() : attempt(startCamera));
$("file").onchange = (event) => event.target.files[0] && attempt(() => open(event.target.files[0]));
$("box").oninput = () => {
  setBox(...sliders.map((slider) => +slider.value));
  redraw();
};
$("detect").onchange = () => picture && !stream && attempt(async () => (await follow(), await show()));
canvas.onpointerdown = (event) => {
  drag = place(event);
  canvas.setPointerCapture(event.pointerId);
};
canvas.onpointermove = (event) => {
  if (drag) {
    const { x, y } = place(event);
    setBox(Math.min(x, drag.x), Math.min(y, drag.y), Math.max(Math.abs(x - drag.x), Math.abs(y - drag.y)));
    redraw();
  }
};
canvas.onpointerup = canvas.onpointercancel = () => (drag = null);
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("stage").className = "over";
});
addEventListener("dragleave", () => ($("stage").className = ""));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("stage").className = "";
  event.dataTransfer.files[0] && attempt(() => open(event.dataTransfer.files[0]));
});
addEventListener("paste", (event) => event.clipboardData.files[0] && attempt(() => open(event.clipboardData.files[0])));
$("runtime").onchange = () => attempt(chooseRuntime);
$("test").onclick = () => attempt(async () => {
  const problem = await net.selfTest();
  $("result").textContent = problem ?? "All 32 drawn images are answered as LiteRT answers them.";
});
await attempt(start);
if (net && new URLSearchParams(location.search).has("self-test")) {
  await $("test").onclick();
}
if (net) {
  await keep();
}
