"""docker-compose.yml and the Dockerfile agree with the code. Runs without Docker."""

import importlib.util
import json
import re
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from connectors.pipeline import template
from messaging.health import HealthServer
from operations import needs
from operations.commands.workers import WorkerName
from operations.settings import PREFIX, Settings
from schemas.tables import Source
from stack import postgres as pg
from stack import servers
from stack.folder import PORT_NAMES, Folder
from tests.support import compose
from tests.support.commands import accepted
from tests.support.setting_names import is_secret, needed, secrets, setting_names

ROOT = compose.ROOT
SERVICES = compose.services()
HEADRACE = compose.of_headrace()
WORKERS = {service["command"][1]: service for service in HEADRACE.values() if service["command"][0] == "run"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEPLOY = ROOT / "deploy" / "compose"
MEGABYTES_OF_A_LAPTOP = 6 * 1024


def read(path: Path) -> str:
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    """Make a new `.env`."""
    return passwords()


def passwords(known: Path | str = "/dev/null") -> dict[str, str]:
    made = subprocess.run(["sh", DEPLOY / "env.sh", known], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in made.splitlines())


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> servers.Layout:
    """Return the layout from which the stack without Docker is declared."""
    folder, nowhere = Folder(tmp_path_factory.mktemp("stack")), Path("/nowhere")
    folder.create()
    return servers.Layout(
        folder=folder,
        postgres=pg.Home(root=nowhere, bin=nowhere, user=None),
        java=nowhere,
        jars=nowhere,
        caches=nowhere,
        ports={name: 1000 + index for index, name in enumerate(PORT_NAMES)},
        passwords=dict.fromkeys(("postgres", "registry", "cdc_reader"), "secret"),
        jit=False,
    )


# ---- the file itself --------------------------------------------------------------------------------------------


def test_the_file_is_what_the_specification_says():
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    schema = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(yaml.safe_load(read(compose.FILE)), json.loads(read(schema)))


def test_a_service_waits_only_for_what_can_come_about():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            once = SERVICES[other]["restart"] == "no"
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == wanted, f"{name} waits for {other}"
            assert once or "healthcheck" in SERVICES[other], f"{name} waits for {other}, which tells no health"


def test_what_runs_for_ever_comes_back_and_what_runs_once_does_not():
    assert {service["restart"] for service in SERVICES.values()} == {"no", "unless-stopped"}
    assert all(service["restart"] == "unless-stopped" for service in WORKERS.values())


def test_ports_are_open_on_this_machine_only():
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service.get("ports", []))


def test_a_scaled_service_has_nothing_of_which_there_is_one():
    assert all(not {"ports", "container_name", "hostname"} & service.keys() for service in WORKERS.values())


def test_everything_fits_a_laptop():
    limits = {name: int(service["mem_limit"].removesuffix("m")) for name, service in SERVICES.items()}
    for_ever = {name for name, service in SERVICES.items() if service["restart"] != "no"}
    at_once = sum(limits[name] for name in for_ever) + max(limits[name] for name in limits.keys() - for_ever)
    assert at_once <= MEGABYTES_OF_A_LAPTOP
    for name, service in SERVICES.items():
        for heap in re.findall(r"-Xmx(\d+)m", " ".join(map(str, service.get("environment", {}).values()))):
            assert int(heap) <= limits[name] * 0.6, f"{name}: a JVM needs more than its heap"


