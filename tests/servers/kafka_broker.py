"""Apache Kafka as one process, broker and controller at once (KRaft), on loopback.

The jars come by Maven after `kafka/pom.xml`, once, into the cache. Topics are not made by themselves, so that a test
of a missing topic tells the truth; timeouts are short, so that fencing and hand-over can be tested.
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from servers.cache import Missing, cache_folder, kept, say
from servers.certificates import CA, KEYSTORE, certificates
from servers.certificates import PASSWORD as KEYSTORE_PASSWORD
from servers.children import Child, ended_by_deadline, free_port, wait_until

POM = Path(__file__).parent / "kafka" / "pom.xml"
USER = "atmwatch"
_START_SECONDS = 60.0
_MAVEN_SECONDS = 900.0
_JAVA_VERSION = 17
_GET_JAVA = "Get it (Debian, as root): apt-get install openjdk-17-jre-headless."
_INSTEAD = "Or point ATMWATCH_TEST_KAFKA at a broker (host:port)."
_JAVA_OPTIONS = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_READY = b"Kafka Server started"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl},{tls}CONTROLLER://127.0.0.1:{controller}
advertised.listeners={tls}PLAINTEXT://127.0.0.1:{port},SASL://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=300
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
"""

_TLS_PROPERTIES = """\
listener.name.tls.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.tls.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
listener.name.tls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={keystore}
ssl.keystore.password={keystore_password}
ssl.key.password={keystore_password}
"""

_LOGGING = """\
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
"""


class KafkaServer:
    """A broker that can be stopped, killed and started again on the same data and port.

    `bootstrap` needs no password; `sasl_bootstrap` wants SASL_PLAINTEXT, mechanism PLAIN, with `user` and `password`.
    With `tls`, a folder of `certificates`, `tls_bootstrap` wants SASL_SSL, with PLAIN or, for users that a test makes,
    SCRAM-SHA-512; its certificate is vouched for by `ca_path` alone.
    """

    def __init__(self, folder: Path, jars: Path, storage: Path, java: str, tls: Path | None = None) -> None:
        self.bootstrap = f"127.0.0.1:{(port := free_port())}"
        self.sasl_bootstrap = f"127.0.0.1:{(sasl := free_port())}"
        self.tls_bootstrap = f"127.0.0.1:{free_port()}" if tls else ""
        self.ca_path = tls / CA if tls else None
        self.user = USER
        self.password = secrets.token_hex(12)
        self.log_path = folder / "kafka.log"
        self._properties = folder / "server.properties"
        logging = folder / "log4j2.properties"
        shutil.copytree(storage, folder / "data", dirs_exist_ok=True)
        logging.write_text(_LOGGING)
        ports = (port, sasl, free_port())
        self._properties.write_text(_properties(folder / "data", self.password, ports, self.tls_bootstrap, tls))
        self._command = [*_java_command(java, jars), f"-Dlog4j2.configurationFile={logging}", "kafka.Kafka"]
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The Java process's number; raises when the broker never ran."""
        if self._child is None:
            message = "the broker is not running"
            raise RuntimeError(message)
        return self._child.pid

    def is_running(self) -> bool:
        return self._child is not None and self._child.is_running()

    def start(self) -> None:
        """Start on what is in the data folder and return when the broker serves; nothing when it runs already."""
        if self.is_running():
            return
        seen = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._child = Child([*self._command, str(self._properties)], self.log_path)

        def ready() -> bool:
            with self.log_path.open("rb") as log:
                log.seek(seen)
                return _READY in log.read()

        wait_until(ready, self._child, self.log_path, _START_SECONDS)

    def stop(self) -> None:
        """End it in an orderly way and wait."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """SIGKILL it: what it had not yet written to the operating system is lost."""
        if self._child is not None:
            self._child.kill()


def kafka_server(tmp: Path, *, tls: bool = False) -> KafkaServer:
    """A running Kafka with its data under `tmp`; raises `Missing` when it cannot be had on this machine."""
    java, jars = _java(), kafka_jars()
    server = KafkaServer(tmp, jars, _formatted_storage(java, jars), java, certificates(java) if tls else None)
    server.start()
    return server


def kafka_jars() -> Path:
    """The folder with Kafka's jars, fetched by Maven when they are not in the cache yet."""
    pom = POM.read_text()
    version = _version(pom)
    return kept(f"kafka-{version}", pom, lambda folder: _fetch(version, folder))


