"""Prints whose work is in the program, and under which licences: the copyright file of the packages. `licences.py TARGET`.

From `cargo metadata`, and from the licence files in the sources of each crate that is linked in. Nothing is guessed: a crate
that brings no text is told with the licence that its manifest names. A crate without any licence is an error.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "container"))
from sbom import linked, metadata  # noqa: E402

HEAD = """\
check_nats_service: asks NATS itself whether a micro service (ADR-32) is up.

Copyright: the authors of check_nats_service
License: Apache-2.0, see /usr/share/common-licenses/Apache-2.0 or the file LICENSE

The program has these libraries linked in, each under the licence that is named (of several, whichever you choose), and the
standard library of Rust (Copyright The Rust Project Developers, MIT OR Apache-2.0). A static build, as that of the container
image, also has the GNU C Library in it (Copyright Free Software Foundation, LGPL-2.1-or-later), whose source, and all that is
needed to link it anew, is public, and libgcc of GCC (Copyright Free Software Foundation, GPL-3.0-or-later WITH GCC-exception-3.1).

"""


APACHE = re.compile(
    r"[ ]*Apache License\s+Version 2\.0, January 2004.*?"
    r"END OF TERMS AND CONDITIONS(?:\s+APPENDIX:.*?limitations under the License\.)?",
    re.DOTALL,
)
INSTEAD = "(The Apache License, Version 2.0: see above.)"


def texts(package):
    """The licence files of a crate; in place of the text of Apache-2.0, which is the same for all, where to find it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    names = re.compile(r"(licen[cs]e|copying|copyright|unlicense|notice)", re.IGNORECASE)
    for path in sorted(folder.iterdir()):
        if path.is_file() and names.match(path.name) and path.suffix not in (".rs", ".toml", ".html"):
            text = path.read_text(encoding="utf-8", errors="replace").strip().replace("\r\n", "\n")
            text = APACHE.sub(INSTEAD, text).strip()
            if text not in ("", INSTEAD):
                yield text


def main():
    graph = metadata(sys.argv[1])
    root = graph["resolve"]["root"]
    ids = linked(graph) - {root}
    packages = sorted((p for p in graph["packages"] if p["id"] in ids), key=lambda p: (p["name"], p["version"]))
    users = {}
    print(HEAD, end="")
    for package in packages:
        licence = package["license"] or package["license_file"]
        if not licence:
            sys.exit(f"{package['name']} {package['version']} names no licence")
        name = f"{package['name']} {package['version']}"
        print(f"  {name}: {licence.replace('/', ' OR ')}")
        for author in package["authors"]:
            print(f"    Copyright {author}")
        for text in texts(package):
            users.setdefault(text, []).append(name)
    for text, names in sorted(users.items(), key=lambda item: item[1]):
        print("\n" + "-" * 78 + f"\n{', '.join(dict.fromkeys(names))}:\n\n{text}")


main()
