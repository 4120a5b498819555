#!/usr/bin/env python3
"""devstack's page in a headless Chromium: page.py DEVSTACK [--images DIR]. Figures move, the graph draws, faults show and end.

With --images, the pictures of the README are made anew.
"""
import re, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from blackbox.browser import Browser  # noqa: E402

SIDE_BY_SIDE = "(document.getElementById('agent').offsetTop === document.getElementById('store').offsetTop)"
WIDTHS = "document.documentElement.scrollWidth + ' ' + [...document.querySelectorAll('.part')].map(part => part.offsetWidth)"
PARTS = ("provider", "vmauth", "vmagent", "store")


def start(binary):
    flags = ["-httpListenAddr=127.0.0.1:0", *(f"-{part}Addr=127.0.0.1:0" for part in PARTS)]
    process = subprocess.Popen([binary, *flags], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if page := re.match(r"  page +(http://\S+)", line):
            return process, page.group(1)
    raise SystemExit("devstack does not say where its page is")


def card(part):
    return f"document.querySelector('#{part} .state').textContent"


def row(part, name):
    return f"[...document.querySelectorAll('#{part} dt')].find(dt => dt.textContent === '{name}').nextSibling.textContent"


def click(fault):
    return f"document.querySelector('[data-fault={fault}]').click()"


def steps(browser):
    """What is done, and what has to be true soon after."""
    yield "all parts are up", None, f"['provider', 'agent', 'proxy', 'store'].every(part => document.querySelector('#' + part + ' .state').textContent === 'up')"
    yield "the tenant has samples", None, "+document.querySelector('#tenants tr td:nth-child(3)')?.textContent > 0 && document.querySelector('#tenants td').textContent === '0:0'"
    yield "the graph draws both programs", None, "document.querySelectorAll('#graph path').length === 2 && /vm_app_version/.test(document.getElementById('legend').textContent)"
    yield "the graph grows", None, "document.querySelector('#graph path').getAttribute('d').includes('L')"
    yield "samples flow", None, "document.getElementById('to-store').classList.contains('live')"
    query = "document.forms.query.elements.expr.value = '{}'; document.forms.query.requestSubmit()"
    yield "a wrong query says what there is", query.format("avg(up)"), "document.getElementById('error').textContent.includes('sum by (label)')"
    yield "a sum draws one line", query.format("sum(up)"), "document.querySelectorAll('#graph path').length === 1 && !document.getElementById('error').textContent"
    yield "a store that is down shows", click("store-down"), f"{card('store')} === 'down' && document.getElementById('store').classList.contains('bad')"
    yield "its button is on", None, "document.querySelector('[data-fault=store-down]').classList.contains('on')"
    yield "what waits shows", None, f"{row('agent', 'waiting')} !== '0 B'"
    yield "the agent tries again", None, f"+{row('agent', 'retries')} > 0"
    yield "the proxy counts failures of the backend", None, f"{row('proxy', 'refused')}.includes('backend')"
    yield "the store comes back", click("store-down"), f"{card('store')} === 'up' && !document.getElementById('store').classList.contains('bad')"
    yield "the agent has caught up", None, f"{row('agent', 'waiting')} === '0 B' && document.getElementById('to-store').classList.contains('live')"
    before = browser.run(row("provider", "key"))
    yield "a new key signs", click("rotate-key"), f"{row('provider', 'key')}.endsWith(' of 2') && !{row('provider', 'key')}.startsWith('{before}')"
    yield "another tenant is written to", click("wrong-tenant"), "[...document.querySelectorAll('#tenants td:first-child')].some(td => td.textContent === '1:2')"
    yield "nothing was dropped", None, f"{row('agent', 'dropped')} === '0'"


def main():
    binary, images = sys.argv[1], Path(sys.argv[3]) if sys.argv[2:3] == ["--images"] else None
    process, page = start(binary)
    passed = failed = 0

    def check(what, good, seen=""):
        nonlocal passed, failed
        passed, failed = passed + bool(good), failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {seen}"))

    browser = Browser(1120, 860)
    try:
        browser.open(page)
        for what, action, condition in steps(browser):
            if action:
                browser.run(action)
            value = browser.wait(condition, 60)
            check(what, value is True, f"{value} for {condition}; the page says {browser.run('document.body.innerText')!r}")
        check("its parts stand side by side", browser.run(SIDE_BY_SIDE), browser.run(WIDTHS))
        browser.call("Emulation.setDeviceMetricsOverride", width=420, height=860, deviceScaleFactor=1, mobile=False)
        value = browser.wait(f"!{SIDE_BY_SIDE} && document.documentElement.scrollWidth <= 420")
        check("a narrow window shows them below each other, and all of them", value is True, browser.run(WIDTHS))
        browser.call("Emulation.setDeviceMetricsOverride", width=1120, height=860, deviceScaleFactor=1, mobile=False)
        # A refused query is a line of the console too, and the only one.
        faults = [fault for fault in browser.complaints if "query_range" not in fault]
        check("nothing is red in the console", not faults, faults)
        if images:
            browser.run(click("wrong-tenant"))
            browser.run("document.forms.query.elements.expr.value = 'sum by (instance) (rate(process_cpu_seconds_total[15s]))'")
            time.sleep(45)  # for a picture with something in it
            browser.screenshot(images / "devstack-page.png")
    finally:
        browser.close()
        process.terminate()
        code = process.wait(60)
    check("devstack ends in order", code == 0, code)
    print(f"devstack page: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
