"""The web bundle: WebAssembly modules, an ES module, and a page that works from any web server."""
