"""Checks what the files of deploy/ say together: what fits into which time, what is asked where, who may do what."""

import pathlib
import re
import secrets
import subprocess
import sys
import tempfile

import yaml
from compose_spec import PyCompose

NOTICE, SHUTDOWN, CLOSING = 5, 20, 5


def read(path):
    return pathlib.Path("deploy", path).read_text()


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m|min|h)?", str(text)).groups()
    return int(number) * {"s": 1, None: 1, "m": 60, "min": 60, "h": 3600}[unit]


def enough(what, text):
    assert seconds(text) >= NOTICE + SHUTDOWN + CLOSING, f"{what}: expected time for a whole stop, got {text}"


# The defaults of the server are what the files count with.
server = pathlib.Path("bin/tithe/src/config/server.rs").read_text()
for name, default in [("STOP_NOTICE", NOTICE), ("SHUTDOWN", SHUTDOWN)]:
    assert re.search(rf'"TITHE_{name}_SECONDS",\s+"[a-z_]+",\s+"{default}"', server), f"TITHE_{name}_SECONDS has another default"

compose = PyCompose.from_yaml(re.sub(r"\$\{(\w+):?[-?]?[^}]*\}", r"\1", read("compose.yml"))).to_dict()
tithe, database = compose["services"]["tithe"], compose["services"]["database"]
enough("compose.yml", yaml.safe_load(read("compose.yml"))["services"]["tithe"]["stop_grace_period"])
assert "service_healthy" in str(tithe["depends_on"]) and "pg_isready" in str(database["healthcheck"])
assert "postgres:17" in str(database["image"]) and "8402" in str(tithe["ports"]) and "127.0.0.1" in str(tithe["ports"])

items = [item for path in ["tithe.yaml", "secret.yaml"] for item in yaml.safe_load_all(read("kubernetes/" + path))]
manifests = {item["kind"]: item for item in items}
services = {item["metadata"]["name"]: item["spec"] for item in items if item["kind"] == "Service"}
assert len(items) == len(manifests) + len(services) - 1, [item["kind"] for item in items]
# What a server has seen of the database must outlast its pod.
spec = manifests["StatefulSet"]["spec"]
(volume,) = spec["volumeClaimTemplates"]
assert "volumes" not in spec["template"]["spec"], "every volume is one that lasts"
assert services[spec["serviceName"]]["clusterIP"] == "None"
pod = spec["template"]["spec"]
(container,) = pod["containers"]
enough("kubernetes", pod["terminationGracePeriodSeconds"])
probes = {name: container[name + "Probe"]["httpGet"]["path"].split("?")[0] for name in ["startup", "liveness", "readiness"]}
assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}, probes
paths = re.findall(r'get, path = "(/\w+)"', pathlib.Path("crates/http/src/routes/health.rs").read_text())
assert set(probes.values()) == set(paths), paths
assert spec["replicas"] == 2 and manifests["PodDisruptionBudget"]["spec"]["minAvailable"] == 1 and pod["topologySpreadConstraints"]
labels = spec["template"]["metadata"]["labels"]
for selector in [spec["selector"], manifests["PodDisruptionBudget"]["spec"]["selector"]]:
    assert selector["matchLabels"] == labels, selector
for name in ["tithe", spec["serviceName"]]:
    assert services[name]["selector"] == labels, name
assert container["volumeMounts"] == [{"name": volume["metadata"]["name"], "mountPath": "/data"}], container["volumeMounts"]
rights = container["securityContext"]
assert pod["securityContext"]["runAsNonRoot"] and rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"]

dockerfile = read("docker/Dockerfile")
assert f"USER {pod['securityContext']['runAsUser']}:" in dockerfile and '"healthcheck"]' in dockerfile and "TITHE_LISTEN=0.0.0.0:8402" in dockerfile

unit = read("systemd/tithe.service")
enough("tithe.service", re.search(r"^TimeoutStopSec=(\S+)$", unit, re.M)[1])
idle = re.search(r"keepalive_timeout (\S+);", read("nginx/tithe.conf"))[1]
assert seconds(idle) < NOTICE, idle
idle = re.search(r"keepalive (\d+s)", read("caddy/Caddyfile"))[1]
assert seconds(idle) < NOTICE, idle
print("the files of deploy/ fit together")

if len(sys.argv) > 1:
    # With secrets of one's own, the settings of the manifests are a configuration for production; with the placeholders they are none.
    examples = manifests["ConfigMap"]["data"] | manifests["Secret"]["stringData"]
    placeholders = [name for name, value in examples.items() if value.startswith("REPLACE-WITH-64-")]
    assert len(placeholders) == 3, placeholders
    own = examples | {name: secrets.token_hex(32) for name in placeholders}

    def check(settings):
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run([sys.argv[1], "config", "check"], env=settings, cwd=folder, capture_output=True, text=True, check=False)

    checked = check(own)
    assert checked.returncode == 0, checked.stderr
    for name in placeholders:
        checked = check(own | {name: examples[name]})
        assert checked.returncode != 0 and name in checked.stderr, (name, checked.stdout, checked.stderr)
    print("the settings of deploy/kubernetes are a configuration")
