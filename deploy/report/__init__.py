"""``report.html``: one self-contained page by which a fraud analyst reads a run."""
