"""Circles of imports between the files of src/.

A folder's own file (`a.rs` or `a/mod.rs`) may import from the files of the folder, and they from it; beside that, no
file imports another one that imports it, directly or by a chain of others. Imports through re-exports count as imports of the
file that defines the item; tests inside files do not count.

    python3 tests/import_circles.py [--graph]

prints each circle and ends with 1 if there is one. Before that, it makes sure that it would see one, in a small
crate with circles and in one without.
"""

import re
import sys
from pathlib import Path

WORD = r"[A-Za-z_][A-Za-z0-9_]*"


def without_comments(text):
    """The text of a Rust file without comments and the insides of strings."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|r(#*)".*?"\1|"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\'\\])\'', re.S
    )
    return pattern.sub(lambda found: " " if found[0].startswith("/") else '""', text)


def block_end(text, start):
    """Index after the brace that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)


def without_tests(text):
    """The text without items that only tests have."""
    while found := re.search(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*", text):
        rest = re.compile(r"[;{]").search(text, found.end())
        if rest is None:
            return text[: found.start()]
        end = rest.end() if rest[0] == ";" else block_end(text, rest.start())
        text = text[: found.start()] + text[end:]
    return text


def use_tree(text, prefix=()):
    """(path, name) of each leaf of a use tree."""
    text = text.strip()
    if "{" in text:
        head, inside = text.split("{", 1)
        inside = inside.rsplit("}", 1)[0]
        head = tuple(part for part in re.split(r"\s*::\s*", head.strip()) if part)
        depth, part = 0, ""
        for letter in inside + ",":
            if letter == "," and depth == 0:
                if part.strip():
                    yield from use_tree(part, prefix + head)
                part = ""
                continue
            depth += {"{": 1, "}": -1}.get(letter, 0)
            part += letter
        return
    path, _, alias = text.partition(" as ")
    path = prefix + tuple(part for part in re.split(r"\s*::\s*", path.strip()) if part)
    if path[-1] == "self":
        path = path[:-1]
    yield path, alias.strip() or path[-1]


class Crate:
    """The modules of a crate: `files` are texts by path below src/."""

    def __init__(self, files, root, library=None):
        self.library = library
        self.files, self.children, self.exports, self.paths = {}, {}, {}, {}
        self.add(files, (), root)

    def add(self, files, module, path):
        text = without_tests(without_comments(files[path]))
        self.files[module] = path
        self.paths[module] = [
            tuple(re.split(r"\s*::\s*", found))
            for found in re.findall(rf"\b(?:crate|super|self|starfit)(?:\s*::\s*{WORD})+", text)
        ]
        self.exports[module] = {}
        self.children[module] = set()
        for found in re.finditer(rf"\bmod\s+({WORD})\s*;", text):
            folder = Path(path).with_suffix("")
            if folder.name in ("mod", "lib", "main"):
                folder = folder.parent
            for child in (folder / f"{found[1]}.rs", folder / found[1] / "mod.rs"):
                if str(child) in files:
                    self.children[module].add(found[1])
                    self.add(files, module + (found[1],), str(child))
        for found in re.finditer(r"\buse\s+([^;]+);", text):
            for leaf, name in use_tree(found[1]):
                self.paths[module].append(leaf)
                self.exports[module].setdefault(name, []).append(leaf)
        for child in self.children[module]:
            self.paths[module] += [
                (child, found) for found in re.findall(rf"\b{child}::({WORD})", text)
            ]

    def resolve(self, module, path, seen=()):
        """File that defines what `path` names in `module`, or None outside the crate."""
        if (module, path) in seen:
            return None
        seen += ((module, path),)
        head, rest = path[0], path[1:]
        if head == "starfit" and self.library:
            return self.library.walk((), rest, seen)
        if head == "crate":
            return self.walk((), rest, seen)
        if head == "self":
            return self.walk(module, rest, seen)
        if head == "super":
            module, path = module[:-1], rest
            while path and path[0] == "super":
                module, path = module[:-1], path[1:]
            return self.walk(module, path, seen)
        if head in self.children[module] or head in self.exports[module]:
            return self.walk(module, path, seen)
        return None

    def walk(self, module, path, seen):
        for at, part in enumerate(path):
            if part in self.children[module]:
                module += (part,)
                continue
            for export in self.exports[module].get(part, []):
                if found := self.resolve(module, export + path[at + 1 :], seen):
                    return found
            break
        return self.files[module]

    def imports(self):
        """Files that each file imports; the crate's root, which names all, is left out."""
        edges = {}
        for module, file in self.files.items():
            if module == ():
                continue
            found = {self.resolve(module, path) for path in self.paths[module] if path}
            root = self.files[()]
            edges[file] = {other for other in found if other not in (None, file, root)}
        return edges


def is_inside(child, parent):
    """Whether a file belongs to the folder of another one."""
    path = Path(parent).with_suffix("")
    folder = path.parent if path.name == "mod" else path
    return child != parent and folder in Path(child).parents


def components(edges):
    """Strongly connected components of more than one file (R. Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in sorted(edges.get(file, ())):
            if other not in index:
                visit(other)
            if other in stack:
                low[file] = min(low[file], low[other])
        if low[file] == index[file]:
            at = stack.index(file)
            part, stack[at:] = stack[at:], []
            if len(part) > 1:
                found.append(sorted(part))

    for file in sorted(edges):
        if file not in index:
            visit(file)
    return found


def is_family(part, edges):
    """Whether files import each other in circles only as a folder's own file and those in the folder."""
    roots = [file for file in part if not any(is_inside(file, other) for other in part)]
    apart = {
        file: {
            other
            for other in edges[file]
            if other in part and not is_inside(file, other) and not is_inside(other, file)
        }
        for file in part
    }
    return len(roots) == 1 and not components(apart)


def circles(files):
    """Groups of files that import each other, and are not a parent and its children."""
    library = Crate(files, "lib.rs")
    edges = library.imports()
    if "main.rs" in files:
        edges |= Crate(files, "main.rs", library).imports()
    return [part for part in components(edges) if not is_family(part, edges)], edges


def controls():
    """Whether circles are found where they are, and only there."""
    clean = {
        "lib.rs": "mod a; mod b; mod c;",
        "a/mod.rs": "mod x; mod y; pub use x::X; pub trait T {} use y::Y;",
        "a/x.rs": "use super::T; // use crate::b::B;",
        "a/y.rs": 'use super::X; const S: &str = "use crate::b::B;";\n#[cfg(test)] mod tests { use crate::b::B; }',
        "b.rs": "use crate::a::{X, T};",
        "c.rs": "pub use crate::b::B; fn f(_: crate::a::X) {}",
    }
    assert circles(clean)[0] == [], circles(clean)
    for file, text in [
        ("a/x.rs", "use crate::b::B;"),  # by a re-export: b -> a/x -> b
        ("a/x.rs", "use super::y::Y;"),  # siblings: a/y -> a/x -> a/y
        ("a/mod.rs", "mod x; mod y; pub use x::X; fn f() -> crate::c::B {}"),  # c -> b -> a -> b
        ("b.rs", "use crate::{a::X, c::C};"),
    ]:
        changed = {**clean, file: text}
        if file == "a/mod.rs":
            changed["b.rs"] = "use crate::a::T; pub struct B;"
        assert circles(changed)[0], f"no circle is seen with {text!r} in {file}"


def main():
    controls()
    source = Path(__file__).resolve().parent.parent / "src"
    files = {str(path.relative_to(source)): path.read_text() for path in source.rglob("*.rs")}
    found, edges = circles(files)
    if "--graph" in sys.argv:
        for file, others in sorted(edges.items()):
            print(file, "->", *sorted(others))
    for part in found:
        print(f"{len(part)} files import each other in circles:", *part, sep="\n  ")
        for file in part:
            print(f"    {file} ->", *sorted(edges[file] & set(part)))
    print(f"{len(edges)} files, {len(found)} circles of imports")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
