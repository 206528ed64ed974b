"""Signed requests to an S3 server, for what tests set up there: buckets, versions, locks, policies. Standard library only.

Signature: AWS, "Authenticating Requests: Using the Authorization Header", one chunk.
"""

import hashlib
import hmac
import http.client
import time
import urllib.parse
from xml.etree import ElementTree


def sign(method, host, path, query, headers, body, access, secret, region="us-east-1", now=None):
    """Returns all headers of the request, in lower case; `query` is a list of pairs."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    digest = hashlib.sha256(body).hexdigest()
    headers = {name.lower(): value for name, value in headers.items()}
    headers |= {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest}
    names = ";".join(sorted(headers))
    quoted = "&".join(sorted(f"{quote(name)}={quote(value)}" for name, value in query))
    canonical = "\n".join([method, quote(path, "/"), quoted, *(f"{n}:{headers[n].strip()}" for n in sorted(headers)), "", names, digest])
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers, quoted


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-._~")


def request(method, port, path, access, secret, query=(), headers=None, body=b"", host="127.0.0.1", region="us-east-1"):
    """Status, headers and body of the answer; plain HTTP on the loopback."""
    signed, quoted = sign(method, f"{host}:{port}", path, list(query), headers or {}, body, access, secret, region)
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, quote(path, "/") + ("?" + quoted if quoted else ""), body=body, headers=signed)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def must(*arguments, **keywords):
    """The same, for what has to go well; returns the body."""
    status, _, body = request(*arguments, **keywords)
    if not 200 <= status <= 299:
        raise RuntimeError(f"{arguments[0]} {arguments[2]}: {status} {body[:500].decode(errors='replace')}")
    return body


def create_buckets(port, access, secret):
    """`vault` is plain, `versions` keeps versions, `locked` locks all it gets for a day (GOVERNANCE)."""
    def put(path, *what, query=(), headers=None, body=b""):
        must("PUT", port, path, access, secret, query=query, headers=headers, body=body)
    put("/vault")
    put("/versions")
    put("/versions", query=[("versioning", "")],
        body=b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
    put("/locked", headers={"x-amz-bucket-object-lock-enabled": "true"})
    put("/locked", query=[("object-lock", "")],
        body=b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
             b"<Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>")
    create_multipart(port, access, secret)


def create_multipart(port, access, secret):
    """`multipart` in `vault`: five mebibytes of A and a thousand B, sent as two parts."""
    path = "/vault/multipart"
    started = must("POST", port, path, access, secret, query=[("uploads", "")])
    upload = ElementTree.fromstring(started).findtext("{*}UploadId")
    tags = []
    for number, body in enumerate([b"A" * (5 << 20), b"B" * 1000], 1):
        status, headers, _ = request("PUT", port, path, access, secret, query=[("partNumber", str(number)), ("uploadId", upload)], body=body)
        assert status == 200, status
        tags.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{headers['ETag']}</ETag></Part>")
    must("POST", port, path, access, secret, query=[("uploadId", upload)],
         body=f"<CompleteMultipartUpload>{''.join(tags)}</CompleteMultipartUpload>".encode())
