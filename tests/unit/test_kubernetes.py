"""deploy/kubernetes against Kubernetes' own schemas, and against the image and the command that it runs."""

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from operations.commands.workers import WorkerName
from operations.settings import PREFIX, Settings
from tests.support import compose
from tests.support.commands import accepted
from tests.support.setting_names import is_secret, needed, secrets, setting_names

BASE = compose.ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    found for name in KUSTOMIZATION["resources"] for found in yaml.safe_load_all((BASE / name).read_text())
]
DEPLOYMENTS = {found["metadata"]["name"]: found for found in OBJECTS if found["kind"] == "Deployment"}
SETTINGS = (BASE / "settings.env").read_text()
KUBERNETES = "1.34"


def pods(found: Any) -> Iterator[dict[str, Any]]:
    """Yield every pod's spec within an object."""
    if isinstance(found, dict):
        if "containers" in found:
            yield found
        for value in found.values():
            yield from pods(value)


PODS = [pod for found in OBJECTS for pod in pods(found)]
CONTAINERS = [container for pod in PODS for container in [*pod.get("initContainers", []), *pod["containers"]]]


@pytest.mark.parametrize("found", OBJECTS, ids=lambda found: f"{found['kind']}-{found['metadata']['name']}")
def test_each_object_is_what_kubernetes_expects(found):
    kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_every_file_is_part_of_the_base():
    assert {path.name for path in BASE.glob("*.yaml")} == {"kustomization.yaml", *KUSTOMIZATION["resources"]}


def test_each_worker_is_deployed_and_may_be_disturbed_one_at_a_time():
    assert set(DEPLOYMENTS) == {f"headrace-{worker.value}" for worker in WorkerName}
    budgets = {found["metadata"]["name"]: found["spec"] for found in OBJECTS if found["kind"] == "PodDisruptionBudget"}
    for name, deployment in DEPLOYMENTS.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budgets[name] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert deployment["spec"]["replicas"] > 1


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: " ".join(container["args"]))
def test_a_containers_command_is_one_of_ours(container):
    accepted(container["args"])


def test_probes_ask_what_a_worker_serves_where_the_image_serves_it():
    (port,) = set(re.findall(r"HTTP_PORT=(\d+)", (compose.ROOT / "Dockerfile").read_text()))
    for deployment in DEPLOYMENTS.values():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["ports"] == [{"name": "http", "containerPort": int(port)}]
        probed = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in probed.values()} == {"http"}
        assert [probe["path"] for probe in probed.values()] == ["/healthz", "/healthz", "/readyz"]


def test_containers_run_the_one_image_as_the_user_that_it_has():
    (image,) = KUSTOMIZATION["images"]
    assert {container["image"] for container in CONTAINERS} == {image["name"]}
    assert {service["image"] for service in compose.of_headrace().values()} == {f"{image['name']}:{image['newTag']}"}
    (user,) = re.findall(r"^USER (\d+)$", (compose.ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {pod["securityContext"]["runAsUser"] for pod in PODS} == {int(user)}
    for container in CONTAINERS:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"].keys() == {"memory"}


GIVEN = set(re.findall(r"^(HEADRACE_\w+)=", SETTINGS, re.MULTILINE))
SECRET = set(re.findall(r"\b(?:HEADRACE|CATALOG)_\w+", "".join(re.findall(r"^#.*$", SETTINGS, re.MULTILINE))))


def test_the_config_map_has_addresses_and_the_secret_has_logins():
    assert set(setting_names(Settings)) >= GIVEN
    assert not any(map(is_secret, GIVEN))
    assert KUSTOMIZATION["configMapGenerator"] == [{"name": "headrace", "envs": ["settings.env"]}]
    asked = {entry["valueFrom"]["secretKeyRef"]["key"] for each in CONTAINERS for entry in each.get("env", [])}
    assert asked <= SECRET


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: " ".join(container["args"]))
def test_a_container_is_given_the_logins_that_its_command_uses_and_no_others(container):
    given = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container.get("env", [])}
    assert given.keys() == secrets(container["args"])
    assert needed(container["args"]) <= GIVEN | given.keys()
    catalog = "CATALOG_MIGRATOR_" if container["args"] == ["migrate"] else f"{PREFIX}CATALOG__"
    for name, key in given.items():
        wanted = name.replace(f"{PREFIX}CATALOG__", catalog)
        assert key == {"name": "headrace", "key": wanted}
    bucket = [{"secretRef": {"name": "headrace-archive", "optional": True}}]
    uses_bucket = f"{PREFIX}ARCHIVE__URL" in needed(container["args"])
    assert container["envFrom"] == [{"configMapRef": {"name": "headrace"}}, *(bucket if uses_bucket else [])]
