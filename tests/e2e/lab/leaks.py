"""Secrets that the programs of a lab were given or made, and the places where one was printed after all."""
import base64
import binascii
import contextlib
import pathlib
import re
import shlex

PROGRAMS = {"heimdall", "hpeer", "hctl", "heimdall-wg"}
# Environment variables and options that hold a secret. A node's id is not one.
OPTIONS = {"--cluster-key", "--authorized-peer", "HEIMDALL_CLUSTER_KEY", "HEIMDALL_AUTHORIZED_PEER", "HEIMDALL_ID"}
PEER_ID = "a peer's id"


class Secrets:
    """Collects secrets while a lab runs: keys that tests make, and arguments and output of the programs."""

    def __init__(self):
        self.found, self.said = {}, []

    def add(self, name, *values):
        for value in values:
            if len(value) >= 16:
                self.found[value] = name

    def told(self, argv, env):
        """A program is about to start."""
        given = programs(argv)
        for option, value in [*zip(argv, argv[1:]), *(env or {}).items()]:
            if option in OPTIONS or option == "--id" and "hpeer" in given:
                self.add(PEER_ID if "key" not in option.lower() else option, *value.split(","))
        if "hctl" in given and {"authorize", "deauthorize", "rekey"} & set(argv):
            self.add(PEER_ID, *[word for word in argv if re.fullmatch(r"[0-9a-f-]{36}", word)])

    def answered(self, host, argv, stdout, stderr):
        """A program has run to its end."""
        line = shlex.join(argv)
        if re.search(r"\bwg gen(key|psk)\b", line) and "pubkey" not in line:
            self.add("a key that wg made", stdout.strip())
        if given := programs(argv):
            self.said.append((f"{host}: {line}", argv, stderr if given == {"hctl"} else stdout + stderr))

    def requested(self, text):
        """A test sends this to a UAPI socket."""
        self.add("a key set over UAPI", *re.findall(r"(?:private|preshared)_key=([0-9a-f]{64})\b", text))

    def read(self, folder):
        """Keys in files: data folders, wg(8) and wg-quick, certificates."""
        for path in [*folder.rglob("*.key"), *folder.rglob("tmp/key*"), *folder.rglob("tmp/*.conf")]:
            with contextlib.suppress(OSError):
                lines = path.read_text(errors="replace").split("\n")
                self.add(path.name, *[line.strip() for line in lines if path.suffix != ".conf" and "-----" not in line])
                self.add(path.name, *[re.split(r"\s*=\s*", line, maxsplit=1)[1].strip() for line in lines
                                      if re.match(r"\s*(private-?key|preshared-?key|cluster-key)\s*=", line, re.IGNORECASE)])
                peer_id = path.with_name("id")
                if path.name == "wireguard.key" and not path.with_name("cluster.key").exists() and peer_id.exists():
                    self.add(PEER_ID, peer_id.read_text().strip())

    def in_texts(self, texts):
        """Lines with a secret in them, of (where, command line, text). `hpeer` prints its own id for the administrator to use,
        and `hctl` those that it is asked about."""
        forms = {form: name for secret, name in self.found.items() for form in spellings(secret)}
        for where, argv, text in [*texts, *self.said]:
            given = programs(argv)
            for form, name in forms.items():
                if form not in text:
                    continue
                for line in text.split("\n"):
                    shown = "hctl" in given or "hpeer" in given and re.search("hctl peers (authorize|rekey)", line)
                    if form in line and not (shown and name == PEER_ID):
                        yield f"{where} logged {name}: {line}"


def programs(argv):
    return PROGRAMS & {pathlib.Path(word).name for word in argv}


def spellings(secret):
    """The secret itself, and a WireGuard key also in hexadecimal, as the UAPI has it."""
    yield secret
    with contextlib.suppress(binascii.Error, ValueError):
        raw = base64.b64decode(secret, validate=True)
        if len(raw) == 32:
            yield raw.hex()
