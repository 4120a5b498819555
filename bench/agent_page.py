#!/usr/bin/env python3
"""Peak memory of the agent over one page: of a thousand samples, then of a million.

    bench/agent_page.py --bin target/release/vmagent [--samples 1000000]

The target sends the page in pieces, as an exporter does; the remote takes everything. With `stream_parse` memory
has to follow the piece and not the page: the two peaks are printed side by side, with the time of the scrape. Every sample has to arrive.
"""
import argparse, http.server, re, socket, subprocess, tempfile, threading, time, urllib.request
from pathlib import Path


def page(samples):
    """Pieces of a page; labels as exporters have them."""
    lines = []
    for number in range(samples):
        lines.append(f'node_subsystem_{number // 1000}_bytes_total{{device="/dev/mapper/vg{number % 100}-lv{number}",fstype="ext4",mode="{number % 7}"}} {number * 2654435761 % 10**9}\n')
        if len(lines) == 2000:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()


class Target(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    samples = 0

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in page(self.samples):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


class Remote(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def measure(binary, samples):
    """Peak in MiB, seconds of the scrape."""
    Target.samples = samples
    with tempfile.TemporaryDirectory() as folder:
        port, config = free_port(), Path(folder) / "scrape.yml"
        config.write_text(f"""
global: {{scrape_interval: 10m, scrape_timeout: 5m}}
scrape_configs:
- job_name: big
  stream_parse: true
  no_stale_markers: true
  max_scrape_size: 1GiB
  scrape_align_interval: 1s
  static_configs: [{{targets: ["127.0.0.1:{serve(Target)}"]}}]
""")
        args = [binary, f"-promscrape.config={config}", f"-httpListenAddr=127.0.0.1:{port}", f"-remoteWrite.url=http://127.0.0.1:{serve(Remote)}/w",
                f"-remoteWrite.tmpDataPath={folder}/data", "-loggerLevel=ERROR"]
        agent = subprocess.Popen(args)
        try:
            wanted, end = samples, time.monotonic() + 600
            while time.monotonic() < end:
                time.sleep(0.2)
                try:
                    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
                except OSError:
                    continue
                metric = lambda name: sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))
                if metric("vmagent_remotewrite_rows_pushed_after_relabel_total") >= wanted and not metric("vmagent_remotewrite_pending_inmemory_blocks"):
                    status = Path(f"/proc/{agent.pid}/status").read_text()
                    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024, metric("vm_promscrape_scrape_duration_seconds_sum")
            raise SystemExit("not all samples have arrived")
        finally:
            agent.terminate()
            agent.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--samples", type=int, default=1_000_000)
    args = parser.parse_args()
    for samples in (1000, args.samples // 10, args.samples):
        peak, seconds = measure(args.bin, samples)
        print(f"{samples:>9} samples: {peak:6.1f} MiB peak, scraped in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
