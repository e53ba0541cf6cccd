"""Signs requests with botocore's own signer, so that ours can be compared byte for byte.

    botocore_sign.py                           JSON lines on stdin, one answer line each
    botocore_sign.py --self-test VECTORS.json  reproduces the recorded vectors, else exit 1

A request line:
    {"id": any, "kind": "header" | "presign", "method": "POST", "url": "https://...",
     "headers": [["Name", "value"], ...], "body_b64": "...",
     "credentials": {"access_key_id": ..., "secret_access_key": ..., "session_token": ...?},
     "timestamp": "20260115T123456Z", "region": "us-east-1",
     "service": "bedrock-agentcore", "expires_seconds": 300}

The URL is the one on the wire: already percent-encoded. An answer line:
    {"id": ..., "authorization": ..., "headers_added": {...}, "url": ..., "signature": ...,
     "signed_headers": ..., "canonical_request": ..., "string_to_sign": ...}
or {"id": ..., "error": text} when botocore refuses the request.
"""

import argparse
import base64
import datetime
import json
import re
import sys
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def sign(request):
    when = datetime.datetime.strptime(request["timestamp"], "%Y%m%dT%H%M%SZ")
    keys = request["credentials"]
    credentials = Credentials(
        keys["access_key_id"], keys["secret_access_key"], keys.get("session_token")
    )
    aws_request = AWSRequest(
        method=request["method"],
        url=request["url"],
        data=base64.b64decode(request.get("body_b64") or ""),
    )
    for name, value in request["headers"]:
        aws_request.headers[name] = value
    given = {name.lower() for name, _ in request["headers"]}

    scope = (credentials, request["service"], request["region"])
    if request.get("kind", "header") == "presign":
        signer = SigV4QueryAuth(*scope, expires=request.get("expires_seconds", 300))
    else:
        signer = SigV4Auth(*scope)

    # The two strings on the way to the signature say which step differs, if one does.
    seen = {}

    def keep(name, original):
        def wrapper(*args):
            seen[name] = original(*args)
            return seen[name]

        return wrapper

    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=when),
        mock.patch.object(
            signer, "canonical_request", keep("canonical_request", signer.canonical_request)
        ),
        mock.patch.object(signer, "string_to_sign", keep("string_to_sign", signer.string_to_sign)),
    ):
        signer.add_auth(aws_request)

    authorization = aws_request.headers.get("Authorization")
    if authorization:
        signed = re.search(r"SignedHeaders=([^,]+)", authorization)[1]
        signature = re.search(r"Signature=([0-9a-f]+)", authorization)[1]
    else:
        query = parse_qs(urlsplit(aws_request.url).query)
        signed, signature = query["X-Amz-SignedHeaders"][0], query["X-Amz-Signature"][0]
    return {
        "id": request.get("id"),
        "authorization": authorization,
        "headers_added": {n: v for n, v in aws_request.headers.items() if n.lower() not in given},
        "url": aws_request.url,
        "signature": signature,
        "signed_headers": signed,
        **seen,
    }


def serve():
    for line in sys.stdin:
        if not line.strip():
            continue
        request = json.loads(line)
        try:
            answer = sign(request)
        except Exception as error:
            answer = {"id": request.get("id"), "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def self_test(path):
    with open(path, encoding="utf-8") as file:
        recorded = json.load(file)
    failed = 0
    for vector in recorded["vectors"]:
        given, expected = vector["input"], vector["expected"]
        answer = sign(
            {
                **given,
                "kind": vector["kind"],
                "service": given["signing_name"],
                "body_b64": given["body_base64"],
                "credentials": recorded["credentials"][given["credentials"]],
            }
        )
        for field in (
            "canonical_request",
            "string_to_sign",
            "signed_headers",
            "signature",
            "authorization",
        ):
            if field in expected and answer[field] != expected[field]:
                failed += 1
                print(f"{vector['id']}: {field} differs\n  vector   {expected[field]!r}")
                print(f"  botocore {answer[field]!r}")
                break
    passed = len(recorded["vectors"]) - failed
    print(f"botocore_sign: {passed} vectors reproduced, {failed} differ")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", metavar="VECTORS.json")
    arguments = parser.parse_args()
    sys.exit(self_test(arguments.self_test) if arguments.self_test else serve())
