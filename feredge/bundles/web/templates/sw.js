// Keeps the page and the network for visits without a connection. With one, the server's files come first.
const CACHE = `feredge ${registration.scope} $VERSION`;
const VERSIONS = $VERSIONS;
const module = `feredge-${new URL(location.href).searchParams.get("build")}.wasm`;
const FIRST_VISIT = ["./", "page.js", "feredge.js", `${module}?v=${encodeURIComponent(VERSIONS[module])}`];
const FILES = new Set(["", "index.html", "page.js", "feredge.js", ...Object.keys(VERSIONS)]);

addEventListener("install", (event) => {
  // The page has just read these: the server is asked only whether they have changed.
  const requests = FIRST_VISIT.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(removeOld().then(() => clients.claim()));
});

async function removeOld() {
  const old = (await caches.keys()).filter((name) => name.startsWith(`feredge ${registration.scope} `) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const name = url.startsWith(registration.scope) ? new URL(url).pathname.slice(new URL(registration.scope).pathname.length) : null;
  if (method === "GET" && FILES.has(name)) {
    event.respondWith(answer(event.request));
  }
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) {
      await cache.put(request, response.clone());
    }
    return response;
  } catch (error) {
    const page = request.mode === "navigate"; // its query chooses a module, or a self-test
    const stored = await cache.match(page ? "./" : request);
    if (!stored) {
      throw error;
    }
    return stored;
  }
}
