"""Ways to flash a board, one module each; see `labctl.boards.flash.method`."""
