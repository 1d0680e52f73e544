"""Prints what the static program and the image are made of: a CycloneDX 1.5 SBOM. `sbom.py TARGET`.

From `cargo metadata` and Cargo.lock, and the toolchain that is installed: the standard library of Rust, glibc and libgcc are in the
program, too. The image has the CA certificates of the host that built it. From the environment: CC (cc), the compiler of TARGET, and
CA_BUNDLE, other certificates.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib


def metadata(target):
    command = ["cargo", "metadata", "--quiet", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(graph):
    """The ids of the packages that end up in the program: not those of its tests, nor those that only build it."""
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    found, waiting = set(), [graph["resolve"]["root"]]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        for dependency in nodes[node]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return found


def component(package, checksums):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    entry = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in checksums:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    return entry


def output(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout.strip()


def part(name, version, licence, path, **more):
    """A component that Cargo.lock does not name, with the digest of the file that it comes from."""
    purl = f"pkg:generic/{name}" + (f"@{version}" if version else "")
    entry = {"type": "library", "bom-ref": purl, "name": name, "purl": purl, **more}
    if version:
        entry["version"] = version
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    return {**entry, "licenses": [{"expression": licence}], "hashes": [{"alg": "SHA-256", "content": digest}]}


def toolchain(target):
    """What the compiler links into the static program."""
    rust = dict(line.split(": ", 1) for line in output("rustc", "-vV").splitlines() if ": " in line)
    libraries = pathlib.Path(output("rustc", "--print", "sysroot"), "lib/rustlib", target, "lib")
    yield part("rust-std", rust["release"], "MIT OR Apache-2.0", next(libraries.glob("libstd-*.rlib")))
    cc = os.environ.get("CC", "cc")
    glibc = output(cc, "-E", "-P", "-x", "c", "-", input="#include <features.h>\n__GLIBC__ __GLIBC_MINOR__\n")
    glibc = ".".join(glibc.split()[-2:])
    yield part("glibc", glibc, "LGPL-2.1-or-later", output(cc, "-print-file-name=libc.a"))
    compiler = output(cc, "-dumpfullversion")
    yield part("libgcc", compiler, "GPL-3.0-or-later WITH GCC-exception-3.1", output(cc, "-print-file-name=libgcc_eh.a"))


def certificates():
    """The CA bundle of the image, and for that of a Debian host the version of its package."""
    bundle, version = os.environ.get("CA_BUNDLE"), None
    if not bundle:
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if shutil.which("dpkg-query"):
            version = output("dpkg-query", "-W", "-f", "${Version}", "ca-certificates")
    return part("ca-certificates", version, "MPL-2.0", bundle, type="file")


def main():
    graph = metadata(sys.argv[1])
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)["package"]
    checksums = {(p["name"], p["version"]): p["checksum"] for p in lock if "checksum" in p}
    packages = {package["id"]: package for package in graph["packages"]}
    root = graph["resolve"]["root"]
    refs = {key: component(package, checksums)["bom-ref"] for key, package in packages.items()}
    ids = linked(graph)
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    libraries = [*toolchain(sys.argv[1]), certificates()]
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**component(packages[root], checksums), "type": "application"}},
        "components": sorted(
            [*(component(packages[key], checksums) for key in ids if key != root), *libraries],
            key=lambda entry: entry["bom-ref"],
        ),
        "dependencies": sorted(
            (
                {
                    "ref": refs[key],
                    "dependsOn": sorted(
                        [refs[d["pkg"]] for d in nodes[key]["deps"] if d["pkg"] in ids]
                        + ([entry["bom-ref"] for entry in libraries] if key == root else [])
                    ),
                }
                for key in ids
            ),
            key=lambda entry: entry["ref"],
        ),
    }
    print(json.dumps(sbom, indent=1))


if __name__ == "__main__":
    main()
