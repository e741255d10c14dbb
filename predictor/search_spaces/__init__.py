"""Search spaces: one file each behind the interface in `base`; names are looked up in `registry` alone."""
