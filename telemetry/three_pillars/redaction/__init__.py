"""Redaction: remove card numbers, IBANs, e-mail addresses and secrets from every text.

A number counts as a card or an account only if its check digits are right, so an order id that
merely looks like one is kept. Redacting a text a second time does not change it.
"""

from .prefilter import may_contain_secret
from .redact import redact_mapping, redact_text

__all__ = ["may_contain_secret", "redact_mapping", "redact_text"]
