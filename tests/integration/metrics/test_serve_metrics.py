"""``labctl serve-metrics``, scraped by the real Prometheus.

Three hosts: a light box with simulated cards, one that refuses, one that accepts and says nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from virtual_lab import Lab, MakeLab, until

from labctl.metrics.grafana import dashboard

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parents[3]
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(
    not (PROMETHEUS and PROMTOOL), reason="Debian's package prometheus is not installed"
)


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Iterator[Lab]:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        port = silent.getsockname()[1]
        # Nobody listens on port 1 (tcpmux) of the loopback interface.
        one = make_lab(
            "version: 1\nhosts:\n"
            "  dead: {address: 127.0.0.1, port: 1}\n"
            f"  silent: {{address: 127.0.0.1, port: {port}}}\n"
        )
        one.labctl("lab", "fleet", "1", "--gpus", "shared")
        yield one
        one.down()


@pytest.fixture(scope="module")
def metrics(lab: Lab) -> Iterator[str]:
    """Return where the metrics of all three hosts are served."""
    process = lab.start(
        "serve-metrics", "all", "--listen", "127.0.0.1:0", "--every", "1s", "--timeout", "600",
        "--json",
    )  # fmt: skip
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            break
    said = json.loads(text)
    assert said["schema"] == "labctl.serve-metrics/1"
    assert said["hosts"] == ["dead", "silent", "fleet01"]
    yield said["url"]
    process.terminate()
    assert process.wait(60) == 0


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def test_a_light_box_shows_cards_and_says_that_they_are_simulated(lab: Lab) -> None:
    (host,) = lab.json("gpu", "fleet01")["hosts"]
    assert [unit["state"] for unit in host["units"]] == ["free", "free", "ghost"]
    assert all(unit["model"].endswith("(simulated)") for unit in host["units"])
    script = (
        "useradd ada && cp /bin/sleep /usr/local/bin/train\n"
        "setsid su ada -c 'exec train 600' >/dev/null 2>&1 </dev/null &\n"
        "until pgrep -x train; do sleep 0.05; done"
    )
    assert lab.sh("fleet01", script)[0] == 0
    (host,) = lab.json("gpu", "fleet01")["hosts"]
    assert [unit["state"] for unit in host["units"]] == ["busy", "free", "ghost"]
    assert host["units"][0]["who"].startswith("ada train")
    found = json.loads(lab.labctl("check", "fleet01", "--json", check=False).stdout)["hosts"][0]
    wrong = {one["rule"] for one in found["findings"] if one["rule"].startswith(("driver", "card"))}
    assert not wrong
    # What programs that load NVML find is the same library.
    loaded = "ldconfig -p | grep -c libnvidia-ml; grep -c simulated /usr/lib/*/libnvidia-ml.so.1"
    assert "1" in lab.sh("fleet01", loaded)[1].split()


@needs_prometheus
def test_no_scrape_waits_for_a_host_and_promtool_has_nothing_to_say(metrics: str) -> None:
    until(lambda: 'labctl_gpu_state{gpu="2",host="fleet01",state="ghost"} 1.0' in get(metrics))
    until(lambda: 'labctl_check_up{host="dead"} 0.0' in get(metrics))
    text = get(metrics)
    assert 'labctl_readings_total{about="check",host="silent"} 0.0' in text
    assert 'labctl_reading_age_seconds{about="check",host="silent"}' not in text
    done = subprocess.run(
        [PROMTOOL or "", "check", "metrics"], input=text, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_prometheus
def test_the_alerts_in_the_docs_are_rules(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    (rules,) = re.findall(r"```yaml\n(groups:.*?)```", page, re.DOTALL)
    file = tmp_path / "rules.yml"
    file.write_text(rules)
    done = subprocess.run(
        [PROMTOOL or "", "check", "rules", str(file)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def ask(metrics: str, tmp_path: Path) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Return a function that asks a Prometheus which scrapes ``metrics``."""
    config = tmp_path / "prometheus.yml"
    target = urllib.parse.urlsplit(metrics).netloc
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"  - {{job_name: labctl, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    log = (tmp_path / "log").open("wb")
    command = [
        PROMETHEUS or "", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={where}",
    ]  # fmt: skip

    def query(expr: str) -> list[dict[str, Any]]:
        words = urllib.parse.urlencode({"query": expr})
        answer = json.loads(get(f"http://{where}/api/v1/query?{words}"))
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:

            def answers() -> bool:
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    return bool(query("labctl_gpu_state"))
                except OSError:
                    return False

            until(answers)
            yield query
        finally:
            process.terminate()


@needs_prometheus
def test_the_real_prometheus_scrapes_it_and_answers_the_dashboard(
    ask: Callable[[str], list[dict[str, Any]]],
) -> None:
    def value(expr: str) -> dict[str, str]:
        return {one["metric"].get("host", ""): one["value"][1] for one in ask(expr)}

    until(lambda: value("labctl_check_up") == {"dead": "0", "fleet01": "1"})
    assert value('up{job="labctl"}') == {"": "1"}
    assert value("labctl_gpu_up") == {"dead": "0", "fleet01": "1"}
    assert value('labctl_gpu_memory_size_bytes{gpu="1"}') == {"fleet01": str(40 << 30)}
    # Counters and words have the types that Prometheus counts with.
    rate = 'rate(labctl_readings_total{about="gpu"}[1m])'
    until(lambda: float(value(rate).get("fleet01", 0)) > 0)
    panels = json.loads(dashboard())["panels"]
    exprs = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    answered = {expr: ask(expr.replace("$host", ".*")) for expr in exprs}
    (timeline,) = [found for expr, found in answered.items() if "* 7" in expr]
    states = {one["metric"]["gpu"]: one["value"][1] for one in timeline}
    assert states["1"] == "1"  # free
    assert states["2"] == "4"  # ghost
    (people,) = [found for expr, found in answered.items() if "group_left" in expr]
    assert {one["metric"]["model"] for one in people} == {"NVIDIA A100-SXM4-40GB (simulated)"}
