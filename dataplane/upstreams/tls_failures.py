"""Why TLS towards an upstream failed, and what to do about it. Pure."""

from __future__ import annotations

import ssl

_OWN = "; of an authority of your own, or of itself, it is trusted where the provider's tls.caSecretRef has it"
_NAME = "; where that is right, the provider's tls.serverName says what it is for"
_NAMES_ONE = "the provider's tls.clientSecretRef names one"
_NOT_SHOWN = f"it wants a certificate from its clients and was shown none: {_NAMES_ONE}"
_BROKEN = f"it broke the handshake off, as servers do that want a certificate from their clients: {_NAMES_ONE}"
_REFUSED = "it refused the certificate of the provider's tls.clientSecretRef"
_BY_CODE = {18: _OWN, 19: _OWN, 20: _OWN, 21: _OWN, 62: _NAME, 64: _NAME}
"""OpenSSL's X509_V_ERR_… of chains without a known end, and of names."""
_BY_ALERT = {
    "CERTIFICATE_REQUIRED": _NOT_SHOWN,
    "HANDSHAKE_FAILURE": _BROKEN,
    "UNKNOWN_CA": f"{_REFUSED}: it does not trust who signed it",
    "BAD_CERTIFICATE": _REFUSED,
    "UNSUPPORTED_CERTIFICATE": _REFUSED,
    "CERTIFICATE_EXPIRED": f"{_REFUSED}: it has expired",
    "CERTIFICATE_REVOKED": f"{_REFUSED}: it is revoked",
    "CERTIFICATE_UNKNOWN": _REFUSED,
    "ACCESS_DENIED": _REFUSED,
    "UNRECOGNIZED_NAME": "it does not know the name that it was asked for; the provider's tls.serverName says another",
}
"""The last words of what OpenSSL calls an alert (RFC 8446 §6) that the other side sent."""


def tls_failure(error: ssl.SSLError) -> str:
    """The end of a sentence that begins with what failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        return f"its certificate is not trusted: {said}{_BY_CODE.get(error.verify_code, '')}"
    reason = getattr(error, "reason", None) or ""  # loops raise some of their own, without
    _, _, alert = reason.partition("_ALERT_")
    return _BY_ALERT.get(alert, f"TLS failed: {reason or 'the handshake was broken off'}")


def lost_by(error: Exception | None) -> str:
    """The same of a connection that had been made: since TLS 1.3, servers look at certificates of their clients when
    these believe the handshake to be over. Empty where it was no fault of TLS."""
    return f"broke the connection off: {tls_failure(error)}" if isinstance(error, ssl.SSLError) else ""
