#!/usr/bin/env python3
"""Writes the linker script that puts the code of a start and of a message first.

    layout.py MAP START MESSAGES

MAP is what lld wrote with -Map; START and MESSAGES are folders with what callgrind counted. What was executed is looked
up in the map: in which section it lies, and those sections are listed, without the hashes of the compiler.
"""

import pathlib
import re
import sys

# A function that was executed, with all that callgrind counted for it in the lines that follow.
EXECUTED = re.compile(r"^fn=(.*?)(?:'\d+)?$", re.MULTILINE)
# A line of the map: addresses, size and alignment, then a section of an object, or a symbol in it.
LINE = re.compile(r"\s*[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+ (\s*)(.*)$")
SECTION = re.compile(r"(.*):\((\.text[^)]*)\)$")

HEAD = """\
/* Where functions lie: those that a start executes, then those that a message executes besides, then all others as ever.
 * Only what lies beside something that is executed is resident with it (docs/performance.md).
 *
 * Made by scripts/layout.sh, from what was executed. A function that is missing here, or is no longer there, costs a page
 * and breaks nothing.
 */
SECTIONS
{
"""


def executed(folder):
    """The names of the functions that were executed."""
    return {name for file in pathlib.Path(folder).iterdir() for name in EXECUTED.findall(file.read_text())}


def sections(path):
    """In which section of which object every function lies, and how large the sections of one pattern are."""
    of, sizes, section = {}, {}, None
    for line in open(path, encoding="utf-8"):
        if not (match := LINE.match(line)):
            continue
        size, indent, text = match.groups()
        if len(indent) == 8:
            section = SECTION.match(text)
            section = section and pattern(*section.groups())
            if section:
                sizes[section] = sizes.get(section, 0) + int(size, 16)
        elif len(indent) == 16 and section:
            of.setdefault(text, section)
    return of, sizes


def pattern(file, section):
    """How the linker script names such a section, whatever the compiler's hashes and version suffixes are."""
    if section == ".text":
        # Assembler has one section for each file. A member's name begins with a hash.
        member = re.search(r"\.rlib\([0-9a-f]+(-.*\.o)\)$", file)
        return member and f"*:*{member[1]}(.text)"
    section = re.sub(r"17h[0-9a-f]{16}E.*$", "17h*", section)
    section = re.sub(r"Cs[0-9A-Za-z]{8,12}_", "Cs*_", section)
    section = re.sub(r"\baws_lc_\d+_\d+_\d+_", "aws_lc_*_", section)
    section = re.sub(r"\.(constprop|isra|part)\.\d+.*$", r".\1.*", section)
    return f"*({section})"


def main():
    of, sizes = sections(sys.argv[1])
    out, listed = HEAD, set()
    for name, folder in zip(("start", "message"), sys.argv[2:]):
        wanted = {of[function] for function in executed(folder) if function in of} - listed
        listed |= wanted
        lines = "".join(f"    {line}\n" for line in sorted(wanted))
        out += f"  .text.{name} :\n  {{\n{lines}  }}\n"
        print(f"{name}: {len(wanted)} lines, {sum(sizes[line] for line in wanted):,} bytes", file=sys.stderr)
    print(out + "}\nINSERT BEFORE .text;")


main()
