"""The demo's HTTP clients speak plain HTTP to the components of the stack."""

import ssl

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The ``verify`` of every client: it trusts no certificate, so HTTPS would fail.

By default, a client of httpx2 reads all certificates of the machine when it is made. That takes 25
to 50 ms, a tenth of the CPU time of a command.
"""
