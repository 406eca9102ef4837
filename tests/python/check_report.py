"""Opens pages of `starfit report` in Chromium, light, dark and as narrow as a phone, and fails where one complains,
asks for anything, or is wider than its window.

    python3 check_report.py PAGE.html...

says `not tested` where there is no Chromium.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

NAMES = ["chromium", "chromium-browser", "google-chrome"]
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
    "--enable-logging=stderr", "--virtual-time-budget=3000", "--host-resolver-rules=MAP * ~NOTFOUND",
]
# What Chromium asks for on its own account, whatever is open.
ITS_OWN = {"accounts.google.com", "clients2.google.com", "update.googleapis.com"}
# Width, and whether it is dark. Windows cannot be narrower than 500, so a phone is a frame in one.
VIEWS = {"light": (1280, False), "dark": (1280, True), "phone": (390, False)}


def look(chromium, page, view, width, dark, folder):
    """What is wrong with a page at that width."""
    net = folder / "net.json"
    frame = folder / "frame.html"
    frame.write_text(
        f"<body style='margin:0'><iframe id=f src='{page.as_uri()}' style='border:0;width:{width}px;height:4000px'>"
        "</iframe><script>addEventListener('load', () => { const d = f.contentDocument;"
        "document.title = d ? d.documentElement.scrollWidth : 'unseen' })</script>"
    )
    command = [
        chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net}",
        "--allow-file-access-from-files", "--disable-web-security",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--window-size={max(width, 500)},4000",
        "--dump-dom", frame.as_uri(),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    complaints = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    title = ran.stdout.partition("<title>")[2].partition("</title>")[0]
    if not title.isdigit():
        complaints.append(f"its width is not known: {title!r}")
    elif int(title) > width:
        complaints.append(f"{title} pixels wide in a window of {width}")
    for event in json.loads(net.read_text())["events"]:
        url = str(event.get("params", {}).get("url", ""))
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname not in ITS_OWN:
            complaints.append(f"asks for {url}")
    return [f"{page.name}, {view}: {complaint}" for complaint in complaints]


def main():
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print("not tested: there is no Chromium")
        return 0
    complaints = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        bad = folder / "bad.html"
        bad.write_text(
            "<div style='width:3000px'>x</div><img src='http://127.0.0.1:9/x.png'><script>console.error('x')</script>"
        )
        for name, (width, dark) in VIEWS.items():
            found = look(chromium, bad, name, width, dark, folder)
            # The negative control: all three are seen.
            if not all(any(what in text for text in found) for what in ("wide", "asks for", "CONSOLE")):
                complaints.append(f"what is wrong with a bad page is not seen, {name}: {found}")
            for page in map(pathlib.Path, sys.argv[1:]):
                complaints += look(chromium, page.resolve(), name, width, dark, folder)
    print("\n".join(complaints) or f"{len(sys.argv) - 1} pages, light, dark and on a phone: nothing to complain about")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
