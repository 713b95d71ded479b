"""Languages and formats of files, told by a file's name alone: nobody here ever sees what is in it.

A name can mislead: ``.h`` is counted as C also where it is C++, ``.m`` as Objective-C, ``.pl`` as Perl.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OTHER: Final = 1
"""Of a file whose name is not in the table."""


class Language(NamedTuple):
    """``names`` are whole file names, ``endings`` what follows the last dot; both in lower case."""

    number: int
    name: str
    endings: str = ""
    names: str = ""


# Numbers are stored with each file: never reuse or reorder them. A file keeps the one that it got when
# it was first seen, also when the table learns its ending later.
TABLE: Final = (
    Language(OTHER, "other"),
    Language(2, "Python", "py pyi pyw pyx pxd"),
    Language(3, "JavaScript", "js mjs cjs jsx"),
    Language(4, "TypeScript", "ts mts cts tsx"),
    Language(5, "Java", "java"),
    Language(6, "Kotlin", "kt kts"),
    Language(7, "C", "c h"),
    Language(8, "C++", "cc cpp cxx c++ hh hpp hxx h++ ipp inl"),
    Language(9, "C#", "cs csx"),
    Language(10, "Go", "go", "go.mod go.sum go.work"),
    Language(11, "Rust", "rs"),
    Language(12, "Swift", "swift"),
    Language(13, "Objective-C", "m mm"),
    Language(14, "Ruby", "rb rake gemspec erb", "gemfile rakefile"),
    Language(15, "PHP", "php phtml"),
    Language(16, "Perl", "pl pm"),
    Language(17, "Lua", "lua"),
    Language(18, "R", "r rmd"),
    Language(19, "Julia", "jl"),
    Language(20, "Scala", "scala sc sbt"),
    Language(21, "Clojure", "clj cljs cljc edn"),
    Language(22, "Haskell", "hs lhs cabal"),
    Language(23, "OCaml", "ml mli"),
    Language(24, "F#", "fs fsi fsx"),
    Language(25, "Erlang", "erl hrl"),
    Language(26, "Elixir", "ex exs heex"),
    Language(27, "Dart", "dart"),
    Language(28, "Groovy", "groovy gradle", "jenkinsfile"),
    Language(29, "Zig", "zig zon"),
    Language(30, "Nim", "nim nims"),
    Language(31, "D", "d di"),
    Language(32, "Crystal", "cr"),
    Language(33, "Fortran", "f f77 f90 f95 f03 f08 for"),
    Language(34, "Pascal", "pas pp dpr lpr"),
    Language(35, "Ada", "adb ads"),
    Language(36, "COBOL", "cob cbl cpy"),
    Language(37, "Lisp", "lisp lsp el"),
    Language(38, "Scheme", "scm ss rkt"),
    Language(39, "Assembly", "asm s"),
    Language(40, "Visual Basic", "vb vbs bas"),
    Language(41, "Shell", "sh bash zsh fish ksh", ".bashrc .bash_profile .zshrc .profile .envrc"),
    Language(42, "PowerShell", "ps1 psm1 psd1"),
    Language(43, "Batch", "bat cmd"),
    Language(44, "SQL", "sql ddl"),
    Language(45, "GraphQL", "graphql gql"),
    Language(46, "Protocol Buffers", "proto"),
    Language(47, "HTML", "html htm xhtml"),
    Language(48, "CSS", "css"),
    Language(49, "Sass", "scss sass"),
    Language(50, "Less", "less"),
    Language(51, "Vue", "vue"),
    Language(52, "Svelte", "svelte"),
    Language(53, "Astro", "astro"),
    Language(54, "Templates", "j2 jinja jinja2 hbs mustache ejs pug twig liquid tmpl"),
    Language(
        55, "JSON", "json jsonc json5 jsonl ndjson geojson webmanifest", ".babelrc .eslintrc .prettierrc"
    ),
    Language(56, "YAML", "yaml yml"),
    Language(57, "TOML", "toml", "cargo.lock poetry.lock uv.lock pipfile"),
    Language(58, "INI", "ini cfg conf properties", ".editorconfig .gitconfig .npmrc .flake8 .pylintrc"),
    Language(59, "XML", "xml xsd xsl xslt plist csproj vbproj fsproj props targets resx pom"),
    Language(60, "Markdown", "md markdown mdx"),
    Language(61, "reStructuredText", "rst"),
    Language(62, "AsciiDoc", "adoc asciidoc"),
    Language(63, "TeX", "tex sty cls bib"),
    Language(64, "Text", "txt text log", "license licence notice authors copying changelog readme"),
    Language(65, "Dockerfile", "dockerfile containerfile", "dockerfile containerfile .dockerignore"),
    Language(66, "Make", "mk mak", "makefile gnumakefile"),
    Language(67, "CMake", "cmake", "cmakelists.txt"),
    Language(68, "Bazel", "bzl bazel", "build workspace"),
    Language(69, "Nix", "nix"),
    Language(70, "Terraform", "tf tfvars hcl"),
    Language(71, "Git", "gitignore", ".gitignore .gitattributes .gitmodules .mailmap codeowners"),
    Language(72, "CSV", "csv tsv"),
    Language(73, "Notebook", "ipynb"),
    Language(74, "Solidity", "sol"),
    Language(75, "GLSL", "glsl vert frag wgsl hlsl"),
    Language(76, "Verilog", "v vh sv svh"),
    Language(77, "VHDL", "vhd vhdl"),
    Language(78, "Translations", "po pot mo xliff xlf arb strings"),
    Language(79, "Image", "png jpg jpeg gif webp ico bmp tiff avif svg psd"),
    Language(80, "Font", "woff woff2 ttf otf eot"),
    Language(81, "Diff", "diff patch"),
)
NAME: Final = {each.number: each.name for each in TABLE}
_BY_NAME: Final = {name: each.number for each in TABLE for name in each.names.split()}
_BY_ENDING: Final = {ending: each.number for each in TABLE for ending in each.endings.split()}
_FIRST_ENDING: Final = {each.number: each.endings.split()[0] for each in TABLE if each.endings}
ENDINGS: Final = frozenset(_BY_ENDING)


def of(path: str) -> int:
    """The number of the language of a file, ``OTHER`` for one that the table does not know."""
    name = path.rpartition("/")[2].lower()
    found = _BY_NAME.get(name)
    if found is None:
        _, dot, ending = name.rpartition(".")
        found = _BY_ENDING.get(ending, OTHER) if dot else OTHER
    return found


def ending_of(path: str) -> str:
    """An ending of the table that tells the language of the file, its own if it does; "" for ``OTHER``."""
    number = of(path)
    own = path.rpartition("/")[2].rpartition(".")[2].lower()
    return own if _BY_ENDING.get(own) == number else _FIRST_ENDING.get(number, "")
