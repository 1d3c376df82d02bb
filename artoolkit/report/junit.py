"""Checks as JUnit XML, which CI services show as tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from artoolkit.evidence.verdict import Check

# No XML 1.0 document may hold these, escaped or not.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS = {"FAIL": "failure", "UNDECIDED": "error", "UNAVAILABLE": "error"}


def junit_of(suites: Mapping[str, Sequence[Check]]) -> bytes:
    """A test suite for each name, a test case for each check.

    FAIL is a failure; a required check without an answer is an error, since the verdict is open;
    a check that is not required and does not pass is skipped.
    """
    root = ElementTree.Element("testsuites")
    for name, checks in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_plain(name))
        counts = dict.fromkeys(("failure", "error", "skipped"), 0)
        for check in checks:
            case = ElementTree.SubElement(suite, "testcase", classname="artoolkit", name=check.name)
            text = _plain("\n".join((check.headline, *check.details)))
            ElementTree.SubElement(case, "system-out").text = text
            if check.result == "PASS":
                continue
            kind = _KINDS[check.result] if check.required else "skipped"
            counts[kind] += 1
            message = _plain(f"{check.result}: {check.headline}")
            ElementTree.SubElement(case, kind, type=check.result, message=message)
        plural = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        suite.attrib["tests"] = str(len(checks))
        suite.attrib |= {name: str(counts[one]) for name, one in plural.items()}
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _plain(text: str) -> str:
    return _NO_XML.sub("?", text)
