"""What is said on standard error while something takes long."""

from llfc.progress.steps import Progress, Report, progress_of

__all__ = ["Progress", "Report", "progress_of"]