def test_volumes_are_declared_and_mounted_files_are_there():
    mounts = [mount.split(":") for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {source for source, *_ in mounts if not source.startswith("./")}
    assert named == set(yaml.safe_load(read(compose.FILE))["volumes"])
    assert all((ROOT / source).is_file() for source, *_ in mounts if source.startswith("./"))


def test_addresses_are_those_of_services():
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            for host in re.findall(r"//(?:[^/@]*@)?([a-z]+):\d+", value) + re.findall(r"^([a-z]+):\d+$", value):
                assert host in SERVICES, f"{name}: {key}"


# ---- passwords --------------------------------------------------------------------------------------------------


def test_the_script_makes_every_password_that_the_file_asks_for_and_no_other(env):
    asked = compose.variables()
    assert {name for name, otherwise in asked.items() if otherwise == {":?"}} == set(env)
    assert asked.keys() == env.keys()


def test_no_two_passwords_are_alike_and_each_is_strong_enough_for_sql_server(env):
    other = passwords()
    assert len({*env.values(), *other.values()}) == len(env) + len(other)
    kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits, string.punctuation)
    for name, password in env.items():
        assert len(password) >= 40
        assert name == "MONGODB_KEY" or all(set(password) & set(kind) for kind in kinds)


def test_a_password_that_is_there_stays(tmp_path, env):
    known = tmp_path / ".env"
    known.write_text("POSTGRES_PASSWORD=mine\nCOMPOSE_PROJECT_NAME=mine\n")
    made = passwords(known)
    assert (made["POSTGRES_PASSWORD"], made["COMPOSE_PROJECT_NAME"]) == ("mine", "mine")
    assert made.keys() == env.keys() | {"COMPOSE_PROJECT_NAME"}


# ---- Headrace's services ----------------------------------------------------------------------------------------


def test_each_worker_has_a_service():
    assert {worker.value for worker in WorkerName} == set(WORKERS)


@pytest.mark.parametrize("name", HEADRACE)
def test_a_services_command_is_one_of_ours(name):
    accepted(HEADRACE[name]["command"])


@pytest.mark.parametrize("name", HEADRACE)
def test_a_services_settings_are_all_that_its_command_uses_and_nothing_else(name, env, monkeypatch):
    command = HEADRACE[name]["command"]
    environment = {key: compose.filled(value, env) for key, value in HEADRACE[name]["environment"].items()}
    assert environment.keys() <= set(setting_names(Settings))
    assert needed(command) <= environment.keys()
    assert {key for key in environment if is_secret(key)} == secrets(command)
    sections = {each.partition(".")[0] for each in needs.of(command)}
    assert {key.removeprefix(PREFIX).partition("__")[0].lower() for key in environment} == sections
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    settings = Settings(_env_file=None)
    settings.require(*needs.of(command))
    if "reporting" in sections:
        assert settings.reporting.adapter == "sqlserver"
        assert f"{settings.reporting.host}:{settings.reporting.port}" == "sqlserver:1433"


def test_the_images_own_settings_are_ours():
    named = set(re.findall(rf"\b({PREFIX}\w+)=", DOCKERFILE))
    assert named
    assert named <= set(setting_names(Settings))