def _version(pom: str) -> str:
    found = re.search(r"<kafka\.version>(.+)</kafka\.version>", pom)
    assert found is not None, "pom.xml names no kafka.version"
    return found[1]


def _java_command(java: str, jars: Path) -> list[str]:
    return [java, *_JAVA_OPTIONS, "-cp", f"{jars}/*"]


def _formatted_storage(java: str, jars: Path) -> Path:
    """An empty data folder to copy, made once: formatting takes a Java start of its own.

    It bears the cluster's id and the node's, which may be the same for all: the brokers of different tests never meet.
    """

    def form(folder: Path) -> None:
        properties = folder / "format.properties"
        properties.write_text(_properties(folder / "data", password="", ports=(1, 2, 3)))
        tool = [*_java_command(java, jars), "kafka.tools.StorageTool", "format", "--config", str(properties)]
        command = [*tool, "--cluster-id", "atmwatchTests000000000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            message = f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"
            raise RuntimeError(message)

    pom = POM.read_text()
    return kept(f"kafka-{_version(pom)}-storage", pom + _PROPERTIES, form) / "data"


def _properties(
    data: Path, password: str, ports: tuple[int, int, int], tls_bootstrap: str = "", tls: Path | None = None
) -> str:
    port, sasl, controller = ports
    found = _PROPERTIES.format(
        port=port,
        sasl=sasl,
        tls=f"TLS://{tls_bootstrap}," if tls else "",
        controller=controller,
        data=data,
        user=USER,
        password=password,
    )
    if tls is not None:
        found += _TLS_PROPERTIES.format(
            user=USER, password=password, keystore=tls / KEYSTORE, keystore_password=KEYSTORE_PASSWORD
        )
    return found


def _fetch(version: str, folder: Path) -> None:
    _java()
    maven = shutil.which("mvn")
    if maven is None:
        message = (
            f"Maven (mvn) is missing, and Apache Kafka {version} is not in {cache_folder()} yet. "
            f"Get it (Debian, as root): apt-get install maven. {_INSTEAD}"
        )
        raise Missing(message)
    say(f"Fetching Apache Kafka {version} with Maven into {cache_folder()} (44 MB, once)")
    with tempfile.TemporaryDirectory() as project:  # Maven would leave its `target` folder beside the pom.xml
        shutil.copy(POM, project)
        command = [maven, "--batch-mode", "--file", f"{project}/pom.xml", "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        code, errors = _run_maven(command)
    if code != 0 or not any(folder.glob("kafka_*.jar")):
        message = f"Maven could not fetch Apache Kafka {version} (exit {code}). {_INSTEAD}\n{errors[:4000]}"
        raise Missing(message)


def _run_maven(command: list[str]) -> tuple[int, str]:
    """Run Maven, telling how far it is; its exit code and what it said of errors."""
    errors, files = [], 0
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    with process, ended_by_deadline(process, _MAVEN_SECONDS):
        assert process.stdout is not None
        for line in process.stdout:
            if "Downloaded" in line and line.rstrip().endswith(")"):
                files += 1
                if files % 25 == 0:
                    say(f"  {files} files, last {line.split(' (')[0].rsplit('/', 1)[-1]}")
            elif "ERROR" in line:
                errors.append(line)
    return process.returncode, "".join(errors)


def _java() -> str:
    """The `java` to run: of JAVA_HOME, else of PATH; 17 or later."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        message = f"Java is missing: Apache Kafka needs Java 17 or later. {_GET_JAVA} {_INSTEAD}"
        raise Missing(message)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA_VERSION:
        first = told.splitlines()[0] if told else "it says nothing"
        message = f"Apache Kafka needs Java 17 or later, but {java} is not ({first}). {_GET_JAVA} {_INSTEAD}"
        raise Missing(message)
    return java
