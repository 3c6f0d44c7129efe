#!/usr/bin/env python3
"""Checks what a Holdfast ledger proves, without any of Holdfast's code.

Written from docs/evidence-bundle.md, RFC 6962, RFC 9162, RFC 8032 and the C2SP
documents signed-note, tlog-checkpoint and tlog-cosignature alone. Python 3.8 and
its standard library; Ed25519 is checked in plain Python (slow, public data only).
ML-DSA-44 signatures are not checked: the standard library has nothing for it, and
every run that meets one says so.

    verify_bundle.py bundle FILE --key VKEY [--witness VKEY]... [--required N]
                                 [--seen SIZE ROOT]
    verify_bundle.py proof FILE              (what `holdfast ledger prove` prints)
    verify_bundle.py folder DIR --key VKEY   (checkpoint and tile/, as published)

Exit code 0: everything that was checked holds; 1: something does not; 2: usage.
"""

import argparse
import base64
import hashlib
import json
import os
import sys


class Wrong(Exception):
    """Something is not as it must be."""


def sha256(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def unbase64(text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Wrong("not base64: %.40r" % text)


# Ed25519, RFC 8032 section 5.1.7 and the reference code of section 6.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P != 0:
        return None
    return P - x if x & 1 != sign else x


def point(encoded):
    y = int.from_bytes(encoded, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, p):
    q = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            q = add(q, p)
        p = add(p, p)
        scalar >>= 1
    return q


def equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def ed25519_fits(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = point(public), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return equal(multiply(s, BASE), add(r, multiply(h, a)))


# Signed notes and keys.


class Key:
    def __init__(self, vkey):
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise Wrong("not a verifier key: %.40r" % vkey)
        self.name, key = parts[0], unbase64(parts[2])
        self.kind, self.public = key[0], key[1:]
        self.id = sha256(self.name.encode(), b"\n", key)[:4]
        if self.id.hex() != parts[1]:
            raise Wrong("the hash of the key of %s is wrong" % self.name)


class Note:
    def __init__(self, note):
        blank = note.rfind("\n\n")
        if blank < 0 or not note.endswith("\n"):
            raise Wrong("not a signed note")
        self.text = note[: blank + 1]
        self.signatures = []
        for line in note[blank + 2 :].splitlines():
            parts = line.split(" ")
            if len(parts) != 3 or parts[0] != "\u2014":
                raise Wrong("not a signature line: %.40r" % line)
            raw = unbase64(parts[2])
            self.signatures.append((parts[1], raw[:4], raw[4:]))

    def signed_by(self, key):
        """True, False (no signature of the key) or None (cannot be checked here)."""
        mine = [s for name, ident, s in self.signatures if (name, ident) == (key.name, key.id)]
        if not mine:
            return False
        if key.kind == 6:
            return None
        for signature in mine:
            message = self.text.encode()
            if key.kind == 4:
                time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
                message = b"cosignature/v1\ntime %d\n" % time + message
            elif key.kind != 1:
                raise Wrong("a key of %s is of an unknown type" % key.name)
            if not ed25519_fits(key.public, message, signature):
                raise Wrong("the signature of %s does not fit" % key.name)
        return True

    def checkpoint(self):
        lines = self.text.split("\n")
        if len(lines) < 4 or str(int(lines[1])) != lines[1]:
            raise Wrong("not a checkpoint")
        root = unbase64(lines[2])
        if len(root) != 32:
            raise Wrong("a root of %d bytes" % len(root))
        return lines[0], int(lines[1]), root


# Merkle trees: RFC 6962 section 2.1; verification by RFC 9162.


def leaf_hash(data):
    return sha256(b"\x00", data)


def node_hash(left, right):
    return sha256(b"\x01", left, right)


def tree_head(hashes):
    if not hashes:
        return sha256()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(tree_head(hashes[:k]), tree_head(hashes[k:]))


def root_from_inclusion(leaf, index, size, path):
    """RFC 9162 section 2.1.3.2."""
    if index >= size:
        raise Wrong("entry %d is beyond the tree of %d" % (index, size))
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            raise Wrong("the proof of entry %d is too long" % index)
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    if sn != 0:
        raise Wrong("the proof of entry %d is too short" % index)
    return r


def is_consistent(first, first_hash, second, second_hash, path):
    """RFC 9162 section 2.1.4.2."""
    if first == second:
        return not path and first_hash == second_hash
    if first == 0:
        return not path
    if first > second or not path:
        return False
    path = list(path)
    if first & (first - 1) == 0:
        path.insert(0, first_hash)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    return fr == first_hash and sr == second_hash and sn == 0


# The sentences of the index.

ACTIONS = {
    "read": "read",
    "search": "found by a search",
    "write": "wrote",
    "deliver": "passed on",
    "notify": "opened for a notice",
    "delete": "deleted",
}
PHRASES = {
    "ledger-opened": "began the ledger",
    "key-release": "was given keys to a patient's record",
    "service-key-release": "was given keys of the service, which open no record",
    "refusal": "was refused",
    "session": "signed in or out",
    "intake": "sent a message that was kept",
    "store-commit": "noted the state of the store",
    "patient-profile": "placed a patient's record",
    "delivery": "sent news of a patient to another organization",
    "account-change": "changed an account",
    "budget-change": "changed a budget of patients",
    "alert": "set off an alert",
    "containment": "suspended somebody or lifted a suspension",
    "incident-step": "took a step in an incident",
    "release-unused": "gave keys to a patient's record back unused",
    "ledger-read": "looked at entries of the ledger",
    "forgotten": "destroyed the key of a patient's record",
}


def sentence(index, entry):
    actor, event = entry["actor"], entry["event"]
    line = "# Entry %d, %s: %s" % (index, entry["at"], actor["principal"])
    if actor.get("organization") is not None:
        line += " of " + actor["organization"]
    if actor.get("address") is not None:
        line += ", at %s," % "".join(c for c in actor["address"] if "!" <= c <= "~")[:64]
    kind = event["kind"]
    if kind == "access":
        did = (ACTIONS[event["action"]], len(event["touches"]))
        line += " %s %d resource(s) of a patient's record" % did
    else:
        line += " " + PHRASES.get(kind, "recorded " + kind)
    if event.get("patient") is not None and event.get("organization") is not None:
        line += "; patient %s of %s" % (event["patient"], event["organization"])
    return line + "."


def preamble(origin, count, size):
    return [
        '## This file is evidence from the audit ledger "%s".' % origin,
        "## It holds %d of the %d entries that its signed checkpoint counts." % (count, size),
        "## Each line that begins with one # says in words what one entry says.",
        "## The JSON lines below prove it: salt and entry hash to a leaf of a tree, the proof",
        "## leads from the leaf to the root, and the root is signed in the checkpoint.",
        "## To check it without trusting whoever gave it to you, get the ledger's policy from",
        "## somebody you trust and run: holdfast ledger verify FILE --policy POLICY",
        "## The format is described in docs/evidence-bundle.md of Holdfast.",
    ]


def ranges(indexes):
    found = []
    for index in indexes:
        if found and found[-1][1] + 1 == index:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join("%d" % a if a == b else "%d-%d" % (a, b) for a, b in found) or "none"


TITLE = "holdfast evidence bundle v2"


def check_signers(note, key, witnesses, required):
    """The log's signature, and as many witnesses as are required."""
    if note.signed_by(key) is not True:
        raise Wrong("the log has not signed the checkpoint")
    skipped = sum(1 for _, _, signature in note.signatures if len(signature) > 2000)
    if skipped:
        print("skipped: %d ML-DSA-44 signature(s); there is no check for them here" % skipped)
    names = {}
    for witness in witnesses:
        signed = note.signed_by(witness)
        if signed is None:
            continue
        names[witness.name] = names.get(witness.name, True) and signed
    found = sum(names.values())
    if found < required:
        raise Wrong("%d of %d required witnesses have cosigned" % (found, required))
    return found


def check_bundle(path, key, witnesses, required, seen):
    with open(path, "rb") as file:
        data = file.read()
    if not data.endswith(b"\n"):
        raise Wrong("the last line does not end")
    lines = data.decode("utf-8").split("\n")[:-1]
    if lines[0] != TITLE:
        raise Wrong("line 1: not a bundle of version 2")
    head = 1
    while head < len(lines) and lines[head].startswith("## "):
        head += 1
    end = head
    while end < len(lines) and lines[end].startswith("# "):
        end += 1
    parts = []
    for number, line in enumerate(lines[end:], end + 1):
        try:
            parts.append((number, json.loads(line)))
        except ValueError:
            raise Wrong("line %d: not JSON" % number)
    if not parts or parts[-1][1].get("part") != "manifest":
        raise Wrong("truncated: the manifest is not at the end")
    if parts[0][1].get("part") != "checkpoint":
        raise Wrong("line %d: the checkpoint is missing" % (end + 1))
    note = Note(parts[0][1]["note"])
    found = check_signers(note, key, witnesses, required)
    origin, size, root = note.checkpoint()
    if origin != key.name:
        raise Wrong("the checkpoint is of another log: %s" % origin)
    entries, consistency = [], {}
    for number, part in parts[1:-1]:
        if part["part"] == "consistency":
            consistency[part["from"]] = [unbase64(hash_) for hash_ in part["proof"]]
        elif part["part"] == "entry":
            entries.append((number, part))
        elif part["part"] != "policy":
            raise Wrong("line %d: an unknown part" % number)
    if lines[1:head] != preamble(origin, len(entries), size):
        raise Wrong("the preamble is not the one of this bundle")
    if end - head != len(entries):
        raise Wrong("%d sentences for %d entries" % (end - head, len(entries)))
    last = -1
    for (number, part), line in zip(entries, lines[head:end]):
        index, salt, text = part["index"], unbase64(part["salt"]), part["entry"].encode()
        if index <= last:
            raise Wrong("line %d: entry %d is out of order" % (number, index))
        last = index
        commitment = sha256(b"holdfast/ledger/entry/v1\x00", salt, text)
        leaf = leaf_hash(b"\x01" + commitment)
        proven = root_from_inclusion(leaf, index, size, [unbase64(h) for h in part["proof"]])
        if len(salt) != 32 or proven != root:
            raise Wrong("line %d: entry %d is not in the signed tree" % (number, index))
        if sentence(index, json.loads(text)) != line:
            raise Wrong("the sentence about entry %d says something else" % index)
    manifest = Note(parts[-1][1]["note"])
    if manifest.signed_by(key) is not True:
        raise Wrong("the log has not signed the manifest")
    digest = sha256(data[: data.rstrip(b"\n").rfind(b"\n") + 1])
    indexes = ranges([part["index"] for _, part in entries])
    encoded = base64.b64encode(digest).decode()
    if manifest.text != "%s\n%s\n%d\n%s\n%s\n" % (TITLE, origin, size, indexes, encoded):
        raise Wrong("the manifest is not the one of this bundle")
    if seen:
        seen_size, seen_root = seen
        proof = consistency.get(seen_size, [])
        if not is_consistent(seen_size, seen_root, size, root, proof):
            raise Wrong("forked or rolled back: not what was seen at size %d" % seen_size)
    print("verified: %d entries of %s, size %d, %d witness(es)" % (len(entries), origin, size, found))


def check_proof(path):
    with open(path, encoding="utf-8") as file:
        proof = json.load(file)
    size, root = proof["size"], unbase64(proof["root"])
    path = [unbase64(hash_) for hash_ in proof["proof"]]
    if "index" in proof:
        leaf = unbase64(proof["leaf_hash"])
        if root_from_inclusion(leaf, proof["index"], size, path) != root:
            raise Wrong("entry %d is not in the tree" % proof["index"])
    elif not is_consistent(
        proof["from_size"], unbase64(proof["from_root"]), size, root, path
    ):
        raise Wrong("the tree of %d does not begin with that of %d" % (size, proof["from_size"]))
    if "checkpoint" in proof and Note(proof["checkpoint"]).checkpoint()[1:] != (size, root):
        raise Wrong("the checkpoint is of another tree")
    print("verified: the proof leads to the root of size %d" % size)


def check_folder(directory, key):
    def read(path):
        with open(os.path.join(directory, path), "rb") as file:
            return file.read()

    note = Note(read("checkpoint").decode())
    check_signers(note, key, [], 0)
    origin, size, root = note.checkpoint()
    if origin != key.name:
        raise Wrong("the checkpoint is of another log: %s" % origin)
    leaves = []
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        number, rest = "%03d" % (index % 1000), index // 1000
        while rest:
            number, rest = "x%03d/%s" % (rest % 1000, number), rest // 1000
        partial = "" if width == 256 else ".p/%d" % width
        entries = read("tile/entries/%s%s" % (number, partial))
        hashes = read("tile/0/%s%s" % (number, partial))
        place = 0
        for n in range(width):
            length = int.from_bytes(entries[place : place + 2], "big")
            leaf = leaf_hash(entries[place + 2 : place + 2 + length])
            place += 2 + length
            if hashes[32 * n : 32 * n + 32] != leaf:
                raise Wrong("tile %s: leaf %d has another hash" % (number, index * 256 + n))
            leaves.append(leaf)
    if tree_head(leaves) != root:
        raise Wrong("the leaves do not have the root that was signed")
    print("verified: %d leaves of %s have the signed root" % (size, origin))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    bundle = commands.add_parser("bundle")
    bundle.add_argument("file")
    bundle.add_argument("--key", required=True)
    bundle.add_argument("--witness", action="append", default=[])
    bundle.add_argument("--required", type=int, default=0)
    bundle.add_argument("--seen", nargs=2)
    proof = commands.add_parser("proof")
    proof.add_argument("file")
    folder = commands.add_parser("folder")
    folder.add_argument("dir")
    folder.add_argument("--key", required=True)
    asked = parser.parse_args()
    try:
        if asked.command == "bundle":
            witnesses = [Key(vkey) for vkey in asked.witness]
            seen = (int(asked.seen[0]), unbase64(asked.seen[1])) if asked.seen else None
            check_bundle(asked.file, Key(asked.key), witnesses, asked.required, seen)
        elif asked.command == "proof":
            check_proof(asked.file)
        else:
            check_folder(asked.dir, Key(asked.key))
    except (Wrong, OSError, KeyError, ValueError, TypeError) as wrong:
        print("VIOLATION %s: %s" % (type(wrong).__name__, wrong))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
