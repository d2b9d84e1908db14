"""Programs that run or judge what `deploy/` holds: Prometheus with promtool, Caddy, Docker Compose, Helm; Compose's schema, Strimzi's CRDs.

Debian's packages are unpacked into the cache, not installed: no root, no service. What is built by Go takes minutes and is
fetched only where it is asked for: `python -m pipeline.embedded.deployment all`. Without `all`: what CI needs.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.embedded.components import HERE, cache, making, run
from pipeline.embedded.strimzi import fetch_strimzi_crds
from schemas.errors import ComponentMissing, DriftlockError

COMPOSE_VERSION = "v2.40.3"
COMPOSE_SCHEMA_VERSION = "v2.9.1"
HELM_VERSION = "v3.19.5"
_SCHEMA = "github.com/compose-spec/compose-go/v2"


def prometheus() -> Path:
    """The folder with the programs prometheus and promtool, or `ComponentMissing`."""
    return _debian("prometheus", "promtool", of="prometheus")


def caddy() -> Path:
    """The folder with the program caddy, or `ComponentMissing`."""
    return _debian("caddy", of="caddy")


def compose_schema() -> Path:
    """The JSON Schema of Compose files, or `ComponentMissing`."""
    return _there(cache() / f"compose-spec-{COMPOSE_SCHEMA_VERSION}" / "compose-spec.json", "make components")


def docker_compose() -> Path:
    """The program docker-compose, or `ComponentMissing`."""
    return _there(cache() / f"docker-compose-{COMPOSE_VERSION}" / "docker-compose", "make components-deploy")


def helm() -> Path:
    """The program helm, or `ComponentMissing`."""
    return _there(cache() / f"helm-{HELM_VERSION}" / "helm", "make components-deploy")


def kubernetes_validate() -> Path:
    """The program kubernetes-validate, or `ComponentMissing`."""
    return _there(_validator() / "bin" / "kubernetes-validate", "make components-deploy")


def fetch_prometheus() -> Path:
    """Prometheus of the PATH, else Debian's package, into the cache."""
    return _fetch_debian(prometheus, "prometheus")


def fetch_caddy() -> Path:
    """Caddy of the PATH, else Debian's package, into the cache."""
    return _fetch_debian(caddy, "caddy")


def fetch_compose_schema() -> Path:
    """The schema, from the Go module of Compose's own reader (Apache-2.0)."""
    place = cache() / f"compose-spec-{COMPOSE_SCHEMA_VERSION}"
    if not place.is_dir():
        with making(place) as folder:
            asked = [_go(), "mod", "download", "-json", f"{_SCHEMA}@{COMPOSE_SCHEMA_VERSION}"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=folder, env=_go_environ())
            if done.returncode != 0:
                raise ComponentMissing(f"fetching Compose's schema by Go failed: {done.stderr.strip()[:200]}")
            shutil.copyfile(
                Path(json.loads(done.stdout)["Dir"]) / "schema" / "compose-spec.json", folder / "compose-spec.json"
            )
    return compose_schema()


def fetch_docker_compose() -> Path:
    """Docker Compose, built by Go: its module excludes versions, so it can't be installed, only required by another."""
    place = cache() / f"docker-compose-{COMPOSE_VERSION}"
    if not place.is_dir():
        module = "github.com/docker/compose/v2/cmd"
        with making(place) as folder:
            (folder / "go.mod").write_text("module driftlock.invalid/compose\n", "ascii")
            environ = _go_environ()
            run([_go(), "get", f"{module}@{COMPOSE_VERSION}"], what="fetching Docker Compose", cwd=folder, env=environ)
            build = [_go(), "build", "-trimpath", "-ldflags=-s -w", "-o", "docker-compose", module]
            run(build, what="building Docker Compose", cwd=folder, env=environ)
    return docker_compose()


def fetch_helm() -> Path:
    """Helm, built by Go."""
    place = cache() / f"helm-{HELM_VERSION}"
    if not place.is_dir():
        with making(place) as folder:
            asked = [_go(), "install", f"helm.sh/helm/v3/cmd/helm@{HELM_VERSION}"]
            run(asked, what="building Helm", env={**_go_environ(), "GOBIN": str(folder)})
    return helm()


def fetch_kubernetes_validate() -> Path:
    """kubernetes-validate with Kubernetes' schemas (Apache-2.0; 100 MB), in an environment of its own."""
    if not _validator().is_dir():
        place = _validator()
        run([sys.executable, "-m", "venv", place], what="an environment for kubernetes-validate")
        pip = [str(place / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run(
            [*pip, "install", "--require-hashes", "-r", HERE / "kubernetes-validate.txt"],
            what="fetching kubernetes-validate",
        )
    return kubernetes_validate()


def _validator() -> Path:
    return cache() / "kubernetes-validate-1.37.0"


def main(every: bool) -> int:
    """Fetch; a line for each. 2 when one of them can't be had."""
    wanted: list[tuple[str, Callable[[], Path]]] = [
        ("prometheus", fetch_prometheus),
        ("caddy", fetch_caddy),
        ("compose schema", fetch_compose_schema),
    ]
    if every:
        wanted += [
            ("docker compose", fetch_docker_compose),
            ("helm", fetch_helm),
            ("kubernetes-validate", fetch_kubernetes_validate),
            ("strimzi CRDs", fetch_strimzi_crds),
        ]
    lacking = 0
    for name, fetch in wanted:
        try:
            print(f"{name}: {fetch()}")  # noqa: T201 a command's output
        except DriftlockError as error:
            lacking = 2
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 a command's output
    return lacking


def _debian(*programs: str, of: str) -> Path:
    found = shutil.which(programs[0])
    folder = Path(found).parent if found else cache() / f"debian-{of}" / "usr" / "bin"
    lacking = [name for name in programs if not (folder / name).is_file()]
    if lacking:
        raise ComponentMissing(
            f"{', '.join(lacking)} is not on the PATH, nor in the cache: `make components` fetches it"
        )
    return folder


def _fetch_debian(there: Callable[[], Path], package: str) -> Path:
    try:
        return there()
    except ComponentMissing:
        pass
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ComponentMissing(f"{package} is not on the PATH, and can only be fetched on Debian: install it")
    with making(cache() / f"debian-{package}") as folder:
        run(
            ["apt-get", "-qq", "download", package],
            what=f"fetching {package} by apt (without lists: apt-get update)",
            cwd=folder,
        )
        for packed in folder.glob("*.deb"):
            run(["dpkg-deb", "--extract", packed, folder], what=f"unpacking {package}")
            packed.unlink()
    return there()


def _there(path: Path, command: str) -> Path:
    if not path.is_file():
        raise ComponentMissing(f"{path.name} is not in the cache: `{command}` fetches it")
    return path


def _go() -> str:
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        raise ComponentMissing("Go is not on the PATH: install it, e.g. `apt-get install golang`")
    return go


def _go_environ() -> Mapping[str, str]:
    home = os.environ.get("HOME") or str(Path("~").expanduser())
    return {**os.environ, "HOME": home, "CGO_ENABLED": "0", "GOFLAGS": "-modcacherw"}


if __name__ == "__main__":
    sys.exit(main(every="all" in sys.argv[1:]))
