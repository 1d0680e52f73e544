"""Prints what the program is made of: a CycloneDX 1.5 SBOM, from `cargo metadata` and Cargo.lock. `sbom.py TARGET`."""

import json
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
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**component(packages[root], checksums), "type": "application"}},
        "components": sorted(
            (component(packages[key], checksums) for key in ids if key != root), key=lambda entry: entry["bom-ref"]
        ),
        "dependencies": sorted(
            (
                {"ref": refs[key], "dependsOn": sorted(refs[d["pkg"]] for d in nodes[key]["deps"] if d["pkg"] in ids)}
                for key in ids
            ),
            key=lambda entry: entry["ref"],
        ),
    }
    print(json.dumps(sbom, indent=1))


if __name__ == "__main__":
    main()
