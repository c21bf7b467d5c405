"""``python -m deploy.cli``: the command where no script is installed."""

from deploy.cli.app import main

main()
