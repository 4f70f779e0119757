"""The genes of the phantom, and what each follows. The same in every phantom: one biology."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_stenhance.phantoms.anatomy import DOMAINS, FIELDS
from napari_stenhance.phantoms.noise import generator

CELL_TYPES = (
    "tumour",
    "cycling tumour",
    "fibroblast",
    "endothelial",
    "T cell",
    "B cell",
    "macrophage",
    "adipocyte",
)

# One line for each cell type, in the order above.
_OF_TYPE = """
ERBB2 KRT8 KRT18 KRT19 EPCAM GRB7 ESR1 CDH1
MKI67 TOP2A CCNB1 CDK1 BIRC5 UBE2C CENPF
COL1A1 COL1A2 COL3A1 DCN LUM PDGFRA FBLN1 POSTN
PECAM1 VWF CDH5 CLDN5 KDR ENG EMCN
CD3D CD3E CD2 TRAC IL7R CD8A GZMK CCL5
MS4A1 CD79A CD79B CD19 BANK1 CD22 TCL1A
CD68 CD163 CD14 LYZ C1QA C1QB CSF1R MRC1
ADIPOQ PLIN1 PLIN4 LPL FABP4 CIDEC LEP
"""
_OF_TYPE_AND_COMPARTMENT = """
MUC1 TFF1 TFF3 AGR2 CEACAM6 S100P SLC39A6 GATA3 XBP1 KRT7
PCNA MCM2 MCM5 TYMS RRM2 AURKA CCNA2 FOXM1 HMGB2 STMN1
ACTA2 FAP MMP2 MMP11 SFRP2 THBS2 CTHRC1 FN1 SPARC TAGLN
ACKR1 PLVAP ESM1 ANGPT2 RGS5 AQP1 VCAM1 SELE TEK FLT1
PDCD1 CTLA4 LAG3 FOXP3 TIGIT HAVCR2 GZMB IFNG CXCL13 NKG7
CR2 AICDA BCL6 FCRL4 CD27 IGHM IGHD JCHAIN MZB1 FCER2
SPP1 TREM2 APOE MARCO FOLR2 LYVE1 CXCL9 CXCL10 IL1B S100A8
PPARG CD36 LIPE GPD1 PNPLA2 ACACB RBP4 CFD SCD FASN
"""
# One line for each smooth field: interferon, stress, metabolism.
_OF_FIELD = """
ISG15 IFI6 IFI27 IFIT1 IFIT3 MX1 OAS1 STAT1 IRF7 IFI44L
FOS JUN EGR1 HSPA1A HSPA1B DNAJB1 ATF3 DUSP1 IER2 ZFP36
MT2A MT1X MT1E LDHA PGK1 ALDOA ENO1 SLC2A1 NDRG1 BNIP3
"""
_OF_NOTHING = """
ACTB GAPDH B2M EEF1A1 RPLP0 RPS18 RPL13A RPL32 RPS27 TPT1 UBC UBB PPIA TBP HPRT1
TUBA1B YWHAZ SDHA HMBS GUSB PGAM1 CALM1 CFL1 PFN1 MYL6 HNRNPA1 SRSF3 EIF4A2 NACA BTF3
"""
# Of the cell type, and measured in single cells only.
_ONLY_IN_REFERENCE = """
TACSTD2 CLDN4 CLDN7 ELF3 SPDEF
NUSAP1 TPX2 PLK1 BUB1 KIF11
COL5A1 COL6A3 VCAN BGN AEBP1
TIE1 ROBO4 ESAM ERG NOTCH4
CD3G CD5 CD6 ITK LCK
PAX5 BLK VPREB3 FCRLA SPIB
ITGAM MSR1 FCGR3A CD86 VSIG4
CIDEA AOC3 ADIRF SLC7A10 PLIN5
"""
NAMED = 200
"""How many named genes spots and bins measure."""
FOLLOWS = ("cell type", "cell type and compartment", "smooth field", "nothing")

_CYCLING = CELL_TYPES.index("cycling tumour")
_BASE_SD = 0.6
_TYPE_SD = 0.3
_MARKER = 3.0
_MARKER_IN_COMPARTMENT = 2.0
_COMPARTMENT_SD = 0.9
_FIELD_GAIN = 0.7
_NOISE_SD = 0.6
# Transcripts of a cell, relative to a tumour cell.
_LOAD = np.array([1.0, 1.4, 0.5, 0.5, 0.35, 0.35, 0.7, 0.5])
# Share of all transcripts that comes from genes of cells, of fields, of nothing.
_SHARES = (0.6, 0.2, 0.2)


def _table(lines: str) -> list[list[str]]:
    return [line.split() for line in lines.strip().splitlines()]


@dataclass(frozen=True)
class Program:
    """What each gene follows, and how strongly.

    A *state* is a cell type in a compartment, numbered `type · len(DOMAINS) + compartment`.
    """

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """The 200 genes that spots measure: 60, 80, 30 and 30, in the order of `FOLLOWS`."""
        tables = (_OF_TYPE, _OF_TYPE_AND_COMPARTMENT, _OF_FIELD, _OF_NOTHING)
        return tuple(" ".join(tables).split())

    @cached_property
    def only_in_reference(self) -> tuple[str, ...]:
        """The 40 genes that only single cells measure; they follow the cell type."""
        return tuple(_ONLY_IN_REFERENCE.split())

    @property
    def genes(self) -> tuple[str, ...]:
        """All 240 genes."""
        return self.measured + self.only_in_reference

    @cached_property
    def follows(self) -> tuple[str, ...]:
        """What each of `genes` follows."""
        tables = (_OF_TYPE, _OF_TYPE_AND_COMPARTMENT, _OF_FIELD, _OF_NOTHING)
        counts = [len(table.split()) for table in tables]
        groups = np.repeat(np.array(FOLLOWS), counts).tolist()
        return (*groups, *["cell type"] * len(self.only_in_reference))

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(CELL_TYPES) * len(DOMAINS)

    @property
    def noisy(self) -> int:
        """How many genes follow nothing."""
        return self.follows.count("nothing")

    @cached_property
    def of_cells(self) -> NDArray[np.float32]:
        """Expected transcripts of each gene in each state, shape (48, 240); 0 for the others."""
        states = np.zeros((len(CELL_TYPES), len(DOMAINS), len(self.genes)))
        column = {gene: n for n, gene in enumerate(self.genes)}
        draw = generator(0, "program")
        for lines, marker, by_compartment in (
            (_OF_TYPE, _MARKER, 0.0),
            (_OF_TYPE_AND_COMPARTMENT, _MARKER_IN_COMPARTMENT, _COMPARTMENT_SD),
            (_ONLY_IN_REFERENCE, _MARKER, 0.0),
        ):
            for kind, names in enumerate(_table(lines)):
                for name in names:
                    level = draw.normal(0, _BASE_SD) + draw.normal(0, _TYPE_SD, len(CELL_TYPES))
                    level[kind] += marker
                    if kind == 0:
                        level[_CYCLING] += marker - 0.5
                    compartment = draw.normal(0, 1, (len(CELL_TYPES), len(DOMAINS)))
                    states[..., column[name]] = np.exp(
                        level[:, None] + by_compartment * compartment
                    )
        flat = states.reshape(-1, len(self.genes))
        # Every state gives the same share to these genes: the others' proportions stay their own.
        measured = flat[:, : len(self.measured)].sum(axis=1, keepdims=True)
        flat *= _SHARES[0] / measured * np.repeat(_LOAD, len(DOMAINS))[:, None]
        return flat.astype(np.float32)

    @cached_property
    def load(self) -> NDArray[np.float32]:
        """Transcripts of a state over all measured genes, relative to a tumour cell: (48,)."""
        return np.repeat(_LOAD, len(DOMAINS)).astype(np.float32)

    @cached_property
    def of_fields(self) -> NDArray[np.float32]:
        """Gain of each of the 30 field genes on each smooth field, shape (3, 30).

        Half of the genes rise with the field, half fall, so that their sum hardly changes.
        """
        each = len(_table(_OF_FIELD)[0])
        sign = np.where(np.arange(each) % 2 == 0, 1, -1)
        return np.kron(np.eye(FIELDS), _FIELD_GAIN * sign).astype(np.float32)

    @cached_property
    def share(self) -> NDArray[np.float32]:
        """Mean share of all transcripts of each field gene, then of each that follows nothing."""
        draw = generator(0, "share")
        parts = []
        for lines, total in ((_OF_FIELD, _SHARES[1]), (_OF_NOTHING, _SHARES[2])):
            weight = np.exp(draw.normal(0, _BASE_SD, len(lines.split())))
            parts.append(total * weight / weight.sum())
        return np.concatenate(parts).astype(np.float32)

    def rates(
        self,
        amounts: NDArray[np.float32],
        fields: NDArray[np.float32],
        noise: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return expected transcripts, relative to a tumour cell, of every gene.

        Parameters
        ----------
        amounts : ndarray of float32, shape (…, 48)
            How much of each state there is.
        fields : ndarray of float32, shape (…, 3)
            The smooth fields there.
        noise : ndarray of float32, shape (…, 30)
            Standard normal: what the genes that follow nothing do.

        Returns
        -------
        ndarray of float32, shape (…, 240)
        """
        rates = amounts @ self.of_cells
        load = (amounts @ self.load)[..., None]
        gain = np.concatenate([fields @ self.of_fields, _NOISE_SD * noise], axis=-1)
        first = self.follows.index("smooth field")
        rates[..., first : first + gain.shape[-1]] = load * self.share * np.exp(gain)
        return rates
