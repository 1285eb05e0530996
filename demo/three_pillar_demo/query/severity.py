"""Finds the level of a log record from its severity number and text, in the spelling of any logger.

The number decides. Only a record without a known number has the level of its text.
"""

from collections.abc import Mapping

from three_pillar_demo.query.literals import quoted

LEVEL_NUMBERS: Mapping[str, range] = {
    "TRACE": range(1, 5),
    "DEBUG": range(5, 9),
    "INFO": range(9, 13),
    "WARN": range(13, 17),
    "ERROR": range(17, 25),
}
"""OTLP's severity numbers of each level. ERROR includes everything worse, such as FATAL."""
FIRST_FATAL = 21
"""OTLP's first severity number of FATAL."""
LEVEL_NAMES: Mapping[str, tuple[str, ...]] = {
    "TRACE": ("FINEST", "VERBOSE"),
    "DEBUG": ("FINE", "FINER", "CONFIG"),
    "INFO": ("INFORMATION", "INFORMATIONAL", "NOTICE"),
    "WARN": ("WARNING",),
    "ERROR": ("ERR", "CRITICAL", "CRIT", "SEVERE", "ALERT", "EMERGENCY", "EMERG", "PANIC"),
}
"""Further severity texts of each level, in capital letters.

OTLP keeps the name that the logging library uses: ERROR in most languages, ``Error`` in .NET,
``error`` in Node.js, CRITICAL in Python, SEVERE in Java, and the names of syslog.
"""
LEVEL_TEXTS: Mapping[str, tuple[str, ...]] = {
    level: (
        *(
            f"{name}{number}"
            for name in ((level, "FATAL") if level == "ERROR" else (level,))
            for number in ("", 2, 3, 4)
        ),
        *names,
    )
    for level, names in LEVEL_NAMES.items()
}
"""All severity texts of each level, in capital letters, with OTLP's own ones, such as ERROR2."""


def level_of(severity_text: str, severity_number: int) -> str:
    """Return the level of a log record: a key of ``LEVEL_NUMBERS``, or "" if it is not known.

    ``severity_number`` is 1 to 24; with any other number the text decides, in any case.
    """
    for level, numbers in LEVEL_NUMBERS.items():
        if severity_number in numbers:
            return level
    text = severity_text.strip().upper()
    for level, texts in LEVEL_TEXTS.items():
        if text in texts:
            return level
    return ""


def shown_level(severity_text: str, severity_number: int) -> str:
    """Return how a log record's level is called on a page: as its sender has called it.

    A severity text that means another level than the number, or none, gives way to OTLP's name of
    the number, so that ``INFO`` with the number 17 is shown as ``ERROR``. Without a known number,
    the text is shown whatever it is.
    """
    level = level_of(severity_text, severity_number)
    if level_of(severity_text, 0) == level:
        return severity_text.strip()
    return "FATAL" if severity_number >= FIRST_FATAL else level


def is_failure(severity_text: str, severity_number: int) -> bool:
    """Return True if a log record has the level ERROR."""
    return level_of(severity_text, severity_number) == "ERROR"


def sql_condition(level: str) -> str:
    """Return the SQL condition for log records of a level, on the columns of the local store."""
    numbers = LEVEL_NUMBERS[level]
    last = LEVEL_NUMBERS["ERROR"][-1]
    return (
        f"(severity BETWEEN {numbers[0]} AND {numbers[-1]} OR (severity NOT BETWEEN 1 AND {last} "
        f"AND upper(trim(severity_text)) IN {LEVEL_TEXTS[level]!r}))"
    )


def logql_filter(level: str) -> str:
    """Return LogQL's label filter for log records of a level, with the names that Loki uses."""
    known_numbers = "|".join(str(number) for number in range(1, LEVEL_NUMBERS["ERROR"][-1] + 1))
    numbers = "|".join(str(number) for number in LEVEL_NUMBERS[level])
    texts = quoted(rf"(?i)\s*({'|'.join(LEVEL_TEXTS[level])})\s*")
    return (
        f'(severity_number=~"{numbers}" or '
        f'(severity_number!~"{known_numbers}" and severity_text=~{texts}))'
    )
