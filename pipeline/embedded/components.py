"""What the embedded stack and tests fetch once per machine: Kafka's jars, stripe-mock, a collector, axe-core, in a cache outside the tree.

Every component is made in a folder beside its place and renamed into it, so two at once disturb nobody, a killed one
leaves nothing half done, and the whole cache may be deleted at any time. `python -m pipeline.embedded.components`
fetches all of them.
"""

import contextlib
import hashlib
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ComponentMissing, DriftlockError

KAFKA_VERSION = "4.4.0"
STRIPE_MOCK_VERSION = "v0.203.0"
AXE_VERSION = "4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"  # pragma: allowlist secret
ASYNCAPI_VERSION = "6.11.1"
ASYNCAPI_SHA256 = "d4571a420e6ffb7fcc7066c95a6db1202f299a3c51daa103d0706bf30f95e626"  # pragma: allowlist secret
JAVA_AT_LEAST = 17
GO_AT_LEAST = (1, 22)
COLLECTOR_GO_AT_LEAST = (1, 26)
MAVEN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

HERE = Path(__file__).parent
COLLECTOR_MANIFEST = HERE.parents[1] / "deploy" / "otel" / "manifest.yaml"
OTHER_NUMPY = HERE / "other-numpy.txt"


@dataclass(frozen=True)
class Java:
    """A Java that runs Kafka. `version` as it names itself, with its build."""

    program: str
    version: str


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of fetched components: DRIFTLOCK_CACHE, else .cache/driftlock in the home directory."""
    if given := environ.get("DRIFTLOCK_CACHE"):
        return Path(given).absolute()
    return _home(environ) / ".cache" / "driftlock"


def _home(environ: Mapping[str, str] = os.environ) -> Path:
    return Path(environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir).absolute()


def java(environ: Mapping[str, str] = os.environ) -> Java | None:
    """The Java of JAVA_HOME, else of the PATH, if it is new enough."""
    home = environ.get("JAVA_HOME", "")
    program = shutil.which(str(Path(home) / "bin" / "java")) if home else None
    program = program or shutil.which("java", path=environ.get("PATH"))
    if program is None:
        return None
    said = _output([program, "-XshowSettings:properties", "-version"])
    version = re.search(r"java\.runtime\.version = (\d+)(\S*)", said)
    if version is None or int(version[1]) < JAVA_AT_LEAST:
        return None
    return Java(program, version[1] + version[2])


def kafka_jars() -> Path | None:
    """Kafka's jars if they are in the cache."""
    jars = _kafka_folder()
    return jars if jars.is_dir() else None


