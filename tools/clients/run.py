#!/usr/bin/env python3
"""Tries unmodified FHIR clients, and schemathesis, against a demo exchange.

    run.py --holdfast target/release/holdfast [--only NAME]... [--patients N] [--keep]

Needs Python 3.9 with venv, Node 20 with npm, and the two package registries. Everything
is made in a temporary folder: the exchange, the virtual environment, node_modules. The
clients are installed as they are published; each creates, reads, searches page by page,
updates, sends a batch and deletes (where that is offered). Exit code 0: all of them did.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
USER = "dr.amara.okafor"
ORGANIZATION = "lakeside-family"
PYTHON_CLIENTS = {"fhirclient": "fhirclient", "fhirpy": "fhirpy"}
NODE_CLIENTS = {"fhir-kit-client": "fhir-kit-client", "medplum": "@medplum/core"}
SCHEMATHESIS_TYPES = "Patient,Observation"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def run(command, **options):
    print("$", " ".join(str(part) for part in command), flush=True)
    return subprocess.run([str(part) for part in command], check=True, **options)


class Exchange:
    """A demo in a folder."""

    def __init__(self, holdfast, folder, patients):
        self.holdfast, self.folder = holdfast, folder
        port = free_port()
        self.https = f"127.0.0.1:{port}"
        # The name that the demo's certificate and links have.
        self.url = f"https://localhost:{port}"
        self.authority = folder / "data" / "tls" / "authority.pem"
        self.credentials = folder / "people.toml"
        self.log = open(folder / "exchange.log", "w")
        self.process = subprocess.Popen(
            [str(holdfast), "demo", "--yes", "--dir", str(folder / "data"),
             "--patients", str(patients), "--credentials", str(self.credentials),
             "--https", self.https, "--mllp", f"127.0.0.1:{free_port()}"],
            stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)
        self.wait()

    def wait(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            if "Ctrl-C" in (self.folder / "exchange.log").read_text():
                return
            time.sleep(0.5)
        raise SystemExit("the exchange did not start:\n"
                         + (self.folder / "exchange.log").read_text()[-2000:])

    def token(self):
        done = run([self.holdfast, "token", "--dir", self.folder / "data", "--credentials",
                    self.credentials, "--user", USER], stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def patient(self, token):
        """A patient of our own: some of those that are there are watched."""
        patient = {
            "resourceType": "Patient", "gender": "female", "birthDate": "1971-02-03",
            "identifier": [{"system": "urn:clients:patient", "value": f"{time.time():.0f}"}],
            "name": [{"family": "Clientele", "given": ["Una"]}],
        }
        request = urllib.request.Request(f"{self.base()}/Patient", json.dumps(patient).encode())
        request.add_header("Authorization", f"Bearer {token}")
        request.add_header("Content-Type", "application/fhir+json")
        trust = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(request, context=trust) as answer:
            return answer.headers["Location"].split("/_history/")[0].rsplit("/", 1)[1]

    def base(self):
        return f"{self.url}/fhir/{ORGANIZATION}"

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def python_environment(folder, packages):
    environment = folder / "python"
    run([sys.executable, "-m", "venv", environment])
    run([environment / "bin" / "pip", "install", "--quiet", *packages])
    return environment / "bin"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--holdfast", type=pathlib.Path, default="target/release/holdfast")
    parser.add_argument("--only", action="append", default=[],
                        help="fhirclient, fhirpy, fhir-kit-client, medplum, schemathesis")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--examples", type=int, default=10, help="schemathesis' cases per call")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    asked = parser.parse_args()
    wanted = asked.only or [*PYTHON_CLIENTS, *NODE_CLIENTS, "schemathesis"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-clients-"))
    failed = []
    exchange = Exchange(asked.holdfast.resolve(), folder, asked.patients)
    try:
        token = exchange.token()
        environment = dict(os.environ, BASE=exchange.base(), TOKEN=token,
                           PATIENT=exchange.patient(token),
                           REQUESTS_CA_BUNDLE=exchange.authority, SSL_CERT_FILE=exchange.authority,
                           NODE_EXTRA_CA_CERTS=exchange.authority)
        environment = {name: str(value) for name, value in environment.items()}

        python = [name for name in wanted if name in PYTHON_CLIENTS or name == "schemathesis"]
        binaries = python_environment(folder, [PYTHON_CLIENTS.get(n, n) for n in python]) \
            if python else None
        node = [name for name in wanted if name in NODE_CLIENTS]
        if node:
            run(["npm", "install", "--silent", "--prefix", folder / "node", "--no-audit",
                 "--no-fund", *[NODE_CLIENTS[name] for name in node]])
        for name in wanted:
            if name in PYTHON_CLIENTS:
                command = [binaries / "python", HERE / f"{name}_check.py"]
            elif name in NODE_CLIENTS:
                script = shutil.copy(HERE / f"{name}.mjs", folder / "node")
                command = ["node", script]
            else:
                document = f"{exchange.base()}/openapi.json?resource={SCHEMATHESIS_TYPES}"
                command = [binaries / "schemathesis", "run", document,
                           "--header", f"Authorization: Bearer {token}",
                           "--checks", "not_a_server_error",
                           "--max-examples", str(asked.examples),
                           "--suppress-health-check", "all"]
            print("$", " ".join(str(part) for part in command if token not in str(part)), flush=True)
            done = subprocess.run([str(part) for part in command], env=environment, cwd=folder)
            print(f"{name}: {'works' if done.returncode == 0 else 'FAILS'}", flush=True)
            if done.returncode != 0:
                failed.append(name)
    finally:
        exchange.stop()
        if asked.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
