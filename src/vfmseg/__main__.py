"""``python -m vfmseg`` is ``vfmseg``."""

from vfmseg.cli.program import main

if __name__ == "__main__":
    raise SystemExit(main())