def fetch_kafka() -> Path:
    """Kafka's jars, by Maven if they are not in the cache. `ComponentMissing` without Maven or when it fails."""
    if found := kafka_jars():
        return found
    maven = shutil.which("mvn")
    if maven is None:
        raise ComponentMissing("Apache Kafka needs Maven (mvn) to be fetched: install it, e.g. `apt-get install maven`")
    with making(_kafka_folder()) as folder:
        shutil.copyfile(HERE / "kafka.pom.xml", folder / "pom.xml")
        run(
            [
                *(maven, "-B", "-q", "-Dstyle.color=never", *maven_repository()),
                *(MAVEN_GOAL, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"),
            ],
            what="fetching Apache Kafka by Maven",
            cwd=folder,
        )
        (folder / "pom.xml").unlink()
        check_sums(folder, HERE / "kafka.sha256")
    return _kafka_folder()


def stripe_mock() -> Path | None:
    """The program stripe-mock if it is in the cache."""
    program = _stripe_mock_folder() / "stripe-mock"
    return program if program.is_file() else None


def fetch_stripe_mock() -> Path:
    """The program stripe-mock, built by Go if it is not in the cache. `ComponentMissing` without a Go or if it fails."""
    if found := stripe_mock():
        return found
    go = _go(GO_AT_LEAST, "stripe-mock")
    with making(_stripe_mock_folder()) as folder:
        run(
            [go, "install", f"github.com/stripe/stripe-mock@{STRIPE_MOCK_VERSION}"],
            what="building stripe-mock by Go",
            env=_go_environ(go, folder),
        )
    return _stripe_mock_folder() / "stripe-mock"


def collector() -> Path:
    """The OpenTelemetry Collector of deploy/otel/manifest.yaml, from the cache. `ComponentMissing` where `make components` did not build it."""
    program = _collector_folder() / "driftlock-collector"
    if not program.is_file():
        raise ComponentMissing("the OpenTelemetry Collector is not in the cache: `make components` builds it")
    return program


def fetch_collector() -> Path:
    """The same, built if it is not in the cache: two CPU-minutes, and 1.5 GB of Go's own caches. `ComponentMissing` without a Go."""
    with contextlib.suppress(ComponentMissing):
        return collector()
    go = _go(COLLECTOR_GO_AT_LEAST, "the OpenTelemetry Collector")
    text = COLLECTOR_MANIFEST.read_text("utf-8")
    version = re.search(r"^  version: (\S+)$", text, re.MULTILINE)
    with making(_collector_folder()) as folder:
        environ = _go_environ(go, folder)
        shutil.copyfile(COLLECTOR_MANIFEST, folder / "manifest.yaml")
        builder = f"go.opentelemetry.io/collector/cmd/builder@v{version[1] if version else ''}"
        what = "building the OpenTelemetry Collector by Go"
        run([go, "install", builder], what=what, env=environ)
        run([folder / "builder", "--config", "manifest.yaml"], what=what, cwd=folder, env=environ)
        (folder / "sources" / "driftlock-collector").rename(folder / "driftlock-collector")
        shutil.rmtree(folder / "sources")
        (folder / "builder").unlink()
    return collector()


def _go(at_least: tuple[int, int], what: str) -> str:
    """A Go of the PATH that is new enough."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    version = re.search(r"go(\d+)\.(\d+)", _output([go, "version"])) if go else None
    if go is None or version is None or (int(version[1]), int(version[2])) < at_least:
        raise ComponentMissing(f"{what} needs Go {at_least[0]}.{at_least[1]} or newer to be built")
    return go


def _go_environ(go: str, folder: Path) -> dict[str, str]:
    """What Go needs to put programs into a folder; `go` itself on the PATH, where a builder looks for it."""
    path = f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    made = {"GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-modcacherw", "HOME": str(_home()), "PATH": path}
    return {**os.environ, **made}


def other_numpy() -> Path | None:
    """A folder with another numpy than the environment's, for PYTHONPATH, if it is in the cache."""
    folder = _other_numpy_folder()
    return folder if folder.is_dir() else None


def fetch_other_numpy() -> Path:
    """A folder with another numpy, by pip if it is not in the cache: results must not depend on numpy's version."""
    if found := other_numpy():
        return found
    with making(_other_numpy_folder()) as folder:
        asked = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        run(
            [sys.executable, "-m", "pip", "install", *asked, "--target", folder, "-r", OTHER_NUMPY],
            what="fetching another numpy by pip",
        )
    return _other_numpy_folder()


def axe() -> Path:
    """axe-core, which judges pages, from the cache. `ComponentMissing` where `make components` did not fetch it."""
    return _npm_file(_AXE)


def fetch_axe() -> Path:
    """axe-core, by npm if it is not in the cache (MPL-2.0; used in tests, part of nothing that is shipped)."""
    return _fetch_npm_file(_AXE)


def asyncapi() -> Path:
    """The JSON Schema of AsyncAPI documents, from the cache. `ComponentMissing` where `make components` did not fetch it."""
    return _npm_file(_ASYNCAPI)


def fetch_asyncapi() -> Path:
    """The JSON Schema of AsyncAPI documents, by npm if it is not in the cache (Apache-2.0; used in tests)."""
    return _fetch_npm_file(_ASYNCAPI)


@dataclass(frozen=True)
class _FromNpm:
    """One file of a package that npm has: its SHA-256, and where it lies in the package."""

    name: str
    package: str
    member: str
    sha256: str

    @property
    def place(self) -> Path:
        """Where it lies in the cache."""
        return cache() / self.package.removeprefix("@").replace("/", "-").replace("@", "-") / Path(self.member).name


_AXE = _FromNpm("axe-core", f"axe-core@{AXE_VERSION}", "package/axe.min.js", AXE_SHA256)
_ASYNCAPI = _FromNpm(
    "AsyncAPI's schema", f"@asyncapi/specs@{ASYNCAPI_VERSION}", "package/schemas/3.0.0.json", ASYNCAPI_SHA256
)


def _npm_file(of: _FromNpm) -> Path:
    if not of.place.is_file():
        raise ComponentMissing(f"{of.name} is not in the cache: `make components` fetches it")
    return of.place


def _fetch_npm_file(of: _FromNpm) -> Path:
    with contextlib.suppress(ComponentMissing):
        return _npm_file(of)
    npm = shutil.which("npm")
    if npm is None:
        raise ComponentMissing(f"{of.name} needs npm to be fetched: install it, e.g. `apt-get install npm`")
    with making(of.place.parent) as folder:
        run([npm, "pack", "--silent", of.package], what=f"fetching {of.name} by npm", cwd=folder)
        packed = next(folder.glob("*.tgz"))
        with tarfile.open(packed) as archive:
            member = archive.extractfile(of.member)
            content = member.read() if member else b""
        if hashlib.sha256(content).hexdigest() != of.sha256:
            raise ComponentMissing(f"{of.package} as fetched has another SHA-256 than ours")
        packed.unlink()
        (folder / of.place.name).write_bytes(content)
    return _npm_file(of)


def main() -> int:
    """Fetch everything; a line for each component. 2 when one of them can't be had."""
    lacking = 0
    for name, fetch in (
        ("kafka", fetch_kafka),
        ("stripe-mock", fetch_stripe_mock),
        ("collector", fetch_collector),
        ("another numpy", fetch_other_numpy),
        ("axe-core", fetch_axe),
        ("AsyncAPI's schema", fetch_asyncapi),
    ):
        try:
            print(f"{name}: {fetch()}")  # noqa: T201 a command's output
        except DriftlockError as error:
            lacking = 2
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 a command's output
    if java() is None:
        lacking = 2
        print(f"java: {JAVA_AT_LEAST} or newer is not on the PATH", file=sys.stderr)  # noqa: T201
    return lacking


@contextlib.contextmanager
def making(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, to be filled, that becomes `place` unless another process was faster."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        yield folder
        folder.chmod(0o755)
        with contextlib.suppress(OSError):
            folder.rename(place)
        if not place.is_dir():
            raise ComponentMissing(f"{place} can't be made")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def maven_repository() -> list[str]:
    """Maven takes the home directory from the system's list of users; ours is HOME where that is another."""
    home = _home()
    same = home == Path(pwd.getpwuid(os.getuid()).pw_dir)
    return [] if same else [f"-Dmaven.repo.local={home / '.m2' / 'repository'}"]


def _kafka_folder() -> Path:
    return cache() / f"kafka-{KAFKA_VERSION}" / "libs"


def _stripe_mock_folder() -> Path:
    return cache() / f"stripe-mock-{STRIPE_MOCK_VERSION}-{platform.system()}-{platform.machine()}".lower()


def _collector_folder() -> Path:
    """By what it is built of: a changed manifest is another collector."""
    if not COLLECTOR_MANIFEST.is_file():
        raise ComponentMissing(f"the OpenTelemetry Collector is built in a checkout: there is no {COLLECTOR_MANIFEST}")
    digest = hashlib.sha256(COLLECTOR_MANIFEST.read_bytes()).hexdigest()[:12]
    return cache() / f"otel-collector-{digest}-{platform.system()}-{platform.machine()}".lower()


def _other_numpy_folder() -> Path:
    version = re.search(r"numpy==(\S+)", OTHER_NUMPY.read_text("ascii"))
    return cache() / f"numpy-{version[1] if version else ''}-{sys.implementation.cache_tag}-{platform.machine()}"


def check_sums(folder: Path, sums: Path) -> None:
    """`ComponentMissing` unless the folder holds exactly the files of `sums`, with their SHA-256."""
    expected = {name: digest for digest, name in map(str.split, sums.read_text("ascii").splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    wrong = sorted({name for name, _ in expected.items() ^ found.items()})
    if wrong:
        raise ComponentMissing(f"fetched files differ from {sums.name}: {', '.join(wrong)}")


def _output(command: Sequence[str]) -> str:
    """What a program prints, or nothing if it can't be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def run(
    command: Sequence[str | Path], *, what: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a step of a fetch; `ComponentMissing` with the first line that it said, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ComponentMissing(f"{what} failed: {said[0] if said else f'exit code {done.returncode}'}")


if __name__ == "__main__":
    sys.exit(main())
