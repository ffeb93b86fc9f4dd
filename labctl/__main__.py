"""``python -m labctl`` is the ``labctl`` command."""

from labctl.cli.main import main

if __name__ == "__main__":
    main()
