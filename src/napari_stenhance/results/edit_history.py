"""What was done to domains, step by step, so that it can be undone and done again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from napari_stenhance.results.domain_edit import DomainEdit, SpotLabels
from napari_stenhance.results.domains import DomainRun


@dataclass(frozen=True)
class EditHistory:
    """The states that the domains of a run went through; none of them is written yet.

    Attributes
    ----------
    edits : tuple of DomainEdit
        The first is what the run has.
    at : int
        Which of them is the one now; those after it were undone.
    spots : SpotLabels or None
        Of a run of spots: as they were found.
    kept : DomainEdit or None
        The domains as layers hold them that were saved; that is not the result.
    """

    edits: tuple[DomainEdit, ...]
    at: int = 0
    spots: SpotLabels | None = field(default=None, compare=False)
    kept: DomainEdit | None = field(default=None, compare=False)

    @classmethod
    def from_run(cls, run: DomainRun, spots: SpotLabels | None = None) -> EditHistory:
        """Begin with what a run has."""
        return cls((DomainEdit.from_run(run),), spots=spots)

    def anew(self) -> EditHistory:
        """Begin again with what the run has."""
        return replace(self, edits=self.edits[:1], at=0)

    @property
    def now(self) -> DomainEdit:
        """The domains as they are now."""
        return self.edits[self.at]

    @property
    def changes(self) -> int:
        """How many steps there are to save: none where they led back to what the run has."""
        return self.at if self.now.changed else 0

    def do(self, edit: DomainEdit) -> EditHistory:
        """Take a step, if it changes anything; what was undone is gone."""
        if edit.same_as(self.now):
            return self
        return replace(self, edits=(*self.edits[: self.at + 1], edit), at=self.at + 1)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a step that was undone."""
        return self.at + 1 < len(self.edits)

    def undo(self) -> EditHistory:
        """Go one step back, if there is one."""
        return replace(self, at=max(self.at - 1, 0))

    def redo(self) -> EditHistory:
        """Go one step on, if one was undone."""
        return replace(self, at=min(self.at + 1, len(self.edits) - 1))
