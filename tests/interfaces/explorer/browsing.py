"""What the browser's tests look at: whether a page is ready, what it shows, how its colours stand out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """Where the explorer is served, and when it was up on this process's monotonic clock."""

    address: str
    up: float


SHOWN = """() => {
  const parts = ['annotations', 'shapes', 'images'];
  const figures = [...document.querySelectorAll('.js-plotly-plot')].map((g) => [g.data, parts.map((p) => g.layout[p])]);
  return JSON.stringify([figures, document.getElementById('findings').innerText]);
}"""
"""Everything a page shows for its values."""

QUIET = ".xtick text, .ytick text, .g-xtitle text, .g-ytitle text, .legendtext, .cbtitle text, .cbaxis text"
"""Texts of a figure that stand on the page's own ground."""

TEXTS = """(quiet) => {
  const seen = [];
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const c = parse(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] > 0.99) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const add = (node, colour, text) => {
    const style = getComputedStyle(node);
    const box = node.getBoundingClientRect();
    if (!text.trim() || style.visibility === 'hidden' || !box.width || box.right < 0) return;
    const large = parseFloat(style.fontSize);
    const seenAs = { colour: parse(colour), ground: ground(node), size: large, weight: +style.fontWeight };
    seen.push({ text: text.trim().slice(0, 40), ...seenAs });
  };
  const walk = document.createTreeWalker(document.querySelector('#shell'), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!node.closest('svg, option')) add(node, getComputedStyle(node).color, walk.currentNode.data);
  }
  const boxes = document.querySelectorAll('input[type=text], select');
  for (const node of boxes) add(node, getComputedStyle(node).color, node.value);
  for (const node of document.querySelectorAll(quiet)) add(node, getComputedStyle(node).fill, node.textContent);
  return seen;
}"""
"""Every visible text with its colour and what lies behind it."""


def ready(page, timeout=40_000):
    """Wait until the page has its answer and has drawn it."""
    page.wait_for_function("() => document.documentElement.dataset.state === 'ready'", timeout=timeout)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.graph')].every((g) => { const s = g.querySelector('.main-svg');"
        " return s && Math.abs(s.clientWidth - g.clientWidth) < 2; })",
        timeout=timeout,
    )
    return page


def shown(page):
    """Return everything the page shows for its values, as text."""
    return page.evaluate(SHOWN)


def changed(page, before, timeout=40_000):
    """Wait until the page shows something else than before, and is ready."""
    page.wait_for_function(f"(before) => ({SHOWN})() !== before", arg=before, timeout=timeout)
    return ready(page, timeout)


def luminance(colour):
    """Return the relative luminance of sRGB 0..255, as WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Return the contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(page, timeout=10_000):
    """Wait until the page has followed its colours and no text is faint; return those that stay so."""
    for _ in range(timeout // 100):
        if not faint(ready(page)):
            break
        page.wait_for_timeout(100)
    return faint(page)


def faint(page):
    """Return the texts of the page that miss WCAG AA: 4.5, or 3 where large."""
    found = []
    for one in page.evaluate(TEXTS, QUIET):
        large = one["size"] >= 24 or (one["size"] >= 18.66 and one["weight"] >= 700)
        ratio = contrast(one["colour"], one["ground"])
        if ratio < (3 if large else 4.5):
            found.append((one["text"], round(ratio, 2)))
    return found
