"""Asks stock kombu and Celery what they write and read. Run by Celery's own python, never imported.

Reads one JSON case a line and answers each with one JSON line. Values travel as Python source, so that all types can;
whatever is raised is answered as `{"error": type name}`.
"""

import base64
import collections
import datetime as dt
import decimal
import json
import math
import sys
import uuid

from celery.security.certificate import Certificate, CertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from celery.utils.saferepr import saferepr
from kombu import compression, serialization
from kombu.utils import json as kombu_json

NAMES = {
    "datetime": dt,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
    "OrderedDict": collections.OrderedDict,
    "nan": math.nan,
    "inf": math.inf,
}
serialization.enable_insecure_serializers()


def value(case):
    return eval(case["value"], NAMES)


def secure(case):
    store = CertStore()
    store.add_cert(Certificate(case["certificate"]))
    return SecureSerializer(
        PrivateKey(case["key"]), Certificate(case["certificate"]), store, case["digest"], case.get("serializer", "json")
    )


def written(case):
    kind, encoding, body = serialization.dumps(value(case), serializer=case["serializer"])
    return [kind, encoding, base64.b64encode(body.encode() if isinstance(body, str) else body).decode()]


def read(case):
    accept = serialization.prepare_accept_content(["json", "yaml", "msgpack", "pickle", "text/plain"])
    return repr(serialization.loads(base64.b64decode(case["body"]), case["type"], case["encoding"], accept=accept))


def compressed(case):
    body, kind = compression.compress(base64.b64decode(case["body"]), case["name"])
    return [base64.b64encode(body).decode(), kind]


def decompressed(case):
    return base64.b64encode(compression.decompress(base64.b64decode(case["body"]), case["name"])).decode()


ANSWERS = {
    "json write": lambda case: kombu_json.dumps(value(case)),
    "json read": lambda case: repr(kombu_json.loads(case["text"])),
    "repr": lambda case: saferepr(value(case), case["maxlen"], case["maxlevels"]),
    "write": written,
    "read": read,
    "compress": compressed,
    "decompress": decompressed,
    "sign": lambda case: secure(case).serialize(value(case)),
    "verify": lambda case: repr(secure(case).deserialize(case["body"])),
}

for line in sys.stdin:
    case = json.loads(line)
    try:
        answer = ANSWERS[case["ask"]](case)
    except Exception as problem:
        answer = {"error": type(problem).__name__}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
