"""The one place where the distribution's version stands; hatchling reads it too."""

__version__ = "0.2.0"
