"""Redaction: remove card numbers, IBANs, e-mail addresses and secrets from every text.

A number counts as a card number or an IBAN only if its check digits are correct, so that an order
id of the same shape is kept. Redacting a text a second time does not change it.
"""

from .prefilter import may_contain_secret
from .redact import redact_mapping, redact_text

__all__ = ["may_contain_secret", "redact_mapping", "redact_text"]
