"""Prints whose work is in the program, and under which licences: the copyright file of the packages, in the form of DEP-5
(https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/). `licences.py TARGET`.

From `cargo metadata`, and from the licence files in the sources of each crate that is linked in. Nothing is guessed: names and years
are those of the licence files and the manifest; the project is named where no person is. A crate without any licence, or with one
whose text is nowhere, is an error.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "container"))
from sbom import linked, metadata  # noqa: E402

# Years of our own work.
YEARS = "2026"

HEAD = f"""\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: check_nats_service
Comment:
 The program has the libraries below vendor/ linked in (as `cargo vendor` names them), each under the licence that is given, and the
 standard library of Rust (Copyright The Rust Project Developers, MIT OR Apache-2.0). A static build, as that of the container
 image, also has the GNU C Library in it (Copyright Free Software Foundation, LGPL-2.1-or-later), whose source, and all that is
 needed to link it anew, is public, and libgcc of GCC (Copyright Free Software Foundation, GPL-3.0-or-later WITH GCC-exception-3.1).

Files: *
Copyright: {YEARS} The check_nats_service developers
License: Apache-2.0
"""

APACHE = re.compile(
    r"[ ]*Apache License\s+Version 2\.0, January 2004.*?"
    r"END OF TERMS AND CONDITIONS(?:\s+APPENDIX:.*?limitations under the License\.)?",
    re.DOTALL,
)
IS_APACHE = " On Debian systems the text is /usr/share/common-licenses/Apache-2.0; elsewhere it is in the file LICENSE."

# A sentence of each licence; the first that is found tells which it is.
SENTENCES = {
    "Unicode-3.0": "UNICODE LICENSE V3",
    "Expat": "Permission is hereby granted, free of charge, to any person obtaining",
    "ISC": "Permission to use, copy, modify, and/or distribute this software for any",
    "Unlicense": "This is free and unencumbered software released into the public domain",
    "BSD-3-Clause": "may be used to endorse or promote products derived from",
    "BSD-2-Clause": "Redistribution and use in source and binary forms",
    "Apache-2.0 with LLVM exception": "LLVM Exceptions to the Apache 2.0 License",
}

# `Copyright (c) 2014 Somebody`, but not the copyright notice that a licence speaks of, nor one to be filled in.
HOLDER = re.compile(r"^\W*copyright\s*(?:\(c\)|©)?\s*(?P<who>(?:\(c\)|©|\d{4}|[A-Z]).*?)\.?\s*$", re.IGNORECASE)
NO_HOLDER = re.compile(r"(notice|licen[cs]e|owner|holders? |law|interest|\[yyyy\]|\{yyyy\}|statement)", re.IGNORECASE)
# What stands around a licence, and is none of it.
AROUND = re.compile(r"^\W*(all rights reserved|the mit license(?: \(mit\))?|mit license|isc license:?|=+|-+)\W*$", re.IGNORECASE)


def texts(package):
    """The licence files of a crate, without the text of Apache-2.0, which is the same for all."""
    folder = pathlib.Path(package["manifest_path"]).parent
    names = re.compile(r"(licen[cs]e|copying|copyright|unlicense|notice)", re.IGNORECASE)
    for path in sorted(folder.iterdir()):
        if path.is_file() and names.match(path.name) and path.suffix not in (".rs", ".toml", ".html"):
            text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").expandtabs()
            yield APACHE.sub("", text).strip()


def holder(line):
    match = HOLDER.match(line)
    if not match or NO_HOLDER.search(match["who"]):
        return None
    return re.sub(r"^(?:\(c\)|©)\s*", "", match["who"].strip(), flags=re.IGNORECASE).rstrip("*/ ")


def split(text):
    """The holders that a licence file names, and the rest of it."""
    holders, rest = [], []
    for line in text.split("\n"):
        name = holder(line)
        if name:
            holders.append(name)
        elif not AROUND.match(line):
            rest.append(line.rstrip())
    return holders, "\n".join(rest).strip("\n")


def licence_of(text):
    flat = " ".join(text.split())
    return next((name for name, sentence in SENTENCES.items() if sentence in flat), None)


def expression(package):
    """The licence of a crate in the words of DEP-5, and the names in it."""
    spdx = package["license"]
    if not spdx:
        sys.exit(f"{package['name']} {package['version']} names no licence")
    words = re.sub(r"\bMIT\b", "Expat", spdx.replace("/", " OR "))
    words = re.sub(r" WITH (\w+)-exception", r" with \1 exception", words)
    words = re.sub(r"\((.*?)\) AND ", r"\1, and ", words).replace(" OR ", " or ").replace(" AND ", " and ")
    names = re.split(r", and | and | or ", words)
    return " ".join(words.split()), [name.strip() for name in names]


def field(name, lines):
    """A field of several lines, as DEP-5 wants it."""
    return "\n".join([f"{name}: {lines[0]}", *(f" {line}" if line.strip() else " ." for line in lines[1:])])


def main():
    graph = metadata(sys.argv[1])
    root = graph["resolve"]["root"]
    ids = linked(graph) - {root}
    packages = sorted((p for p in graph["packages"] if p["id"] in ids), key=lambda p: (p["name"], p["version"]))
    print(HEAD)
    paragraphs = {}
    for package in packages:
        words, names = expression(package)
        holders, comments = [], []
        for text in filter(None, texts(package)):
            found, rest = split(text)
            name = licence_of(rest)
            # The licences of others, whose work is in the crate: whole.
            if name not in names or rest.count("\n") > 100:
                if rest.count("\n") > 20:
                    comments.append(text)
                name, found = None, []
            holders += found
            if name:
                variants = paragraphs.setdefault(name, {})
                variants.setdefault(re.sub(r"\W+", " ", rest).lower(), rest)
        for name in names:
            paragraphs.setdefault(name, {})
        bare = " ".join(holders).lower()
        authors = [author for author in package["authors"] if author.split(" <")[0].lower() not in bare]
        who = list(dict.fromkeys(holders + authors)) or [f"The {package['name']} developers"]
        print(f"Files: vendor/{package['name']}-{package['version']}/*")
        print(field("Copyright", who))
        print(f"License: {words}")
        if comments:
            print(field("Comment", ["", *"\n\n".join(comments).split("\n")]).replace("Comment: \n", "Comment:\n"))
        print()
    for name, variants in sorted(paragraphs.items()):
        print(f"License: {name}")
        if name == "Apache-2.0":
            print(IS_APACHE)
        elif not variants:
            sys.exit(f"the text of {name} is in no crate")
        else:
            text = ("\n\n" + "-" * 40 + "\n\n").join(variants.values())
            print("\n".join(f" {line}" if line.strip() else " ." for line in text.split("\n")))
        print()


main()
