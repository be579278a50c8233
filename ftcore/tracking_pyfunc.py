"""The loader that earlier models name, in files that are signed; today's is ``tracking/pyfunc``."""

from ftcore.tracking.pyfunc import _load_pyfunc

__all__ = ["_load_pyfunc"]
