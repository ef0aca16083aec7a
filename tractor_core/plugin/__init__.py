"""Finding, checking and calling plugins. Imports only the seams, the errors, msgspec and pluggy."""

from .entrypoints import Provider
from .manager import PluginManager, ProviderStatus

__all__ = ["PluginManager", "Provider", "ProviderStatus"]
