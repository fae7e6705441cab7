"""What tests of HTML pages share: balanced elements, contrast, a tiny picture."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import chromium

PNG_BYTES = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
VOID_ELEMENTS = {"meta", "link", "input", "img", "br", "wbr", "hr"}
CONTRAST_SCRIPT = """
(() => {
  const parse = (color) => { const [r, g, b, alpha = 1] = color.match(/[\\d.]+/g).map(Number);
    return color.startsWith('color(') ? [255 * r, 255 * g, 255 * b, alpha] : [r, g, b, alpha]; };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const linear = (value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const behind = (node) => { const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]); };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())) continue;
    if (!node.getClientRects().length || node.closest('svg, script, .skip, noscript')) continue;
    const style = getComputedStyle(node), under = behind(node);
    const a = light(over(parse(style.color), under)), b = light(under);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} ${node.textContent.trim()}`);
  }
  return poor;
})()
"""


class ElementBalance(HTMLParser):
    """Checks that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Remember an opened element."""
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def check_contrast(page: chromium.Page) -> None:
    """Assert that every text has a contrast of at least 4.5 to 1 (WCAG AA)."""
    assert page.run(CONTRAST_SCRIPT) == []
