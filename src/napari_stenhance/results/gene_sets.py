"""Lists of genes that someone has written: names, files with one on each line, and GMT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_stenhance.errors import InputError
from napari_stenhance.methods.genes import split_genes
from napari_stenhance.running.numbers import agree, counted
from napari_stenhance.section.gene_names import gene_meant
from napari_stenhance.section.tables.claims import opened_text
from napari_stenhance.storage.reading import reading

_MOST = 2**24
_FEW = 5
_ADVICE = "give a text file with one gene on each line, or GMT: name, description, genes"


@dataclass(frozen=True)
class GeneSet:
    """Some genes that belong together.

    Attributes
    ----------
    name : str
    genes : tuple of str
        As they were written, each once.
    """

    name: str
    genes: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """Genes of a list, found among those that there are.

    Attributes
    ----------
    genes : tuple of str
        Found, each once, in the order of the list.
    unknown : tuple of str
        Those that are not there.
    unclear : tuple of str
        Those that are there only in other letters, and in several ways.
    """

    genes: tuple[str, ...]
    unknown: tuple[str, ...]
    unclear: tuple[str, ...]

    def describe(self) -> str:
        """Say how many were found, and which were not."""
        named = len(self.genes) + len(self.unknown) + len(self.unclear)
        here = len(self.genes)
        said = [f"{counted(here, 'gene', named)} {agree(here, 'is', 'are')} here."]
        for lost, why in (
            (self.unknown, "not among these genes"),
            (self.unclear, "here in several ways of writing, none of them this one"),
        ):
            if lost:
                more = f" … ({len(lost)})" if len(lost) > _FEW else ""
                said.append(f"{', '.join(lost[:_FEW])}{more}: {why}.")
        return " ".join(said)


def gene_sets(text: str, there: Sequence[str]) -> tuple[GeneSet, ...]:
    """Read what someone has typed: names between commas or spaces, or `@FILE`.

    Parameters
    ----------
    text : str
    there : sequence of str
        Genes that there are: their own commas and spaces do not part them.

    Raises
    ------
    InputError
        If a file cannot be read, or holds no gene.
    """
    text = text.strip()
    known = frozenset(there)
    if text.startswith("@") and text not in known:
        return read_gene_sets(Path(text[1:].strip()).expanduser())
    parts = split_genes(text.replace("\n", ",").replace(";", ","), known)
    genes = [gene for one in parts for gene in ([one] if one in known else one.split())]
    return (GeneSet("", _once(genes)),) if genes else ()


def read_gene_sets(path: Path) -> tuple[GeneSet, ...]:
    """Read the sets of a GMT file, or one set from a file with one gene on each line.

    Either may be gzipped. In GMT, each line is a name, a description, and genes, between tabs.

    Raises
    ------
    InputError
        If it cannot be read, is larger than lists of genes are, or holds no gene.
    """
    with reading(path, "the list of genes", _ADVICE), opened_text(path) as file:
        content = file.read(_MOST + 1)
        if len(content) > _MOST:
            msg = f"it is larger than {_MOST >> 20} MB, as no list of genes should be"
            raise ValueError(msg)
        lines = [line.strip("\r\n") for line in content.decode("utf-8-sig").splitlines()]
    numbered = [(n, line.split("\t")) for n, line in enumerate(lines, 1) if line.strip()]
    name = path.name.removesuffix(".gz")
    if name.endswith(".gmt") or (numbered and all(len(cells) > 2 for _, cells in numbered)):
        short = next((n for n, cells in numbered if len(cells) < 3), None)
        if short is not None:
            msg = f"{path}: line {short} is no set of genes; {_ADVICE}."
            raise InputError(msg)
        sets = [GeneSet(cells[0].strip(), _once(cells[2:])) for _, cells in numbered]
    else:
        sets = [GeneSet(path.stem, _once("\t".join(cells) for _, cells in numbered))]
    found = tuple(one for one in sets if one.genes)
    if not found:
        msg = f"{path}: there is no gene in it; {_ADVICE}."
        raise InputError(msg)
    return found


def find_listed(
    named: Iterable[str], there: Sequence[str], aliases: Mapping[str, str] | None = None
) -> Listed:
    """Find genes as they are written, or else in other letters where only one can be meant.

    Parameters
    ----------
    named : iterable of str
    there : sequence of str
    aliases : mapping of str to str, optional
        What else they are called, as ids beside symbols; see `aliases_of`.
    """
    known = frozenset(there)
    alike: dict[str, list[str]] = {}
    for gene in there:
        alike.setdefault(gene.casefold(), []).append(gene)
    found: dict[str, None] = {}
    unknown: list[str] = []
    unclear: list[str] = []
    for written in named:
        gene = gene_meant(written, known, aliases or {})
        meant = [gene] if gene in known else alike.get(gene.casefold(), [])
        if len(meant) == 1:
            found[meant[0]] = None
        else:
            (unclear if meant else unknown).append(gene)
    return Listed(tuple(found), tuple(unknown), tuple(unclear))


def _once(genes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(gene.strip() for gene in genes if gene.strip()))