def test_a_health_check_asks_what_a_worker_serves():
    (check,) = {tuple(service["healthcheck"]["test"]) for service in WORKERS.values()}
    (port,) = set(re.findall(r"HTTP_PORT=(\d+)", DOCKERFILE))
    in_image = re.search(r"^HEALTHCHECK .*\n\s+CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert in_image is not None
    assert ["CMD", *json.loads(in_image[1])] == list(check)
    assert f":{port}/" in check[-1]
    assert f"EXPOSE {port}" in DOCKERFILE
    assert asked(check[-1], port, ready=None) == 0
    assert asked(check[-1], port, ready="it reads the catalog") != 0


def asked(code: str, port: str, *, ready: str | None) -> int:
    """Run a health check's Python against a worker, which is ready unless `ready` raises; return its exit code."""
    serving = HealthServer(0, alive=lambda: None, ready=lambda: ready)
    try:
        code = code.replace(f":{port}/", f":{serving.port}/")
        return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
    finally:
        serving.close()


def test_a_service_with_the_archive_has_the_folder_that_the_image_made():
    for name in ("archive", "demo"):
        (folder,) = [mount.split(":")[1] for mount in HEADRACE[name]["volumes"]]
        assert HEADRACE[name]["environment"][f"{PREFIX}ARCHIVE__URL"] == folder
        assert re.search(rf"install --directory --owner=headrace --group=headrace {folder}$", DOCKERFILE, re.MULTILINE)


def test_headrace_runs_without_the_right_to_change_anything():
    for service in HEADRACE.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108  # a mount


# ---- the servers, as the stack without Docker has them ----------------------------------------------------------


def versions() -> Mapping[str, str]:
    pom = ElementTree.parse(ROOT / "stack" / "pom.xml")  # noqa: S314  # our own file
    properties = pom.getroot().find("{*}properties")
    assert properties is not None
    return {child.tag.rpartition("}")[2]: child.text or "" for child in properties}


def test_versions_are_those_of_the_stack():
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{versions()['kafka.version']}"
    assert SERVICES["registry"]["image"] == f"apicurio/apicurio-registry:{versions()['apicurio.version']}"
    assert f"/connect:{versions()['debezium.postgres.version']}\n" in DOCKERFILE
    (major,) = set(re.findall(r"pginstall(\d+)", read(ROOT / "stack" / "postgres.py")))
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{major}.")
    assert SERVICES["mongodb-init"]["image"] == SERVICES["mongodb"]["image"]
    assert SERVICES["sqlserver-init"]["image"] == SERVICES["sqlserver"]["image"]


def test_every_image_is_pinned():
    bases = re.findall(r"^ARG \w+=(\S+)$", DOCKERFILE, re.MULTILINE)
    for image in [*bases, *(service["image"] for service in SERVICES.values())]:
        assert re.search(r":\d+\.\d+|:2022-CU\d+-", image), image


def properties(text: str, *, besides: set[str]) -> dict[str, str]:
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert besides <= found.keys()
    return {key: value for key, value in found.items() if key not in besides}


def test_kafka_is_set_as_in_the_stack(layout):
    of_the_place = {"controller.quorum.voters", "listeners", "advertised.listeners", "log.dirs"}
    (text,) = [text for path, text in servers.kafka(layout).files if path.suffix == ".properties"]
    wanted = properties(text, besides=of_the_place)
    environment = SERVICES["kafka"]["environment"]
    assert {key: environment.get(f"KAFKA_{key.upper().replace('.', '_')}") for key in wanted} == wanted


def test_connect_is_set_as_in_the_stack(layout):
    of_the_place = {"bootstrap.servers", "listeners", "rest.advertised.host.name", "plugin.path", "plugin.discovery"}
    the_images_default = {"key.converter", "value.converter"}
    (text,) = [text for path, text in servers.connect(layout).files if path.suffix == ".properties"]
    wanted = properties(text, besides=of_the_place | the_images_default)
    environment = SERVICES["connect"]["environment"]
    given = {}
    for key in wanted:
        name = key.upper().replace(".", "_")
        given[key] = environment.get(name, environment.get(f"CONNECT_{name}"))
    assert given == wanted


def test_connect_is_given_what_the_connectors_refer_to(layout):
    referred = set()
    for source in (Source.POSTGRES, Source.MONGODB):
        referred |= set(re.findall(r"\$\{env:(\w+)\}", json.dumps(template(source))))
    ours = {name for name in SERVICES["connect"]["environment"] if name.startswith("HEADRACE_")}
    assert referred <= ours
    assert ours == {name for name, _ in servers.connect(layout).env if name.startswith("HEADRACE_")}


def test_the_registry_is_set_as_in_the_stack(layout):
    of_the_place = {"APICURIO_DATASOURCE_URL", "APICURIO_DATASOURCE_PASSWORD"}
    wanted = {key: value for key, value in servers.registry(layout).env if key.startswith("APICURIO_")}
    environment = SERVICES["registry"]["environment"]
    assert {key for key in environment if key.startswith("APICURIO_")} == wanted.keys()
    assert {key: environment[key] for key in wanted.keys() - of_the_place} == {
        key: wanted[key] for key in wanted.keys() - of_the_place
    }


def test_postgres_is_set_as_in_the_stack():
    of_the_place = {"listen_addresses", "port", "unix_socket_directories"}
    lines = [line for line in pg.configuration(5432).splitlines() if not line.startswith("#")]
    wanted = {name: value.strip("'").strip() for name, value in (line.split(" = ") for line in lines)}
    _, *options = SERVICES["postgres"]["command"]
    given = dict(option.removeprefix("-c").split("=", 1) for option in options)
    assert given == {name: value for name, value in wanted.items() if name not in of_the_place}
    assert SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split() == list(pg.LOCALE)


def test_health_checks_of_servers_ask_what_the_stack_asks(layout):
    for name, server in (("registry", servers.registry(layout)), ("connect", servers.connect(layout))):
        assert SERVICES[name]["healthcheck"]["test"][-1].endswith(server.probe.path)  # type: ignore[attr-defined]


# ---- what a database administrator does -------------------------------------------------------------------------


def test_postgres_roles_are_those_of_the_stack():
    text = read(DEPLOY / "postgres.sql")
    made = re.findall(r"CREATE ROLE (\w+) (.+) PASSWORD", text)
    databases = dict(re.findall(r"CREATE DATABASE (\w+) OWNER (\w+)", text))
    owners = {(role, attributes) for role, attributes, database in pg.OWNERS if database != "reporting"}
    assert set(made) == owners
    assert databases == {database: role for role, _, database in pg.OWNERS if database != "reporting"}
    assert set(re.findall(r"\\getenv \w+ (\w+)", text)) <= SERVICES["postgres"]["environment"].keys()


def test_sql_servers_login_is_the_settings_own():
    text = read(DEPLOY / "sqlserver.sql")
    environment = HEADRACE["migrate"]["environment"]
    assert f"CREATE DATABASE [{environment[f'{PREFIX}REPORTING__DATABASE']}]" in text
    assert (
        f"CREATE LOGIN [{Settings.model_fields['reporting'].annotation.model_fields['migrator_user'].default}]" in text
    )  # type: ignore[union-attr]
    assert set(re.findall(r"\$\((\w+)\)", text)) <= SERVICES["sqlserver-init"]["environment"].keys()


def test_mongodb_has_the_roles_of_the_migrations_and_the_users_of_the_file():
    text = read(DEPLOY / "mongodb.js")
    roles = {command["createRole"] for command in json.loads(read(ROOT / "migrations/catalog/0004_roles.json"))}
    made = re.search(r"for \(const role of (\[.*\])\)", text)
    assert made is not None
    assert set(json.loads(made[1])) == roles
    users = set(re.findall(r"^  (\w+): \{ password", text, re.MULTILINE))
    environments = [service["environment"] for service in HEADRACE.values()]
    assert users == {each[f"{PREFIX}CATALOG__USER"] for each in environments if f"{PREFIX}CATALOG__USER" in each}
    named = set(re.findall(r'"([A-Z_]+_PASSWORD)"', text))
    assert named == SERVICES["mongodb-init"]["environment"].keys()


# ---- the Dockerfile ---------------------------------------------------------------------------------------------


def test_the_dockerfile_has_nothing_that_hadolint_minds():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_has_the_stages_that_the_file_builds():
    built = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built <= set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))


def test_what_the_dockerfile_copies_is_sent_to_it(pyproject):
    sent = {line[1:] for line in read(ROOT / ".dockerignore").splitlines() if line.startswith("!")}
    assert set(pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) < sent
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert source == "." or source.split("/")[0] in sent
            assert (ROOT / source).exists()


def test_the_entry_point_is_the_wheels_command_and_the_image_has_the_projects_version(pyproject):
    (name,) = pyproject["project"]["scripts"]
    assert f'ENTRYPOINT ["{name}"]' in DOCKERFILE
    version = pyproject["project"]["version"]
    assert {service["image"] for service in HEADRACE.values()} == {f"headrace:{version}"}
    assert SERVICES["connect"]["image"] == f"headrace-connect:{version}"


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(read(ROOT / "pyproject.toml"))
