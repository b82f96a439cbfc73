"""usage: page.py URL KEY BROWSER FOLDER

Uses the page at URL, whose server asks for KEY, in a headless BROWSER, and leaves screenshots in FOLDER: it asks for the
key; an answer streams, meanwhile the gauges move and the map has the colour of the request; an answer can be stopped;
errors are the server's words; answers are text, never markup; every state of the server is told; a hidden tab asks
nothing; nothing comes from outside; the console stays clean; nothing is wider than a phone. Exit status 1 when not so.
"""
import json
import pathlib
import re
import sys

from playwright.sync_api import sync_playwright

LONGEST_S = 240  # of a step; long for a busy machine
PROMPT = "Write a long story about a bridge, an engineer and a storm. Tell of every day of a whole year."

# Notes, in the page itself, what it shows from now on.
WATCH = """() => {
  const text = (id) => document.getElementById(id).innerText;
  // Pixels of each map that have the colour of a request in the table: [request][rank].
  window.owned = () => Array.from(document.querySelectorAll('#requests .key'), (key) => Array.from(document.querySelectorAll('canvas'), (map) => {
    if (!map.width || !map.height) return 0;  // while the browser lays out anew
    const copy = new OffscreenCanvas(map.width + 1, map.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(map, 0, 0);
    copy.fillStyle = getComputedStyle(key).backgroundColor;
    copy.fillRect(map.width, 0, 1, 1);
    const [red, green, blue] = copy.getImageData(map.width, 0, 1, 1).data, {data} = copy.getImageData(0, 0, map.width, map.height);
    let pixels = 0;
    for (let i = 0; i < data.length; i += 4) pixels += data[i] === red && data[i + 1] === green && data[i + 2] === blue;
    return pixels;
  }));
  window.seen = {lengths: 0, running: {}, owned: 0, gauges: {}};
  new MutationObserver(() => { ++seen.lengths; }).observe(document.getElementById('answer'), {characterData: true, subtree: true});
  setInterval(() => {
    seen.running[text('running')] = true;
    seen.owned = Math.max(seen.owned, ...owned().flat());
    for (const id of ['ttft', 'itl', 'decode', 'prefill']) if (/[1-9]/.test(text(id))) seen.gauges[id] = text(id);
  }, 200);
}"""
# Three requests at once, of 100 to 400 tokens, until `crowd` is aborted. A browser has six connections to a server: the
# page needs some of them.
CROWD = """(key) => {
  window.crowd = new AbortController();
  for (let i = 1; i <= 3; ++i) {
    fetch('v1/completions', {method: 'POST', signal: crowd.signal, headers: {'Content-Type': 'application/json', Authorization: `Bearer ${key}`},
      body: JSON.stringify({prompt: 'The bridge, the engineer and the storm. '.repeat(15 * i), max_tokens: 1000, stream: true, ignore_eos: true})}).catch(() => {});
  }
}"""


def check(condition, what):
    if not condition:
        print(f"FAILED: {what}")
        sys.exit(1)
    print(what, flush=True)


