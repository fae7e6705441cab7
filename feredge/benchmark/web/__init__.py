"""Files in WebAssembly runtimes, measured in a page of headless Chromium."""
