"""Reading ``site.yaml``."""

from __future__ import annotations

from pathlib import Path

from bundler.deploy.places import Places
from bundler.errors import SiteError
from bundler.model.manifest_tree import MAX_BYTES
from bundler.model.site import Site
from bundler.model.site_load import load_site


def read_site(places: Places) -> Site:
    """Return the site that ``site.yaml`` states.

    Raises:
        SiteError: It is not there, cannot be read, or is wrong; ``problems`` lists all of it.
    """
    return read_site_file(places.site)


def read_site_file(path: Path) -> Site:
    """Return the site that the file at ``path`` states; errors as :func:`read_site`."""
    try:
        if path.exists() and not path.is_file():
            raise SiteError(f"{path} is no regular file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise SiteError(f"there is no {path}", hint=f"bundle-install site sample > {path}, then edit it") from error
    except OSError as error:
        raise SiteError(f"cannot read {path}: {error.strerror}", hint="run it as root") from error
    return load_site(data, str(path))