class Page:
    """The page, what its console said, and whom it asked."""

    def __init__(self, browser, url, folder):
        self.url, self.folder = url, folder
        self.tab = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        self.tab.set_default_timeout(LONGEST_S * 1000)
        self.errors, self.requests = [], []
        self.tab.on("console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))

    def text(self, name):
        return self.tab.locator(f"#{name}").inner_text()

    def wait(self, condition):
        """Until that JavaScript expression holds."""
        self.tab.wait_for_function(condition, polling=100)

    def wait_text(self, name, pattern):
        self.wait(f"() => new RegExp({json.dumps(pattern)}).test(document.getElementById('{name}').innerText)")

    def ask(self, prompt, kind="Chat", max_tokens=100):
        self.tab.get_by_label(kind).check(force=True)
        self.tab.get_by_label("Max tokens").fill(str(max_tokens))
        self.tab.get_by_label("Temperature").fill("0")
        self.tab.get_by_label("Prompt", exact=True).fill(prompt)
        self.tab.get_by_label("Prompt", exact=True).press("Control+Enter")

    def screenshot(self, name):
        self.tab.screenshot(path=self.folder / f"{name}.png", full_page=True)

    def check_console(self, what):
        check(not self.errors, f"no errors in the console {what}{': ' if self.errors else ''}{'; '.join(self.errors)}")


def unlock(page, key):
    page.tab.goto(page.url)
    page.wait_text("state", "^ready$")
    page.tab.get_by_label("This server asks for an API key").fill("wrong")
    page.tab.get_by_role("button", name="Use it").click()
    page.wait_text("refusal", "key")
    page.tab.get_by_label("This server asks for an API key").fill(key)
    page.tab.get_by_role("button", name="Use it").click()
    page.wait_text("running", r"^\d")
    check(page.tab.locator("#locked").is_hidden(), "a key unlocks the page")
    # The browser itself tells of 503, while the model was loaded, and of 401.
    page.errors = [error for error in page.errors if not re.search("status of (401|503)", error)]
    page.check_console("but for refused calls")


def watch_answer(page):
    page.tab.evaluate(WATCH)
    page.ask(PROMPT)
    page.wait("() => document.getElementById('stop').disabled && Object.keys(seen.gauges).length === 4")
    seen, numbers = page.tab.evaluate("seen"), page.text("numbers")
    check(seen["lengths"] > 5, f"the answer grew {seen['lengths']} times, to {len(page.text('answer'))} characters")
    check("1" in seen["running"], f"running requests seen: {list(seen['running'])}")
    check(seen["owned"] > 10, f"the map has {seen['owned']} pixels of the request's colour")
    print(f"gauges seen: {seen['gauges']}")
    check(re.fullmatch(r"first token after [\d.]+ m?s · [\d.,]+ tokens/s · [\d,]+ tokens · (complete|ended at max tokens)", numbers),
          f"figures of the answer: {numbers}")
    page.wait_text("running", "^0$")
    page.wait_text("requests", "^None")
    check(re.match(r"[\d.]+ [KMGT]iB$", page.text("headroom")), f"headroom: {page.text('headroom')}, {page.text('headroom-more')}")


def watch_crowd(page, key):
    """Several requests: each has a colour of its own on both ranks, and nothing is left when they go away."""
    page.tab.evaluate(CROWD, key)
    page.wait("() => { const pixels = owned(); return pixels.length === 3 && pixels.flat().every((p) => p > 10); }")
    check(page.text("running") == "3", f"3 requests: {page.text('running-more')}; each has its colour on both ranks")
    page.screenshot("light")
    page.tab.emulate_media(color_scheme="dark")
    page.tab.wait_for_timeout(1500)  # the maps follow with the next poll
    page.screenshot("dark")
    page.tab.evaluate("crowd.abort()")
    page.tab.emulate_media(color_scheme="light")
    page.wait_text("running", "^0$")
    in_use = page.tab.locator("#maps").inner_text()
    check(len(re.findall(r"\b0 in use \+ 0 reserved of", in_use)) == 2, "no page is left in use")


def stop_answer(page):
    page.ask(PROMPT, "Completion", 2000)
    page.wait("() => document.getElementById('answer').innerText.length > 30")
    page.tab.get_by_role("button", name="Stop").click()
    page.wait_text("numbers", "stopped$")
    page.wait_text("running", "^0$")
    check(not page.text("problem"), "an answer can be stopped")


def read_errors(page):
    page.ask("Hello", max_tokens=100_000_000)
    page.wait_text("problem", ".")
    check("100000000" in page.text("problem").replace(",", ""), f"the server's words: {page.text('problem')}")
    page.errors.clear()


def read_markup(page):
    markup = "<img src=x onerror=alert(1)>&amp;"
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in (markup[:7], markup[7:])]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    page.tab.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    page.ask("Hello")
    page.wait("() => document.getElementById('send').disabled === false && document.getElementById('answer').innerText.length > 10")
    check(page.text("answer") == markup, "an answer with markup is shown as text")
    page.tab.unroute("**/v1/chat/completions")


def read_state(page, health, words):
    """What the page shows when /health says that; None: when nothing answers."""
    name = health["status"] if health else "unreachable"
    page.tab.route("**/health", lambda route: route.fulfill(status=503, json=health) if health else route.abort())
    page.wait_text("state", f"^{name}$")
    check(words in page.text("banner") and page.tab.locator("#send").is_disabled(), f"{name}: {page.text('banner')}")
    page.screenshot(name)
    page.tab.unroute("**/health")


def read_states(page):
    read_state(page, {"status": "loading", "progress": 0.42, "model": "m"}, "42 %")
    read_state(page, {"status": "draining", "model": "m"}, "shutting down")
    read_state(page, {"status": "failed", "reason": "rank 1 on <b>node-2</b>", "model": "m"}, "rank 1 on <b>node-2</b>")
    read_state(page, None, "reached")
    page.wait_text("state", "^ready$")
    check(page.tab.locator("#banner").is_hidden(), "ready again")
    page.errors.clear()


def hide(page):
    def set_hidden(hidden):
        page.tab.evaluate("hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
                          "document.dispatchEvent(new Event('visibilitychange')); }", hidden)
    set_hidden(True)
    page.tab.wait_for_timeout(1500)  # what was on its way
    before = len(page.requests)
    page.tab.wait_for_timeout(2500)
    check(len(page.requests) == before, "a hidden tab asks nothing")
    with page.tab.expect_request("**/v1/cluster"):
        set_hidden(False)


def main():
    url, key, executable, folder = sys.argv[1:]
    folder = pathlib.Path(folder)
    for old in folder.glob("*.png"):
        old.unlink()
    with sync_playwright() as library:
        # The sandbox needs rights that containers and root lack; the pages are our own.
        browser = library.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = Page(browser, url, folder)
        unlock(page, key)
        watch_answer(page)
        watch_crowd(page, key)
        stop_answer(page)
        page.check_console("while answers came")
        read_errors(page)
        read_markup(page)
        page.check_console("after an answer with markup")
        read_states(page)
        hide(page)
        page.tab.set_viewport_size({"width": 390, "height": 844})
        page.tab.wait_for_timeout(1200)
        page.screenshot("phone")
        widest = page.tab.evaluate("document.documentElement.scrollWidth")
        check(widest <= 390, f"{widest} pixels wide on a phone of 390")
        page.check_console("in the end")
        outside = [asked for asked in page.requests if not asked.startswith((url, "data:"))]
        check(not outside, f"nothing asked outside{': ' if outside else ''}{', '.join(outside)}")
        browser.close()
    print(f"screenshots: {folder}")


main()
