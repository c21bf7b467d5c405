"""A certificate authority that nobody else trusts, and a broker's certificate for 127.0.0.1, made by Java's keytool.

They are made once and kept: the keys protect nothing but what one test says to another.
"""

import subprocess
from pathlib import Path

from servers.cache import Missing, kept

PASSWORD = "of-no-worth"  # noqa: S105 - see above
CA, KEYSTORE = "ca.pem", "broker.p12"
_DAYS = "36500"
_STEPS = (
    "-genkeypair -keystore ca.p12 -alias ca -keyalg EC -groupname secp256r1 -dname CN=atmwatch-tests -ext bc:c",
    "-exportcert -keystore ca.p12 -alias ca -rfc -file ca.pem",
    "-genkeypair -keystore broker.p12 -alias broker -keyalg EC -groupname secp256r1 -dname CN=broker",
    "-certreq -keystore broker.p12 -alias broker -file broker.csr",
    "-gencert -keystore ca.p12 -alias ca -rfc -infile broker.csr -outfile broker.pem -ext SAN=ip:127.0.0.1",
    "-importcert -keystore broker.p12 -alias broker -file chain.pem -noprompt",
)
_DATED = ("-genkeypair", "-gencert")


def certificates(java: str) -> Path:
    """The folder with the authority's certificate (``ca.pem``) and the broker's keystore (PKCS 12, ``PASSWORD``)."""
    keytool = Path(java).resolve().with_name("keytool")

    def fill(folder: Path) -> None:
        if not keytool.exists():
            message = f"keytool is missing: it should be beside {java}, as in openjdk-17-jre-headless"
            raise Missing(message)
        for step in _STEPS:
            command, *options = step.split()
            options += ["-validity", _DAYS] if command in _DATED else []
            if command == "-importcert":
                (folder / "chain.pem").write_text((folder / "broker.pem").read_text() + (folder / CA).read_text())
            done = subprocess.run(
                [str(keytool), command, "-storetype", "PKCS12", "-storepass", PASSWORD, *options],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode != 0:
                message = f"keytool failed ({step}):\n{done.stdout}{done.stderr}"
                raise RuntimeError(message)

    return kept("certificates", "\n".join(_STEPS), fill)
