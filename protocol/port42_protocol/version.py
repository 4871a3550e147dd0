"""The one place where the distribution's version stands; hatchling reads it too."""

__version__ = "0.1.0"
