"""One line per check, as tests/packaging/checks prints them, and a YAML reader that takes no key twice."""

import pathlib
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
failures = []


def check(what, problems):
    """`problems` is what is wrong, one text each, or a function that says so: nothing where all is well."""
    if callable(problems):
        try:
            problems = problems()
        except Exception as error:  # A manifest that lacks what is looked for is a failed check, not the end of all.
            problems = [f"{type(error).__name__}: {error}"]
    print(f"{'FAILED ' if problems else 'ok     '} {what}")
    for problem in problems:
        print(f"        {problem}")
    failures.extend(problems)


def sum_up():
    print(f"{len(failures)} problems found" if failures else "all checks passed")
    sys.exit(1 if failures else 0)


class Loader(yaml.SafeLoader):
    """YAML silently takes the last of two equal keys; here that is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                name = self.construct_object(key, deep=True)
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} stands twice", key.start_mark)
                seen.add(name)
        return super().construct_mapping(node, deep)


def documents(path):
    return list(yaml.load_all((ROOT / path).read_text(), Loader))


def version():
    """The version of the workspace, as Cargo.toml has it."""
    lines = (ROOT / "Cargo.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))
