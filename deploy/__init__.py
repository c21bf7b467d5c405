"""How the parts are put together and run: settings, wiring, commands, reports."""
